"""Writes the int8 form of a model: ONNX Runtime's quantiser in QDQ form, told which nodes and which tensors."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from edgesmith_builder.format.onnx.domains import import_used
from edgesmith_builder.quantize import around_zero
from edgesmith_builder.quantize.calibrate import Ranges
from edgesmith_builder.quantize.hexagon import hexagon_options
from edgesmith_builder.quantize.settings import Quantization

OP_TYPES: list[str] = sorted({*QLinearOpsRegistry, *QDQRegistry})
"""Operators that can be quantised. Sorted: ONNX Runtime's own default is a set's order, another one in each run."""

_TYPES = {"uint16": QuantType.QUInt16, "uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to quantise of a prepared model."""

    model: Path
    settings: Quantization
    ranges: Ranges
    in_float: frozenset[str]
    """Tensors that stay as they are."""
    op_types: Sequence[str]
    """Operators that can be quantised, sorted."""


class _Quantizer(QDQQuantizer):  # type: ignore[misc, unused-ignore]  # onnxruntime carries no types
    """ONNX Runtime's, which leaves tensors and biases in float where it is told to."""

    in_float: Collection[str] = ()

    def quantize_activation_tensor(self, tensor_name: str) -> Any:
        if tensor_name not in self.in_float:
            super().quantize_activation_tensor(tensor_name)

    def quantize_bias_tensor(self, node_name: str, bias_name: str, *others: Any, **more: Any) -> Any:
        # A bias is quantised with the product of the input's scale and its channel's. A transposed convolution in
        # groups has fewer scales than channels; its bias stays in float, which no processor is slower with.
        grouped = self.model.find_node_by_name(node_name, [], self.model.graph())
        if grouped.op_type == "ConvTranspose" and any(a.name == "group" and a.i > 1 for a in grouped.attribute):
            return
        super().quantize_bias_tensor(node_name, bias_name, *others, **more)


def emit(recipe: Recipe, nodes: Collection[str], target: Path) -> Path:
    """Quantise the named nodes and write the model.

    Raises:
        Exception: whatever the quantiser raises, which has no base class of its own.
    """
    ranges = {
        name: TensorData(lowest=np.array(low, dtype=np.float32), highest=np.array(high, dtype=np.float32))
        for name, (low, high) in recipe.ranges.items()
    }
    settings = recipe.settings
    types = {"activation_type": _TYPES[settings.activations], "weight_type": _TYPES[settings.weights]}
    more = dict(around_zero.OPTIONS) if settings.around_zero else {}
    if settings.hexagon:
        more = hexagon_options(recipe.model, per_channel=settings.per_channel, **types)
    with quiet():
        quantizer = _Quantizer(
            load_model_with_shape_infer(recipe.model),
            settings.per_channel,
            settings.reduce_range,
            types["weight_type"],
            types["activation_type"],
            TensorsData(CalibrationMethod.MinMax, ranges),
            set(nodes),
            [],
            list(recipe.op_types),
            more,
        )
        quantizer.in_float = recipe.in_float
        quantizer.quantize_model()
        import_used(quantizer.model.model)
        quantizer.model.save_model_to_file(str(target))
    return target


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """ONNX Runtime's quantiser logs advice through the root logger; ours has the last word on what is logged."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
