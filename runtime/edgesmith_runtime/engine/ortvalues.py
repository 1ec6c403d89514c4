"""Tensors of types that NumPy does not have, into ONNX Runtime and out of it."""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime as ort

from edgesmith_runtime.bfloat import halves, whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["BFLOAT16", "run_with_halves"]

BFLOAT16: Final = "tensor(bfloat16)"
"""What ONNX Runtime calls the type BF16."""

_ONNX_BFLOAT16: Final = 16
"""TensorProto.BFLOAT16 of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3."""


def run_with_halves(
    session: Any, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], options: Any
) -> list[NDArray[Any]]:
    """Run a session some of whose inputs or outputs are BF16, which is held as FP32 outside of it.

    Args:
        session: ONNX Runtime's.
        inputs: One array for every input.
        outputs: The outputs wanted.
        options: ONNX Runtime's options of a run.

    Returns:
        The outputs, in their order.
    """
    bfloat = {node.name for node in session.get_inputs() if node.type == BFLOAT16}
    feeds = {
        name: ort.OrtValue.ortvalue_from_numpy_with_onnx_type(halves(array), _ONNX_BFLOAT16)
        if name in bfloat
        else ort.OrtValue.ortvalue_from_numpy(array)
        for name, array in inputs.items()
    }
    return [_array(value) for value in session.run_with_ort_values(outputs, feeds, options)]


def _array(value: Any) -> NDArray[Any]:
    if value.data_type() != BFLOAT16:
        return np.asarray(value.numpy())
    shape = value.shape()
    count = math.prod(shape)
    # ONNX Runtime gives no array of this type, only its place in memory, which is the value's.
    bits = (ctypes.c_uint16 * count).from_address(value.data_ptr()) if count else b""
    return whole(np.frombuffer(bits, "<u2")).reshape(shape)
