"""Which EdgeModels a change in the cluster concerns. Pure.

Too many is a pass that finds nothing to do; one too few is a rollout that stands still.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import parse_node_label
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL, JOB, NODE, POD
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.parse_build import BuildPod
from edgesmith.cluster.table import ObjectChange
from edgesmith.controller.queue import Key
from edgesmith.decide.held import builds_named
from edgesmith.decide.profiles import carries, resolve
from edgesmith.decide.snapshot import Node


def concerned(change: ObjectChange, objects: Objects) -> set[Key]:
    """The EdgeModels to look at after a change."""
    if change.kind is EDGE_MODEL:
        return {change.key}
    if change.kind is DEVICE_PROFILE:
        return _by_profile(change.key[1], objects.models.all())
    if change.kind is NODE:
        return _by_node(change, objects)
    if change.kind is JOB:
        return _by_job(change, objects.models.all())
    if change.kind is POD:
        return _by_pod(change, objects)
    return _owner(change)


def everybody(objects: Objects) -> set[Key]:
    """Every EdgeModel, readable or not, and every one that is gone and still has a label on a node."""
    labelled = {owner for node in objects.nodes.all() for owner in _labelled(node)}
    return {*objects.models.keys(), *objects.unreadable(EDGE_MODEL), *labelled}


def _by_profile(name: str, models: Iterable[EdgeModel]) -> set[Key]:
    """Who names a profile, and whoever selects: the profile may match now, or have matched before."""
    return {
        _key(model)
        for model in models
        if model.spec.device_profiles.names is None
        or name in (*model.spec.device_profiles.names, *model.spec.builds.profiles)
    }


def _by_job(change: ObjectChange, models: Iterable[EdgeModel]) -> set[Key]:
    """Whose Job it is, and who of the same namespace waits for the same build."""
    return _owner(change) | _waiting(change.key[0], (change.new or change.old).key, models)


def _by_pod(change: ObjectChange, objects: Objects) -> set[Key]:
    """Whose pod it is, and where it is one of a build Job, who waits for that."""
    pod = change.new or change.old
    job = objects.jobs.get(change.key[0], pod.job) if isinstance(pod, BuildPod) else None
    return _owner(change) | (_waiting(change.key[0], job.key, objects.models.all()) if job else set())


def _owner(change: ObjectChange) -> set[Key]:
    """The EdgeModel that the labels of an object name."""
    return {(change.key[0], change.model)} if change.model else set()


def _waiting(namespace: str, key: str, models: Iterable[EdgeModel]) -> set[Key]:
    """Who of a namespace has, or waits for, a build: their status says so."""
    return {_key(model) for model in models if model.metadata.namespace == namespace and _builds(model, key)}


def _builds(model: EdgeModel, key: str) -> bool:
    """Whether a build is a present one of a variant: that of the source or of an alternative."""
    return key in builds_named(model.status)


def _by_node(change: ObjectChange, objects: Objects) -> set[Key]:
    """Whose label a node carries or carried, and who may want it or have wanted it.

    Where nothing but our own labels differs, their owners alone. Where nothing differs that a decision reads, nobody:
    our annotations we write ourselves, and the pass that wrote them knows.
    """
    nodes: list[Node] = [node for node in (change.old, change.new) if node is not None]
    old, new = nodes[0], nodes[-1]
    if change.old and change.new and _others(old) == _others(new):
        differing = {key for key in {*old.labels, *new.labels} if old.labels.get(key) != new.labels.get(key)}
        return {owner for key in differing if (owner := parse_node_label(key))}
    moved = not (change.old and change.new) or _others(old).labels != _others(new).labels
    profiles = objects.profiles.all()
    found = {owner for node in nodes for owner in _labelled(node)}
    found.update(
        _key(model)
        for model in objects.models.all()
        if any(_wants(model, profiles, node, unmatched=moved) for node in nodes)
    )
    return found


def _wants(model: EdgeModel, profiles: tuple[DeviceProfile, ...], node: Node, *, unmatched: bool) -> bool:
    """Whether an EdgeModel is to run on a node by its labels.

    Args:
        model: The EdgeModel.
        profiles: Every DeviceProfile that can be read.
        node: The node.
        unmatched: Count a node, too, that spec.nodeSelector picks and that is of no profile: the status says so.
    """
    selector = model.spec.node_selector
    if not carries(node.labels, selector):
        return False
    if unmatched and selector:
        return True
    return any(carries(node.labels, profile.spec.node_selector) for profile in resolve(model, profiles).profiles)


def _key(model: EdgeModel) -> Key:
    return model.metadata.namespace, model.metadata.name


def _labelled(node: Node) -> set[Key]:
    return {owner for key in (*node.labels, *node.records) if (owner := parse_node_label(key))}


def _others(node: Node) -> Node:
    """A node without our own labels and records."""
    labels = {key: value for key, value in node.labels.items() if parse_node_label(key) is None}
    return replace(node, labels=labels, records={})
