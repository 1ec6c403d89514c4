"""Which labels and records of deleted EdgeModels are left on nodes.

They have no owner reference, so only the operator removes them.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgesmith.api.names import parse_node_label
from edgesmith.decide.snapshot import Node


def sweep(nodes: Iterable[Node], models: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The marks to remove, as (node, key), given the (namespace, name) of every EdgeModel there is.

    A key is that of a label and of the record beside it; a node that lost the label may still have the record.
    """
    living = set(models)
    return tuple(
        (node.name, key)
        for node in sorted(nodes, key=lambda node: node.name)
        for key in sorted({*node.labels, *node.records})
        if (owner := parse_node_label(key)) is not None and owner not in living
    )
