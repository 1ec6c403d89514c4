"""What the Edge TPU's compiler writes into a TFLite file: a package of executables, in no schema that is published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
from flatbuffers import flexbuffers
from tflite import Operator, Tensor, tflite_file

__all__ = ["compiled_file_of", "edge_tpu_options"]


def compiled_file_of(x: Tensor, y: Tensor, options: bytes | None = None) -> bytes:
    """A file of the Edge TPU's one operator from `x` to `y`."""
    operator = Operator("CUSTOM", [x.name], [y.name], custom="edgetpu-custom-op", custom_options=options)
    return tflite_file([x, y], [operator], [x.name], [y.name])


def edge_tpu_options(
    runtime: int = 12, cached: int = 0, streamed: int = 0, chip: str = "beagle", package: bytes | None = None
) -> bytes:
    """The options of the Edge TPU's operator: a package of an executable that caches weights and one that streams."""
    if package is None:
        executables = [_executable(chip, size, kind) for size, kind in ((cached, 1), (streamed, 2))]
        builder = flatbuffers.Builder(1024)
        texts = _tables(builder, [builder.CreateString(one) for one in executables])
        builder.Finish(_table(builder, {0: ("offset", texts)}))
        inner = bytes(builder.Output())
        builder = flatbuffers.Builder(1024)
        fields = {0: ("Int32", runtime), 1: ("offset", builder.CreateByteVector(inner))}
        builder.Finish(_table(builder, fields), b"DWN1")
        package = bytes(builder.Output())
    options = flexbuffers.Builder()
    with options.Map():
        options.Int("1", 0)
        options.Blob("4", package)
        options.Int("5", -1)
    return bytes(options.Finish())


def _executable(chip: str, size: int, kind: int) -> bytes:
    builder = flatbuffers.Builder(1024)
    fields = {
        6: ("offset", builder.CreateByteVector(b"w" * size)),
        10: ("offset", builder.CreateString(chip)),
        13: ("Int16", kind),
    }
    builder.Finish(_table(builder, fields))
    return bytes(builder.Output())


def _table(builder: Any, fields: dict[int, tuple[str, Any]]) -> int:
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, (kind, value) in fields.items():
        if kind == "offset":
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        else:
            getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
    return int(builder.EndObject())


def _tables(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
