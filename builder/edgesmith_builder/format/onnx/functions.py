"""Functions of a model: what an engine writes out in place of each call, and how much that comes to."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

import onnx

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.onnx.domains import STANDARD
from edgesmith_builder.format.onnx.nesting import inner_graphs, subgraphs

MOST = 50_000
"""Operators that a model with functions may come to. Networks have some thousands; ONNX Runtime takes 10 seconds to
write out 16,000 operators in a row, and four times as long for twice as many."""

_Name = tuple[str, str, str]


def check_functions(model: onnx.ModelProto, what: str) -> None:
    """Refuse functions that come to too much: a few that call each other twice come to millions of operators.

    They are counted, and nothing is written out.

    Raises:
        ModelInvalid: where one calls itself, or all come to more than `MOST`.
    """
    if not model.functions:
        return
    bodies: dict[_Name, list[onnx.NodeProto]] = {}
    for function in model.functions:
        bodies.setdefault(_name(function.domain, function.name, function), []).extend(_nodes(function.node))
    calls = {name: [_called(node) for node in nodes] for name, nodes in bodies.items()}
    sorter = TopologicalSorter({name: [one for one in called if one in bodies] for name, called in calls.items()})
    try:
        ordered = list(sorter.static_order())
    except CycleError as error:
        raise ModelInvalid(
            f"{what} has the function {error.args[1][0][1][:100]!r}, which calls itself; functions that come to an end "
            "were expected"
        ) from None
    sizes: dict[_Name, int] = {}
    for name in ordered:
        sizes[name] = _size(calls[name], sizes)
    total = _size((_called(node) for graph in subgraphs(model.graph) for node in graph.node), sizes)
    if total > MOST:
        raise ModelInvalid(
            f"{what} comes to more than {MOST} operators with its functions written out; at most {MOST} were expected"
        )


def _size(called: Iterable[_Name], sizes: dict[_Name, int]) -> int:
    """Operators that nodes come to; what is beyond the bound is not counted on."""
    return min(sum(sizes.get(one, 1) for one in called), MOST + 1)


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterable[onnx.NodeProto]:
    """Nodes, and those in the graphs inside them."""
    for node in nodes:
        yield node
        for inner in inner_graphs(node):
            for graph in subgraphs(inner):
                yield from graph.node


def _called(node: onnx.NodeProto) -> _Name:
    return _name(node.domain, node.op_type, node)


def _name(domain: str, name: str, of: onnx.NodeProto | onnx.FunctionProto) -> _Name:
    return "" if domain in STANDARD else domain, name, of.overload
