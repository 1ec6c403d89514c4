"""Gets a model into the shape that ONNX Runtime's quantiser expects."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, version_converter
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgesmith_builder.model.onnx_file import opset_of

PER_CHANNEL_OPSET = 13
"""From here on QuantizeLinear and DequantizeLinear take an axis (onnx, `Operators.md`)."""

_LEAST_IR = 7
"""The first IR version that goes with opset 12 and later."""


def prepare(source: Path, target: Path, folder: Path) -> None:
    """Raise the opset where needed, fold what can be folded (batch normalisation into convolutions), infer shapes.

    Args:
        source: The fp32 model.
        target: The file to write.
        folder: Where to put what is in between.
    """
    model = onnx.load_model(source)
    # Up to IR 3 initialisers had to be listed as inputs too; there they keep folding from happening.
    initializers = {tensor.name for tensor in model.graph.initializer}
    opset = opset_of(model)
    if opset and opset < PER_CHANNEL_OPSET:
        model = version_converter.convert_version(model, PER_CHANNEL_OPSET)
    inputs = [value for value in model.graph.input if value.name not in initializers]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, _LEAST_IR)
    plain = folder / "plain.onnx"
    onnx.save_model(model, plain)
    del model
    quant_pre_process(str(plain), str(target), skip_symbolic_shape=True)
    model = onnx.load_model(target)
    plain.unlink()
    if _flatten_biases(model.graph):
        onnx.save_model(model, target)


def _flatten_biases(graph: onnx.GraphProto) -> bool:
    """Give every Gemm a bias of one value for each output, and say whether any had another shape.

    A bias may be `[1, N]` or a single value (onnx, `Operators.md`, Gemm: "unidirectional broadcastable"), and folding
    MatMul and Add makes such ones. The quantiser takes `[N]` only (onnxruntime 1.32, in
    `_adjust_weight_scale_for_int32_bias`).
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    changed = False
    for node in graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3 or node.input[2] not in tensors:  # noqa: PLR2004 - A, B and C
            continue
        weight, bias = tensors.get(node.input[1]), tensors[node.input[2]]
        if weight is None or (len(bias.dims) == 1 and bias.dims[0] != 1) or uses[bias.name] > 1:
            continue
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        outputs = weight.dims[0] if transposed else weight.dims[1]
        values = numpy_helper.to_array(bias)
        if values.size in (1, outputs):
            flat = np.ascontiguousarray(np.broadcast_to(values.reshape(-1), (outputs,)))
            bias.CopyFrom(numpy_helper.from_array(flat, bias.name))
            changed = True
    return changed
