"""Asks the processor whether its products of bytes saturate.

x86-64 processors with AVX2 or AVX-512 but without VNNI multiply pairs of unsigned and signed bytes and add the two in
16 bits, saturating (`VPMADDUBSW`). Models whose weights have eight bits then answer otherwise than on every other
processor. ONNX Runtime can make such weights unsigned when it loads a model, which is exact and, on a processor that
does not saturate, takes twice the time. So the processor is asked, by a product that only fits without saturation:
what it says of itself in `/proc/cpuinfo` is not what runs where it is emulated.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np

__all__ = ["products_saturate"]

_DEPTH: Final = 4
_MODEL: Final = (
    b'\x08\x05:X\n\x18\n\x01a\n\x01b\x12\x01y"\rMatMulInteger\x12\x01g*\x0f\x08\x04\x08\x01\x10\x03B\x01bJ\x04\x7f\x7f'
    b"\x7f\x7fZ\x13\n\x01a\x12\x0e\n\x0c\x08\x02\x12\x08\n\x02\x08\x01\n\x02\x08\x04b\x13\n\x01y\x12\x0e\n\x0c\x08\x06"
    b"\x12\x08\n\x02\x08\x01\n\x02\x08\x01B\x04\n\x00\x10\n"
)
"""An ONNX model of one node, written out since the runtime carries no tool to make one: `y = MatMulInteger(a, b)` with
`a` uint8[1,4], `b` int8[4,1] of 127, opset 10."""
_LARGEST: Final = (255, 127)


@functools.cache
def products_saturate() -> bool:
    """Whether 255 x 127, four times, is less than it should be: some milliseconds, once."""
    import onnxruntime as ort  # noqa: PLC0415 - it reads the environment, which `engine.onnxruntime` has seen to by now

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session: Any = ort.InferenceSession(_MODEL, options, providers=["CPUExecutionProvider"])
    byte, weight = _LARGEST
    (answer,) = session.run(None, {"a": np.full((1, _DEPTH), byte, np.uint8)})
    return bool(answer.item() != _DEPTH * byte * weight)
