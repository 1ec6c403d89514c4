"""The tensors of a TFLite graph: what each is, and which of them it takes and gives.

Schema: `tensorflow/compiler/mlir/lite/schema/schema.fbs` of TensorFlow, version 3; the numbers of fields below are
theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.tflite.flatbuffer import Table

MOST, ENDS, AXES = 1 << 18, 1 << 10, 16
"""Tensors of all graphs together, inputs or outputs, and axes, at most: tables may be named many times over, so that a
small file could take for ever to read."""

MODEL_CODES, MODEL_GRAPHS, MODEL_BUFFERS = 1, 2, 4
GRAPH_TENSORS, GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_OPERATORS = 0, 1, 2, 3
CODE_CUSTOM = 1
TENSOR_NAME = 3
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_SCALES = 0, 1, 2, 4
_SCALE, _ZERO = 2, 3

FLOAT32, FLOAT16, UINT8, INT8 = 0, 1, 3, 9
_SERVED = frozenset({FLOAT32, FLOAT16, 2, UINT8, 4, 5, 6, 7, INT8, 10, 12, 15, 16})
"""Types of tensors that a request can carry: whole numbers, floats, truth values and text."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a graph."""

    name: str
    kind: int
    shape: tuple[int, ...]
    scale: float | None
    """The first of its scales; None where its numbers are what they are."""
    zero: int
    """The first of its zero points."""
    constant: int
    """Bytes of its values in the file; 0 where they are computed."""


@dataclass(frozen=True, slots=True)
class Ends:
    """What a model takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def tensor_of(table: Table, sizes: list[int], what: str) -> Tensor:
    """Read a tensor.

    Args:
        table: Its table.
        sizes: Bytes of the file's buffers.
        what: What messages call the file.

    Raises:
        ModelInvalid: where it lies in a buffer that is not there.
    """
    buffer, name = table.number(_TENSOR_BUFFER, "I"), table.text(TENSOR_NAME)
    if buffer >= max(1, len(sizes)):
        raise ModelInvalid(f"{what} has the tensor {name!r} in buffer {buffer}; one of its {len(sizes)} was expected")
    scales = table.table(_TENSOR_SCALES)
    return Tensor(
        name=name,
        kind=table.number(_TENSOR_TYPE, "b"),
        shape=table.numbers(_TENSOR_SHAPE, "i", AXES),
        scale=scales.first(_SCALE, "f") if scales is not None else None,
        zero=(scales.first(_ZERO, "q") or 0) if scales is not None else 0,
        constant=sizes[buffer] if sizes else 0,
    )


def ends_of(graph: Table, field: int, tensors: list[Tensor], kind: str, what: str) -> list[Tensor]:
    """The tensors that a graph takes or gives.

    Args:
        graph: Its table.
        field: `GRAPH_INPUTS` or `GRAPH_OUTPUTS`.
        tensors: All of its tensors.
        kind: What messages call them: `input`.
        what: What messages call the file.

    Raises:
        ModelInvalid: where there is none, or one that is no tensor of the graph or cannot be served.
    """
    numbers = graph.numbers(field, "i", ENDS)
    if not numbers:
        raise ModelInvalid(f"{what} has no {kind}; at least one was expected")
    found = []
    for number in numbers:
        if not 0 <= number < len(tensors):
            raise ModelInvalid(f"{what} has the {kind} {number}; one of its {len(tensors)} tensors was expected")
        if tensors[number].kind not in _SERVED:
            raise ModelInvalid(
                f"{what} has the {kind} {tensors[number].name!r} of TFLite's type {tensors[number].kind}; "
                "a tensor of numbers, truth values or text was expected"
            )
        found.append(tensors[number])
    return found
