"""What a node's labels say of one EdgeModel: which revision it was given, and which one it serves until that is ready.

A node has two labels. The first says what it runs; the next one, where it is there, what it makes ready beside that.
Both are written in one call, so that nobody ever sees the one without the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from edgesmith.api.names import next_label, parse_next
from edgesmith.decide.snapshot import Node, Pod


class Placement(NamedTuple):
    """What a node's labels say."""

    label: str | None
    """The revision that it was given last: that of the next label, where there is one."""
    beside: str | None = None
    """What it runs meanwhile; empty where the first label is gone, None where there is no next label."""
    staging: bool = False
    """Whether `label` is only pulled and tested for now."""

    def serving(self, pods: Iterable[Pod]) -> bool:
        """Whether the server of `beside` is ready, as far as its pods tell."""
        return any(self.is_old(pod) and pod.ready and not pod.terminating for pod in pods)

    def is_old(self, pod: Pod) -> bool:
        """Whether a pod is the server of `beside`."""
        return pod.revision == self.beside and not pod.staging


def placement(node: Node, key: str) -> Placement:
    """Read a node's labels.

    Args:
        node: The node.
        key: The EdgeModel's label, as `edgesmith.api.names.node_label` has it.
    """
    labels = node.labels
    label, following = labels.get(key), labels.get(next_label(key))
    if not following:
        return Placement(label)
    upcoming, staging = parse_next(following)
    if upcoming is None or upcoming == label:
        return Placement(label)
    return Placement(upcoming, label or "", staging)
