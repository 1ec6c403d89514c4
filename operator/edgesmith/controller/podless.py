"""Since when nodes have been without a pod that they are to have: the one thing that nothing in the cluster tells.

A label says which revision a node is to run, but not since when, and a pod that is gone leaves no trace of its end. So
it is remembered here. A restart forgets it, which gives every such node its whole `progressDeadline` again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from edgesmith.api.names import node_label
from edgesmith.controller.queue import Key
from edgesmith.decide.snapshot import Node, Snapshot

_Terms = tuple[str, object, object]
"""What a node is to run, since when it is reachable, and its taints: the wait starts anew when one of them changes."""


class Podless:
    """Nodes seen without their pod, by EdgeModel."""

    def __init__(self) -> None:
        self._seen: dict[Key, dict[str, tuple[_Terms, datetime]]] = {}

    def look(self, key: Key, snapshot: Snapshot, now: datetime) -> Mapping[str, datetime]:
        """Take in what a pass sees, and say since when each reachable node has been without its pod.

        Args:
            key: The EdgeModel.
            snapshot: What the pass knows of it.
            now: When.
        """
        before, label = self._seen.get(key, {}), node_label(*key)
        served = {(pod.node, pod.revision) for pod in snapshot.pods if not pod.terminating}
        missing = {
            node.name: _terms(node, revision)
            for node in snapshot.nodes
            if (revision := node.labels.get(label)) and node.online and (node.name, revision) not in served
        }
        self._seen[key] = {
            name: before[name] if name in before and before[name][0] == terms else (terms, now)
            for name, terms in missing.items()
        }
        return {name: since for name, (_, since) in self._seen[key].items()}

    def forget(self, key: Key) -> None:
        """Forget an EdgeModel that is gone."""
        self._seen.pop(key, None)


def _terms(node: Node, revision: str) -> _Terms:
    return revision, node.online_since, node.taints
