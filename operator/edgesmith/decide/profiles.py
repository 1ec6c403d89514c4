"""Which DeviceProfiles an EdgeModel is built for, and of which of them each node is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edgesmith.api.conditions import Reason
from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.selection import LabelSelector
from edgesmith.decide.conditions import Finding, Severity
from edgesmith.decide.snapshot import Node

ARCHITECTURE_LABEL = "kubernetes.io/arch"
"""Set by every kubelet on its own node."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The profiles that an EdgeModel names, by name."""

    profiles: tuple[DeviceProfile, ...]
    missing: tuple[str, ...]
    """Names in the spec that no DeviceProfile has."""
    refused: Mapping[str, Finding] = field(default_factory=dict)
    """DeviceProfiles that exist and that the EdgeModel cannot use, with why."""

    @property
    def unusable(self) -> tuple[str, ...]:
        """Profiles for which nothing is built or rolled out; nodes keep what they run of them."""
        return (*self.missing, *self.refused)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Of which profile each node is."""

    profile_of: Mapping[str, str]
    """Node to profile: the nodes that are to run the model."""
    ambiguous: Mapping[str, tuple[str, ...]]
    """Node to the profiles it is of, where those are two or more: left alone."""
    unmatched: tuple[str, ...]
    """Nodes that spec.nodeSelector picks and that are of no profile."""
    wrong_architecture: Mapping[str, str] = field(default_factory=dict)
    """Node to the sentence that says why the node cannot run its profile's images: left alone."""

    @property
    def left_alone(self) -> frozenset[str]:
        """Nodes whose label is neither set nor removed."""
        return frozenset({*self.ambiguous, *self.wrong_architecture})


def resolve(model: EdgeModel, profiles: Sequence[DeviceProfile]) -> Resolved:
    """Find the profiles that `spec.deviceProfiles` names or selects, in the order of their names.

    A selector picks among the profiles that the namespace may use; a name that it may not use is a mistake to report.
    """
    wanted = model.spec.device_profiles
    if wanted.names is not None:
        return resolve_names(model, sorted(set(wanted.names)), profiles, field="spec.deviceProfiles.names")
    usable = {profile.metadata.name: profile for profile in profiles if profile.allows(model.metadata.namespace)}
    selector = wanted.selector or LabelSelector()
    found = sorted(name for name, profile in usable.items() if selects(selector, profile.metadata.labels))
    return Resolved(tuple(usable[name] for name in found), ())


def resolve_names(model: EdgeModel, names: Sequence[str], profiles: Sequence[DeviceProfile], *, field: str) -> Resolved:
    """Find the profiles of some names, in their order.

    Args:
        model: The EdgeModel, which may be one that may not use all of them.
        names: The names, each once.
        profiles: Every DeviceProfile.
        field: Where the names are from, for messages.
    """
    existing = {profile.metadata.name for profile in profiles}
    usable = {profile.metadata.name: profile for profile in profiles if profile.allows(model.metadata.namespace)}
    return Resolved(
        tuple(usable[name] for name in names if name in usable),
        tuple(name for name in names if name not in existing),
        {name: _not_allowed(name, model, field) for name in names if name in existing and name not in usable},
    )


def _not_allowed(name: str, model: EdgeModel, field: str) -> Finding:
    return Finding(
        Severity.STALLED,
        Reason.PROFILE_NOT_ALLOWED,
        f"{field} has {name!r}, but spec.allowedNamespaces of that DeviceProfile does not have "
        f"the namespace {model.metadata.namespace!r}; its nodes keep what they run.",
    )


def assign(model: EdgeModel, profiles: Iterable[DeviceProfile], nodes: Iterable[Node]) -> Assignment:
    """Say of which profile each node is; a node that `spec.nodeSelector` leaves out is of none and not mentioned.

    A node whose architecture is not its profile's cannot run the profile's images, so it is no evidence against one.
    """
    profiles = tuple(profiles)
    profile_of: dict[str, str] = {}
    ambiguous: dict[str, tuple[str, ...]] = {}
    wrong: dict[str, str] = {}
    unmatched: list[str] = []
    architectures = {profile.metadata.name: profile.spec.platform.architecture for profile in profiles}
    selectors = [(profile.metadata.name, profile.spec.node_selector.items()) for profile in profiles]
    everywhere = model.spec.node_selector.items()
    for node in nodes:
        labels = node.labels.items()
        if not everywhere <= labels:
            continue
        matches = [name for name, selector in selectors if selector <= labels]
        if len(matches) == 1:
            said, wanted = node.labels.get(ARCHITECTURE_LABEL), architectures[matches[0]]
            if said is None or said == wanted:
                profile_of[node.name] = matches[0]
            else:
                wrong[node.name] = (
                    f"Its label {ARCHITECTURE_LABEL} is {said!r}, but its DeviceProfile {matches[0]} is for {wanted}; "
                    "correct the node's labels or the profile's spec.nodeSelector."
                )
        elif matches:
            ambiguous[node.name] = tuple(matches)
        elif model.spec.node_selector:
            unmatched.append(node.name)
    return Assignment(profile_of, ambiguous, tuple(unmatched), wrong)


def carries(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether every wanted label is there with its value."""
    return wanted.items() <= labels.items()


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether a label selector picks these labels, by the rules of metav1.LabelSelector."""
    if not carries(labels, selector.match_labels):
        return False
    for requirement in selector.match_expressions:
        present = requirement.key in labels
        among = present and labels[requirement.key] in requirement.values
        holds = {"In": among, "NotIn": not among, "Exists": present, "DoesNotExist": not present}
        if not holds[requirement.operator]:
            return False
    return True
