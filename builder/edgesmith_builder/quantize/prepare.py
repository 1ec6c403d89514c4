"""Gets a model into the shape that ONNX Runtime's quantiser expects."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import inliner, version_converter

from edgesmith_builder.format.onnx.domains import import_used
from edgesmith_builder.format.onnx.folding import folded
from edgesmith_builder.format.onnx.read import opset_of
from edgesmith_builder.limits import MODEL
from edgesmith_builder.quantize.failures import QuantizationFailed, failing_as
from edgesmith_builder.quantize.gemm import plain_gemms
from edgesmith_builder.quantize.sharing import own_weights
from edgesmith_builder.quantize.single import to_single

PER_CHANNEL_OPSET = 13
"""From here on QuantizeLinear and DequantizeLinear take an axis (onnx, `Operators.md`)."""

_LEAST_IR = 7
"""The first IR version that goes with opset 12 and later."""


def prepare(source: Path, target: Path, folder: Path) -> onnx.ModelProto:
    """Bring a model to fp32 and opset 13 at least, fold what can be folded, name every node.

    Functions are written out, batch normalisation goes into convolutions, and each Gemm gets a bias of its own.

    Args:
        source: The model.
        target: The file to write.
        folder: Where to put what is in between.

    Returns:
        What was written, without the numbers of its constants: their types and shapes are there.

    Raises:
        QuantizationFailed: where that cannot be done.
    """
    model = plain(source, folder)
    onnx.save_model(model, target)
    for tensor in model.graph.initializer:
        for field in ("raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data"):
            tensor.ClearField(field)
    return model


def plain(source: Path, folder: Path) -> onnx.ModelProto:
    """A model as `prepare` writes it, whole.

    Args:
        source: The model.
        folder: Where to put what is in between.

    Raises:
        QuantizationFailed: where that cannot be done.
    """
    model = onnx.load_model(source)
    if model.functions:
        with failing_as("its functions cannot be written out"):
            model = inliner.inline_local_functions(model)
    import_used(model)
    to_single(model)
    if model.ByteSize() > MODEL:
        raise QuantizationFailed(f"in fp32 it has {model.ByteSize()} bytes; at most {MODEL} were expected")
    model = _raised(model)
    with failing_as("it does not load in the form that int8 is made from"):
        model = folded(model, folder, least_ir=_LEAST_IR)
    own_weights(model.graph)
    plain_gemms(model.graph)
    _name_nodes(model.graph)
    return model


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = opset_of(model)
    if not opset or opset >= PER_CHANNEL_OPSET:
        return model
    with failing_as(
        f"it is of opset {opset} and cannot be raised to {PER_CHANNEL_OPSET}, where int8 begins; "
        "export it with a newer opset"
    ):
        return version_converter.convert_version(model, PER_CHANNEL_OPSET)


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Give each node a name of its own: the quantiser tells nodes apart by it, and exporters need not set any."""
    taken: set[str] = set()
    for node in graph.node:
        base = node.name or f"{node.op_type} of {node.output[0]}"
        name, number = base, 1
        while name in taken:
            name, number = f"{base} {number}", number + 1
        taken.add(name)
        node.name = name
