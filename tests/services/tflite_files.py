"""Small TFLite files, written table by table as TensorFlow's `schema.fbs` has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

__all__ = ["ADD", "CUSTOM", "FULLY_CONNECTED", "Tensor", "file_of", "fully_connected"]

ADD, FULLY_CONNECTED, CUSTOM = 0, 9, 32
"""Builtin operators."""

_ADD_OPTIONS, _FULLY_CONNECTED_OPTIONS = 11, 8
_TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int8": 9, "complex64": 8}


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; with values it is a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    values: NDArray[Any] | None = None
    scale: float | None = None
    zero: int = 0
    buffer: int | None = None
    """Another buffer than its own, to be wrong."""


def file_of(
    tensors: Sequence[Tensor],
    inputs: Sequence[int],
    outputs: Sequence[int],
    *,
    operator: int = ADD,
    operands: Sequence[int] = (0, 1),
    custom: str | None = None,
) -> bytes:
    """A file of one operator."""
    builder = flatbuffers.Builder(1024)
    buffers = [_table(builder, {})]
    made = []
    for tensor in tensors:
        buffer = 0
        if tensor.values is not None:
            data = builder.CreateByteVector(np.ascontiguousarray(tensor.values).tobytes())
            buffer = len(buffers)
            buffers.append(_table(builder, {0: ("offset", data)}))
        fields: dict[int, tuple[str, Any]] = {
            0: ("offset", _ints(builder, tensor.shape)),
            1: ("Int8", _TYPES[tensor.dtype]),
            2: ("Uint32", buffer if tensor.buffer is None else tensor.buffer),
            3: ("offset", builder.CreateString(tensor.name)),
        }
        if tensor.scale is not None:
            scales = builder.CreateNumpyVector(np.array([tensor.scale], np.float32))
            zeros = builder.CreateNumpyVector(np.array([tensor.zero], np.int64))
            fields[4] = ("offset", _table(builder, {2: ("offset", scales), 3: ("offset", zeros)}))
        made.append(_table(builder, fields))
    code = _table(
        builder,
        {0: ("Int8", min(operator, 127)), 3: ("Int32", operator)}
        | ({1: ("offset", builder.CreateString(custom))} if custom else {}),
    )
    kind = {ADD: _ADD_OPTIONS, FULLY_CONNECTED: _FULLY_CONNECTED_OPTIONS}.get(operator)
    step = {1: ("offset", _ints(builder, operands)), 2: ("offset", _ints(builder, outputs))}
    if kind is not None:
        step |= {3: ("Uint8", kind), 4: ("offset", _table(builder, {}))}
    graph = _table(
        builder,
        {
            0: ("offset", _tables(builder, made)),
            1: ("offset", _ints(builder, inputs)),
            2: ("offset", _ints(builder, outputs)),
            3: ("offset", _tables(builder, [_table(builder, step)])),
        },
    )
    model = _table(
        builder,
        {
            0: ("Uint32", 3),
            1: ("offset", _tables(builder, [code])),
            2: ("offset", _tables(builder, [graph])),
            4: ("offset", _tables(builder, buffers)),
        },
    )
    builder.Finish(model, b"TFL3")
    return bytes(builder.Output())


def fully_connected(weights: NDArray[np.float32], dtype: str = "float32") -> bytes:
    """`y = x W`, `x` of one sample; in int8 its numbers have the scale 1/16."""
    rows, columns = weights.shape
    turned = weights.T
    scale = None if dtype == "float32" else 1 / 16
    values = turned if scale is None else np.clip(np.rint(turned / scale), -127, 127).astype(np.int8)
    return file_of(
        [
            Tensor("x", (1, rows), dtype, scale=scale),
            Tensor("w", (columns, rows), dtype, values, scale=scale),
            Tensor("y", (1, columns), dtype, scale=scale),
        ],
        [0],
        [2],
        operator=FULLY_CONNECTED,
        operands=(0, 1, -1),
    )


def _table(builder: Any, fields: dict[int, tuple[str, Any]]) -> int:
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, (kind, value) in fields.items():
        if kind == "offset":
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        else:
            getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
    return int(builder.EndObject())


def _ints(builder: Any, numbers: Sequence[int]) -> int:
    return int(builder.CreateNumpyVector(np.array(numbers, np.int32)))


def _tables(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
