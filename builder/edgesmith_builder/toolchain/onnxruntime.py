"""ONNX Runtime: ONNX models as they came, and in int8 by its quantisation, static and at run time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgesmith_builder.contract import InFloat, Precision
from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import CompileFailed
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.quantize import Quantization, mixtures, quantize, quantize_at_run_time
from edgesmith_builder.score.asking import Answer
from edgesmith_builder.score.other_kernels import with_other_kernels
from edgesmith_builder.score.together import apart
from edgesmith_builder.toolchain.interface import NO_CALIBRATION, Compiled, Material, no_such_form
from edgesmith_runtime.engine import load_engine

log = logging.getLogger(__name__)

_MADE = ("int8", "int8-mixed", "int8-dynamic")
"""What is made of a model in floating point."""

_LISTED = 16
"""Nodes in float that a report lists."""

_NAMED = 3
"""Those that a sentence names."""


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
    if precision == "int8-mixed":
        forms = _mixed(material, material.calibration, folder)
        first = next(forms, None)
        if first is None:
            raise CompileFailed("none of its nodes can be left in float alone")
        return replace(first, gentler=forms)
    with step(f"int8: quantised over {len(material.calibration)} samples") as current:
        settings = Quantization.of(material.settings)
        target = quantize(source.path, material.calibration, settings, folder, material.threads)
        current.say(f"from {size_text(source.size)} to {size_text(target.stat().st_size)}")
    return Compiled("onnxruntime", target)


def _mixed(material: Material, samples: Samples, folder: Path) -> Iterator[Compiled]:
    """int8 with more and more nodes in float."""
    settings = Quantization.of(material.settings)
    for made in mixtures(material.source.path, samples, settings, folder, material.threads):
        listed = tuple(
            InFloat(node=one.what, tensor=one.tensor, decibels=one.decibels) for one in made.spared[:_LISTED]
        )
        worst = "; ".join(f"{one.node} ({one.decibels:.1f} dB left of {one.tensor!r})" for one in listed[:_NAMED])
        told = (
            f"{len(made.spared)} nodes compute in fp32, since they lose most in int8, and {made.share:.0%} of the "
            f"multiplications are left to int8; the worst: {worst}"
        )
        log.info("int8-mixed: %s", told)
        share = round(made.share, 4)
        yield Compiled("onnxruntime", made.file, in_float=listed, int8_share=share, warnings=(told,))


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


def other_answers(compiled: Compiled, samples: Samples) -> Sequence[Answer] | None:
    """See `Toolchain.other_answers`: other processors have other kernels."""
    return with_other_kernels(compiled.model_file, samples)


def told_here(options: Mapping[str, str]) -> Mapping[str, str]:
    """See `Toolchain.told_here`: the same."""
    return options
