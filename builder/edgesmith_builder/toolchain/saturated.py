"""Constants beyond fp16 that mean the same at its end: masks and bounds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edgesmith_builder.failures import CompileFailed
from edgesmith_builder.format.onnx.nesting import subgraphs

LARGEST = 65504.0
"""The largest number of fp16 (IEEE 754, binary16)."""

_SATURATE = frozenset({"Add", "Clip", "Max", "Min", "Mul", "Pad", "Sub", "Where"})
"""Operators through which a number beyond fp16 is a mask or a bound: -1e9 is added to scores, or a number is held below
3.4e38. A factor may be neither, as 1e6 from one unit to another is; then the evaluation set tells."""

_MOVE = frozenset(
    {"Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Tile"}
    | {"Transpose", "Trilu", "Unsqueeze"}
)
"""Operators that put numbers elsewhere and leave them as they are."""


@dataclass(frozen=True, slots=True)
class Saturated:
    """A constant whose numbers beyond fp16 become its largest or least."""

    name: str
    value: float
    """The number farthest from 0."""


def warnings_of(found: Sequence[Saturated]) -> tuple[str, ...]:
    """A warning for the report; nothing where there are none."""
    if not found:
        return ()
    first = found[0]
    end = math.copysign(LARGEST, first.value)
    others = f"; {len(found)} constants are cut off so" if len(found) > 1 else ""
    return (f"The constant {first.name!r} has the value {first.value:g}, which is {end:.0f} in fp16{others}.",)


def saturated(graph: onnx.GraphProto, constants: Iterable[tuple[str, Any]]) -> tuple[Saturated, ...]:
    """Those that fp16 has no number for, each once.

    Args:
        graph: A graph in which each value, of inner graphs too, has a name of its own.
        constants: Numbers that become fp16, each with the name of its value.

    Raises:
        CompileFailed: naming a constant that is no mask and no bound.
    """
    found = [Saturated(name, worst) for name, array in constants if math.fabs(worst := _worst(array)) > LARGEST]
    takers = _takers(graph) if found else {}
    given_out = {value.name for each in subgraphs(graph) for value in each.output}
    for one in found:
        if not _is_bound(one.name, takers, given_out):
            raise CompileFailed(
                f"the constant {one.name!r} has the value {one.value:g}, and fp16 ends at {LARGEST:.0f}"
            )
    return tuple(found)


def _worst(array: Any) -> float:
    finite = array[np.isfinite(array)]
    return float(finite[np.abs(finite).argmax()]) if finite.size else 0.0


def _takers(graph: onnx.GraphProto) -> Mapping[str, list[onnx.NodeProto]]:
    """The nodes that take each value, of inner graphs too."""
    takers: dict[str, list[onnx.NodeProto]] = {}
    for each in subgraphs(graph):
        for node in each.node:
            for name in filter(None, node.input):
                takers.setdefault(name, []).append(node)
    return takers


def _is_bound(name: str, takers: Mapping[str, list[onnx.NodeProto]], given_out: Collection[str]) -> bool:
    """Whether all that takes a value, wherever it is moved to, takes it as a mask or a bound."""
    seen, todo = {name}, [name]
    while todo:
        value = todo.pop()
        if value in given_out:
            return False
        for node in takers.get(value, ()):
            if node.op_type in _MOVE and not node.domain:
                moved = set(node.output) - seen
                seen |= moved
                todo.extend(moved)
            elif node.op_type not in _SATURATE or node.domain:
                return False
    return True
