"""ONNX Runtime: ONNX models as they came, and in int8 by its quantisation, static and at run time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from edgesmith_builder.contract import Precision
from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import CompileFailed
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.quantize import Quantization, quantize, quantize_at_run_time
from edgesmith_builder.score.asking import Answer
from edgesmith_builder.score.together import apart
from edgesmith_builder.toolchain.interface import NO_CALIBRATION, Compiled, Material, no_such_form
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.engine.onnxruntime import session_options

_MADE = ("int8", "int8-dynamic")
"""What is made of a model in floating point."""


def refusal(precision: Precision, material: Material) -> str | None:
    """See `Toolchain.refusal`."""
    source = material.source
    if source.engine != "onnxruntime":
        return f"the model is a {source.format} file, which ONNX Runtime does not run; an ONNX model was expected"
    if precision == source.precision:
        return None
    if source.precision == "int8" or precision not in _MADE:
        return no_such_form(precision, source)
    return NO_CALIBRATION if material.calibration is None and precision != "int8-dynamic" else None


def compile(precision: Precision, material: Material, folder: Path) -> Compiled:  # noqa: A001 - as the interface has it
    """See `Toolchain.compile`."""
    source = material.source
    if precision == source.precision:
        return Compiled("onnxruntime", source.path, came=True)
    if precision == "int8-dynamic":
        return _at_run_time(material, folder)
    if material.calibration is None:
        raise CompileFailed(NO_CALIBRATION)
    with step(f"int8: quantised over {len(material.calibration)} samples") as current:
        settings = Quantization.of(material.settings)
        target = quantize(source.path, material.calibration, settings, folder, material.threads)
        current.say(f"from {size_text(source.size)} to {size_text(target.stat().st_size)}")
    return Compiled("onnxruntime", target)


def _at_run_time(material: Material, folder: Path) -> Compiled:
    """int8 with ranges that are taken from each request."""
    source, samples = material.source, material.calibration
    with step("int8-dynamic: quantised") as current:
        made = quantize_at_run_time(source.path, samples, Quantization.of(material.settings), folder)
        current.say(f"from {size_text(source.size)} to {size_text(made.file.stat().st_size)}")
    warnings = [
        f"ONNX Runtime computes {kind} in fp32: its weights take a quarter of the bytes, and it is no faster"
        for kind in made.in_float
    ]
    if samples is not None:
        engine = load_engine("onnxruntime", made.file, threads=material.threads)
        try:
            worst, count = apart(engine, samples)
        finally:
            engine.close()
        if worst > 0:
            warnings.append(
                f"ranges are taken over a whole request: of {count} samples of spec.calibration in one, answers differ "
                f"by up to {worst:.1%} of their output's range from those to each alone"
            )
    return Compiled("onnxruntime", made.file, warnings=tuple(warnings))


def other_answers(compiled: Compiled, samples: Samples) -> list[Answer] | None:
    """What a model answers when ONNX Runtime may not choose layouts for this processor.

    Convolutions then take the general kernels that other processors use, which sum in another order. Measured over the
    examples between processors: no difference at all in int8, 5e-7 of the range in fp32.

    Args:
        compiled: The candidate.
        samples: What to ask, one at a time.

    Returns:
        The answers, or None where it does not run that way.
    """
    options = session_options(1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    try:
        session: Any = ort.InferenceSession(str(compiled.model_file), options, providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_outputs()]
        return [dict(zip(names, session.run(names, samples.feed(index)), strict=True)) for index in range(len(samples))]
    # ONNX Runtime's own errors share no base class of their own.
    except Exception:  # noqa: BLE001 - that this way is not open says nothing about the model
        return None
