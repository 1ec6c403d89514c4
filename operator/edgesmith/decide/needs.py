"""What the pods of a revision need of a node: its devices, and which of its taints they tolerate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide.devices import devices_in, devices_of
from edgesmith.decide.entries import listed


class Needs(NamedTuple):
    """What the pods of a revision need of a node."""

    tolerations: tuple[Mapping[str, Any], ...] = ()
    """What they tolerate."""
    devices: Mapping[str, int] | None = None
    """How many of each device they ask for; None where they ask for none."""


def needs_of(profile: DeviceProfile, model: EdgeModel) -> Needs:
    """What pods made of a profile and an EdgeModel need."""
    return Needs(profile.spec.runtime.tolerations, devices_of(profile, model) or None)


def needs_in(manifest: Mapping[str, Any]) -> Needs:
    """What the pods of a DaemonSet need that is there, whatever has become of its profile.

    Args:
        manifest: The DaemonSet as it stands.
    """
    spec = _mapping(_mapping(_mapping(manifest.get("spec")).get("template")).get("spec"))
    devices: dict[str, int] = {}
    for container in listed(spec, "containers"):
        with suppress(ValueError):
            # Somebody else may have written there what no profile can say.
            devices |= devices_in(dict(_sections(_mapping(container.get("resources")))))
    return Needs(tuple(listed(spec, "tolerations")), devices or None)


def _sections(resources: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((name, _mapping(resources.get(name))) for name in ("requests", "limits"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
