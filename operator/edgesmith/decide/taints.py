"""Which taints keep a DaemonSet's pods from a node, by the rules of the DaemonSet controller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

REFUSED_BY_KUBELET = frozenset({"node.kubernetes.io/disk-pressure", "node.kubernetes.io/pid-pressure"})
"""Keys that the DaemonSet controller makes its pods tolerate while the kubelet admits none of them.

Under disk pressure it could not keep another image either: it is deleting those that are not in use.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-conditions
"""

KEEPING = frozenset({"NoSchedule", "NoExecute"})
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
