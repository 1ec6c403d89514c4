"""Tensors of a TFLite file under other names: their table leads to names that are put behind all else.

So nothing moves, weights least of all, which may be aligned.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace

from edgesmith_builder.errors import InterfaceMismatch
from edgesmith_builder.format.facts import ModelFacts
from edgesmith_builder.format.renames import Renames
from edgesmith_builder.format.tflite.flatbuffer import Table
from edgesmith_builder.format.tflite.read import GRAPHS, with_bytes
from edgesmith_builder.format.tflite.tensors import (
    ENDS,
    GRAPH_INPUTS,
    GRAPH_OUTPUTS,
    GRAPH_TENSORS,
    MODEL_GRAPHS,
    MOST,
    TENSOR_NAME,
)

_ALIGNED = 4
"""Bytes that a string's length lies at a multiple of: "FlatBuffer Internals"."""


def renamed(facts: ModelFacts, renames: Renames, what: str) -> ModelFacts:
    """Give inputs and outputs other names, in the file.

    Args:
        facts: The model, which was read; its file is changed.
        renames: The names.
        what: What messages call it.

    Raises:
        InterfaceMismatch: where an input is an output as well and would be called otherwise as each.
    """
    names = with_bytes(facts.path, what, lambda data: _names(data, renames, what))
    with facts.path.open("r+b") as file:
        for place, name in names.items():
            end = -(-file.seek(0, 2) // _ALIGNED) * _ALIGNED
            text = name.encode()
            file.truncate(end)
            file.seek(end)
            file.write(struct.pack("<I", len(text)) + text + b"\0")
            file.seek(place)
            file.write(struct.pack("<I", end - place))
    return replace(facts, size=facts.path.stat().st_size)


def _names(data: memoryview, renames: Renames, what: str) -> dict[int, str]:
    """The new names, by the place in the file that leads to each tensor's name."""
    graph = Table.root(data).tables(MODEL_GRAPHS, GRAPHS)[0]
    tensors = graph.tables(GRAPH_TENSORS, MOST)
    found: dict[int, str] = {}
    changed: dict[int, str] = {}
    pairs: tuple[tuple[int, Mapping[str, str]], ...] = (
        (GRAPH_INPUTS, renames.inputs),
        (GRAPH_OUTPUTS, renames.outputs),
    )
    for ends, names in pairs:
        for number in graph.numbers(ends, "i", ENDS):
            old = str(tensors[number].bytes(TENSOR_NAME), "utf-8", "replace")
            new, place = names.get(old, old), tensors[number].place_of(TENSOR_NAME)
            if place is None:
                continue
            if found.setdefault(place, new) != new:
                raise InterfaceMismatch(
                    f"{what} answers with its input {old!r} itself, one tensor for what spec.source calls "
                    f"{found[place]!r} and {new!r}, and a tensor of TFLite has one name; a copy of it was expected as "
                    "the output"
                )
            if new != old:
                changed[place] = new
    return changed
