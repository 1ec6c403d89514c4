"""Which taints keep a DaemonSet's pods from a node, by the rules of the DaemonSet controller."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PRESSURES = {"DiskPressure": "node.kubernetes.io/disk-pressure", "PIDPressure": "node.kubernetes.io/pid-pressure"}
"""Conditions of a node to the keys of the taints that the node controller makes of them."""

REFUSED_BY_KUBELET = frozenset(PRESSURES.values())
"""Keys that the DaemonSet controller makes its pods tolerate while the kubelet admits none of them.

Under disk pressure it could not keep another image either: it is deleting those that are not in use.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-conditions
"""

NO_SCHEDULE = "NoSchedule"
KEEPING = frozenset({NO_SCHEDULE, "NoExecute"})
"""Effects that keep a pod away; the third, PreferNoSchedule, does not bind a DaemonSet."""

TOLERATED_BY_ALL = frozenset(
    f"node.kubernetes.io/{name}"
    for name in ("not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
)
"""Keys that the DaemonSet controller makes every one of its pods tolerate.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#taints-and-tolerations
"""


@dataclass(frozen=True, slots=True)
class Taint:
    """A node's taint."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


def with_pressures(taints: tuple[Taint, ...], conditions: Collection[str]) -> tuple[Taint, ...]:
    """A node's taints, with those that follow from its conditions and are not there yet.

    The kubelet refuses pods as soon as it knows of the pressure; the node controller writes the taint some time later.

    Args:
        taints: The node's.
        conditions: The conditions that are True.
    """
    known = {one.key for one in taints}
    follow = (key for condition, key in PRESSURES.items() if condition in conditions and key not in known)
    return (*taints, *(Taint(key, "", NO_SCHEDULE) for key in follow))


def keeping_taint(taints: Iterable[Taint], tolerations: Iterable[Mapping[str, Any]]) -> Taint | None:
    """The first taint that keeps pods with these tolerations away, or None.

    Args:
        taints: The node's.
        tolerations: The pods', as in a PodSpec.
    """
    tolerations = tuple(tolerations)
    for taint in taints:
        if taint.key in REFUSED_BY_KUBELET:
            return taint
        keeping = taint.effect in KEEPING and taint.key not in TOLERATED_BY_ALL
        if keeping and not any(_tolerates(toleration, taint) for toleration in tolerations):
            return taint
    return None


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    key, exists = toleration.get("key") or "", toleration.get("operator") == "Exists"
    if key != taint.key:
        return exists and not key
    return exists or (toleration.get("value") or "") == taint.value
