"""BF16: an FP32 without the lower half of its bits (https://en.wikipedia.org/wiki/Bfloat16_floating-point_format)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["halves", "rounded", "whole"]

_HALF: Final = np.uint32(16)
_BELOW: Final = np.uint32(0x7FFF)
_ONE: Final = np.uint32(1)
_QUIET: Final = np.uint16(0x7FC0)


def halves(array: NDArray[Any]) -> NDArray[np.uint16]:
    """Round FP32 to BF16, of two equally near the even one, and give its bits; NaN stays NaN."""
    whole_bits = np.ascontiguousarray(array, "<f4").view(np.uint32)
    bits = ((whole_bits + _BELOW + ((whole_bits >> _HALF) & _ONE)) >> _HALF).astype("<u2")
    return np.where(np.isnan(array), _QUIET, bits).astype("<u2")


def whole(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The FP32 of a BF16's bits."""
    return (bits.astype(np.uint32) << _HALF).view(np.float32)


def rounded(array: NDArray[Any]) -> NDArray[np.float32]:
    """The nearest BF16 as FP32."""
    return whole(halves(array))
