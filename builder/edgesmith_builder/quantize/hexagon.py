"""How QNN takes a model in whole numbers: everything quantised, and some tensors as its operators ask for them.

What those are ONNX Runtime knows (`get_qnn_qdq_config`): a product of matrices has one scale for all its weights, a
sigmoid in 16 bits has a scale of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

_IN_NO_TYPE = frozenset({"Cast", "DequantizeLinear", "QuantizeLinear"})
"""Operators that say themselves which types they are between."""


def all_op_types(graph: onnx.GraphProto) -> list[str]:
    """The operators of a graph that can be in whole numbers, sorted: all that QNN may know."""
    return sorted({node.op_type for node in graph.node} - _IN_NO_TYPE)


def hexagon_options(
    model: Path, *, per_channel: bool, activation_type: QuantType, weight_type: QuantType
) -> dict[str, Any]:
    """Further options of ONNX Runtime's quantiser.

    Args:
        model: The fp32 model, prepared.
        per_channel: Whether convolutions have a scale for each output channel.
        activation_type: Number type of activations.
        weight_type: Number type of weights.
    """
    config = get_qnn_qdq_config(
        onnx.load_model(model), None, activation_type=activation_type, weight_type=weight_type, per_channel=per_channel
    )
    found: dict[str, Any] = config.extra_options
    return found
