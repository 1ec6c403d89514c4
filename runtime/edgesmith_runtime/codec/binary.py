"""Tensors as raw bytes: little-endian, row-major; ``BYTES`` elements each behind their length.

The form is that of the binary tensor data extension, which gRPC's raw contents share
(https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md).
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.bfloat import halves, whole
from edgesmith_runtime.errors import BadRequest
from edgesmith_runtime.tensors import DTYPES, TensorSpec, shape_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["element_size", "from_raw", "text_of", "to_raw"]

_LENGTH: Final = struct.Struct("<I")


def from_raw(spec: TensorSpec, shape: tuple[int, ...], data: memoryview) -> NDArray[Any]:
    """Read a tensor without copying it, where its place in memory allows.

    Args:
        spec: The input that the tensor is for.
        shape: Its shape, already held against the specification.
        data: Exactly its bytes.

    Raises:
        BadRequest: The number of bytes is not what the shape needs, or text is not UTF-8.
    """
    count = math.prod(shape)
    dtype = DTYPES[spec.datatype]
    if spec.datatype == "BYTES":
        return _texts(spec, count, data).reshape(shape)
    if len(data) != (size := count * element_size(spec.datatype)):
        raise BadRequest(
            f"input {spec.name!r} has {len(data)} bytes of data; expected {size} for {spec.datatype} "
            f"{shape_text(shape)}"
        )
    if spec.datatype == "BF16":
        return whole(np.frombuffer(data, "<u2")).reshape(shape)
    if spec.datatype == "BOOL":
        # A byte other than 0 and 1 is undefined in a bool array.
        return np.not_equal(np.frombuffer(data, np.uint8), 0).reshape(shape)
    flat: NDArray[Any] = np.frombuffer(data, dtype)
    array: NDArray[Any] = (flat if flat.flags.aligned else flat.copy()).reshape(shape)
    return array


def element_size(datatype: str) -> int:
    """The bytes of an element of a datatype other than ``BYTES``."""
    return DTYPES["UINT16" if datatype == "BF16" else datatype].itemsize


def to_raw(array: NDArray[Any], datatype: str | None = None) -> bytes | memoryview:
    """Write a tensor, without copying it where its memory is already in order.

    Args:
        array: The tensor.
        datatype: Its datatype where the array does not tell: ``BF16`` is held as FP32.
    """
    if datatype == "BF16":
        array = halves(array)
    if array.dtype.kind in "OUS":
        parts: list[bytes] = []
        for item in array.ravel():
            encoded = item if isinstance(item, bytes) else str(item).encode()
            parts += (_LENGTH.pack(len(encoded)), encoded)
        return b"".join(parts)
    ordered = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return ordered.reshape(-1).view(np.uint8).data


def text_of(name: str, index: int, item: bytes | memoryview) -> str:
    """Decode one ``BYTES`` element.

    Raises:
        BadRequest: It is not UTF-8, which is all that the engines take.
    """
    try:
        return str(item, "utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"input {name!r} is not UTF-8 in element {index}; expected text") from error


def _texts(spec: TensorSpec, count: int, data: memoryview) -> NDArray[Any]:
    texts: list[str] = []
    offset = 0
    while offset < len(data):
        start = offset + _LENGTH.size
        end = start + (_LENGTH.unpack_from(data, offset)[0] if start <= len(data) else 0)
        if start > len(data) or end > len(data):
            raise BadRequest(
                f"input {spec.name!r} ends inside element {len(texts)}; expected 4 bytes of length, then as many bytes"
            )
        if len(texts) == count:  # each one more takes memory that nobody counted
            raise BadRequest(f"input {spec.name!r} has data behind its last element; expected {count}")
        texts.append(text_of(spec.name, len(texts), data[start:end]))
        offset = end
    if len(texts) != count:
        raise BadRequest(f"input {spec.name!r} has {len(texts)} elements of data; expected {count}")
    array = np.empty(count, dtype=np.object_)
    array[:] = texts
    return array
