"""What stays in floating point at a model's end: everything behind its last multiplications, and their answers.

Eight bits over the range of an output are 256 answers. Where boxes in pixels and scores between 0 and 1 leave in one
tensor, which is how YOLO's heads are exported, all scores become one of two or three. The operators there cost next to
nothing, and what comes out of the last multiplications costs 32 bits for each value either way: it is an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edgesmith_builder.format.onnx.nesting import inner_graphs
from edgesmith_builder.quantize.graph import initializers, is_heavy

_AVERAGES = frozenset({"GlobalAveragePool", "AveragePool", "ReduceMean"})
"""An average over many values of 8 bits has more than 8 itself, so the tail can begin behind it, and the convolution
before it, which may be the largest of all (SqueezeNet), keeps its fast form."""

_RECURRENT = frozenset({"LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention"})
"""Multiplications that are not quantised themselves; what is before them keeps its fast form."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Where floating point begins."""

    nodes: frozenset[str]
    """Names of nodes that stay as they are."""
    tensors: frozenset[str]
    """Answers of the last nodes before them, which are not quantised."""


NO_TAIL = Tail(frozenset(), frozenset())
"""For processors that have no floating point."""


def tail_of(graph: onnx.GraphProto) -> Tail:
    """Find the nodes from which no multiplication and no average is reached any more.

    Args:
        graph: Its nodes have names, each another, and stand in the order in which they can run.
    """
    constants = initializers(graph)
    before: set[str] = set()  # tensors that lead to a multiplication
    tail: set[str] = set()
    last: set[str] = set()
    for node in reversed(graph.node):
        leads = any(name in before for name in node.output)
        body = is_heavy(node, constants) or node.op_type in _AVERAGES | _RECURRENT
        if body and not leads:
            last.update(name for name in node.output if name)
        if body or leads:
            before.update(name for name in _read(node) if name)
        else:
            tail.add(node.name)
    return Tail(frozenset(tail), frozenset(last))


def _read(node: onnx.NodeProto) -> set[str]:
    """What a node reads, in the graphs inside it too."""
    names = set(node.input)
    for inner in inner_graphs(node):
        for child in inner.node:
            names |= _read(child)
    return names
