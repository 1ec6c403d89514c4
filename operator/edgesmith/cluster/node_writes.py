"""What is written to nodes, and what the answers to it say besides. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from edgesmith.cluster.table import ObjectChange
from edgesmith.decide.snapshot import Node


def differs_besides(change: ObjectChange, keys: Collection[str]) -> bool:
    """Whether a node differs in more than its labels and records of some keys."""
    return _without(change.old, keys) != _without(change.new, keys)


def _without(node: Node | None, keys: Collection[str]) -> Node | None:
    if node is None:
        return None
    labels = {key: value for key, value in node.labels.items() if key not in keys}
    records = {key: value for key, value in node.records.items() if key not in keys}
    return replace(node, labels=labels, records=records)
