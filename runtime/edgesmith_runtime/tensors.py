"""Tensor specifications and the Open Inference Protocol's datatype names.

The protocol names nine integer and floating types, ``BOOL`` and ``BYTES``
(https://github.com/kserve/open-inference-protocol, "Tensor Data Types"); Triton adds ``BF16``, half of an FP32.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["ANY_SIZE", "DTYPES", "TensorSpec", "datatype_of", "fits_datatype", "shape_text"]

ANY_SIZE: Final = -1
"""The size of a dimension that a request may choose."""

DTYPES: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype("<u1"),
        "UINT16": np.dtype("<u2"),
        "UINT32": np.dtype("<u4"),
        "UINT64": np.dtype("<u8"),
        "INT8": np.dtype("<i1"),
        "INT16": np.dtype("<i2"),
        "INT32": np.dtype("<i4"),
        "INT64": np.dtype("<i8"),
        "FP16": np.dtype("<f2"),
        "BF16": np.dtype("<f4"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
        "BYTES": np.dtype(np.object_),
    }
)
"""NumPy's type for each datatype; little-endian, as it travels. ``BYTES`` elements are ``bytes`` or ``str``.

NumPy has no BF16. Such a tensor is an array of FP32 here, which holds each of its numbers; it travels as their upper
halves, and an engine takes them so.
"""

_DATATYPES: Final = {(dtype.kind, dtype.itemsize): name for name, dtype in DTYPES.items() if name != "BF16"}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: The tensor's name in the model.
        datatype: The protocol's name of its element type, ``FP32`` for example.
        shape: Its dimensions, batch first where it has one; ``-1`` is any size.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Say whether a tensor of `shape` fits this specification."""
        return len(shape) == len(self.shape) and all(
            want in (ANY_SIZE, got) for want, got in zip(self.shape, shape, strict=True)
        )


def datatype_of(array: NDArray[Any]) -> str | None:
    """Name the protocol's datatype of an array, or ``None`` where it has none."""
    if array.dtype.kind in "US":
        return "BYTES"
    return _DATATYPES.get((array.dtype.kind, array.dtype.itemsize))


def fits_datatype(array: NDArray[Any], datatype: str) -> bool:
    """Say whether an array is one that tensors of a datatype are held in."""
    return datatype_of(array) == ("FP32" if datatype == "BF16" else datatype)


def shape_text(shape: tuple[int, ...]) -> str:
    """Write a shape as errors show it: ``[-1,1,64,64]``."""
    return "[" + ",".join(map(str, shape)) + "]"
