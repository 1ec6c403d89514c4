"""Which EdgeModels a change in the cluster concerns. Pure.

Too many is a pass that finds nothing to do; one too few is a rollout that stands still.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import parse_node_label
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL, NODE
from edgesmith.cluster.objects import Change, Objects
from edgesmith.controller.queue import Key
from edgesmith.decide.profiles import carries
from edgesmith.decide.snapshot import Node
from edgesmith.decide.taints import Taint


def concerned(change: Change, objects: Objects) -> set[Key]:
    """The EdgeModels to look at after a change."""
    if change.kind is EDGE_MODEL:
        return {change.key}
    if change.kind is DEVICE_PROFILE:
        return _by_profile(change, objects.models.all())
    if change.kind is NODE:
        return _by_node(change, objects.models.all())
    return {(change.key[0], change.model)} if change.model else set()


def everybody(objects: Objects) -> set[Key]:
    """Every EdgeModel, and every one that is gone and still has a label on a node."""
    labelled = {owner for node in objects.nodes.all() for owner in _labelled(node)}
    return set(objects.models.keys()) | labelled


def _by_profile(change: Change, models: Iterable[EdgeModel]) -> set[Key]:
    profile: DeviceProfile = change.new or change.old
    name = profile.metadata.name
    # A selector is not evaluated: the profile may match it now, or have matched it before.
    return {
        (model.metadata.namespace, model.metadata.name)
        for model in models
        if model.spec.device_profiles.names is None or name in model.spec.device_profiles.names
    }


def _by_node(change: Change, models: Iterable[EdgeModel]) -> set[Key]:
    """Whose label it carries or carried; and, where it is about more than our labels, who may want it."""
    nodes: list[Node] = [node for node in (change.old, change.new) if node is not None]
    found = {owner for node in nodes for owner in _labelled(node)}
    if len(nodes) == 2 and _facts(nodes[0]) == _facts(nodes[1]):  # noqa: PLR2004 - before and after
        old, new = nodes
        differing = {key for key in {*old.labels, *new.labels} if old.labels.get(key) != new.labels.get(key)}
        return {owner for key in differing if (owner := parse_node_label(key))}
    found.update(
        (model.metadata.namespace, model.metadata.name)
        for model in models
        if any(carries(node.labels, model.spec.node_selector) for node in nodes)
    )
    return found


def _labelled(node: Node) -> set[Key]:
    return {owner for key in node.labels if (owner := parse_node_label(key))}


def _facts(node: Node) -> tuple[bool, tuple[Taint, ...], dict[str, str]]:
    """What matters of a node besides our own labels."""
    return node.ready, node.taints, {key: value for key, value in node.labels.items() if parse_node_label(key) is None}
