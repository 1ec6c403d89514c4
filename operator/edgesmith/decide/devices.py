"""Which devices a node lacks that a server asks for: extended resources, which device plugins offer to the kubelet.

Source: https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.units import parse_bytes
from edgesmith.decide.serving import merge_resources


class Shortage(NamedTuple):
    """A device of which a node offers less than a server asks for."""

    resource: str
    wanted: int
    offered: int

    def __str__(self) -> str:
        return f"offers {self.offered} of {self.resource} where {self.wanted} is expected"


def is_device(resource: str) -> bool:
    """Whether a resource's name is that of an extended resource: it has a domain, and not Kubernetes' own."""
    return "/" in resource and "kubernetes.io/" not in resource


def devices_of(profile: DeviceProfile, model: EdgeModel) -> dict[str, int]:
    """How many of each device the pods of one variant ask for."""
    return devices_in(merge_resources(profile.spec.runtime.resources, model.spec.serving.resources))


def devices_in(resources: Mapping[str, Mapping[str, str | int]]) -> dict[str, int]:
    """How many of each device a pod's requests and limits ask for."""
    found: dict[str, int] = {}
    for section in resources.values():
        for resource, quantity in section.items():
            if is_device(resource) and (count := parse_bytes(quantity)):
                found[resource] = count
    return found


def shortage(wanted: Mapping[str, int], offered: Mapping[str, int]) -> Shortage | None:
    """The first device of which less is offered than wanted, or None.

    Args:
        wanted: What a pod asks for.
        offered: What a node's `status.allocatable` holds: healthy devices, whether a pod uses them or not.
    """
    for resource, count in wanted.items():
        if offered.get(resource, 0) < count:
            return Shortage(resource, count, offered.get(resource, 0))
    return None
