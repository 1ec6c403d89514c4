"""What follows from a model's constants, computed; batch normalisation, in the convolutions before it."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort

from edgesmith_builder.format.onnx.domains import import_used

_FATAL_ONLY = 4


def folded(model: onnx.ModelProto, folder: Path, *, least_ir: int) -> onnx.ModelProto:
    """Fold what ONNX Runtime folds whatever processor it runs on.

    Args:
        model: The model; its constants are taken off its inputs, and its IR version is raised.
        folder: Where to put what is in between.
        least_ir: The IR version that it gets at least.

    Raises:
        Exception: ONNX's and ONNX Runtime's own errors, which share no base class: it does not load.
    """
    # Up to IR 3 initialisers had to be listed as inputs too; there they keep folding from happening.
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, least_ir)
    plain, optimised = folder / "plain.onnx", folder / "optimised.onnx"
    onnx.save_model(model, plain)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(optimised)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = _FATAL_ONLY
    ort.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])
    made = onnx.load_model(optimised)
    import_used(made)
    plain.unlink()
    optimised.unlink()
    return made
