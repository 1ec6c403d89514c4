"""Which node labels outlived their EdgeModel. Labels have no owner reference, so nobody else takes them away."""

from __future__ import annotations

from collections.abc import Iterable

from edgesmith.api.names import parse_node_label
from edgesmith.decide.snapshot import Node


def sweep(nodes: Iterable[Node], models: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The labels to remove, as (node, label key), given the (namespace, name) of every EdgeModel there is."""
    living = set(models)
    return tuple(
        (node.name, key)
        for node in sorted(nodes, key=lambda node: node.name)
        for key in sorted(node.labels)
        if (owner := parse_node_label(key)) is not None and owner not in living
    )
