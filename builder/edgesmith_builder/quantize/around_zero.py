"""How TensorRT takes a model in int8: every zero point is 0, and only what layers with weights take is quantised.

TensorRT fuses a layer with the DequantizeLinear nodes before it, and decides about its output by what comes next:
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html.
Biases stay in float: TensorRT has no int32 ones.
"""

from __future__ import annotations

from typing import Any

LAYERS = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
"""Operators that are quantised, sorted."""

OPTIONS: dict[str, Any] = {
    "ActivationSymmetric": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": LAYERS,
}
"""Further options of ONNX Runtime's quantiser."""
