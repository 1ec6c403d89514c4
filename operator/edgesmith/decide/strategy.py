"""How the nodes of one variant go from one revision to the next: with both servers at once, or one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.units import parse_bytes
from edgesmith.decide.devices import devices_of
from edgesmith.decide.serving import crowd, merge_resources


@dataclass(frozen=True, slots=True)
class Strategy:
    """How one variant's nodes change their revision."""

    name: Literal["Surge", "Replace"]
    why: str = ""
    """Why it is not what `spec.rollout.strategy` says, in one sentence; empty where it is."""
    tests: bool = True
    """With Replace: whether the self-test can run beside the server that is to end."""

    @property
    def staging(self) -> Literal["", "Pull", "Test"]:
        """What a node does beside its server before that ends, other than to start the next one."""
        if self.name == "Surge":
            return ""
        return "Test" if self.tests else "Pull"


def strategy_of(profile: DeviceProfile, model: EdgeModel) -> Strategy:
    """The strategy of one variant: what the spec asks for, as far as a node can hold two servers.

    A device that a server asks for is taken to be its own; two pods of one node cannot have the same port of the node;
    and two servers that use all they may use must fit into `spec.hardware.memory`, where the profile says it.
    """
    name = profile.metadata.name
    device = next(iter(devices_of(profile, model)), None)
    if device is not None:
        return _replaced(model, f"The servers of {name} ask for {device}, which one pod holds at a time.", tests=False)
    gate = model.spec.gates.max_memory
    resources = merge_resources(
        profile.spec.runtime.resources,
        model.spec.serving.resources,
        parse_bytes(gate) if gate else None,
        profile.memory,
    )
    both = crowd(resources, profile.memory)
    if both is not None:
        why = (
            f"Two servers of {name} may use {both // 2**20}Mi of memory, and spec.hardware.memory of the "
            f"DeviceProfile is {profile.spec.hardware.memory}."
        )
        return _replaced(model, why, tests=False)
    expose = model.spec.serving.expose
    if expose and expose.type == "HostPort":
        return _replaced(model, "spec.serving.expose.type is HostPort, and one pod of a node can have a port.")
    return Strategy(model.spec.rollout.strategy)


def _replaced(model: EdgeModel, why: str, *, tests: bool = True) -> Strategy:
    return Strategy("Replace", why if model.spec.rollout.strategy == "Surge" else "", tests)
