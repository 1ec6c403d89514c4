"""OpenVINO: its intermediate representation (IR) of ONNX and TFLite models, in fp32, fp16 and int8.

int8 is the source as it came so, or else our own quantised form of it, whose QuantizeLinear and DequantizeLinear pairs
OpenVINO takes for its own. fp16 halves the weights' bytes; whether a device computes in it is the device's matter.

The IR is read and written without the converter's front (`openvino.convert_model`), which writes its arguments, a path
among them, into the file, and reports each conversion to its maker.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgesmith_builder.contract import Precision
from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import CompileFailed, machine_failed
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.quantize import Quantization, quantize
from edgesmith_builder.toolchain.interface import NO_CALIBRATION, Compiled, Material, no_such_form
from edgesmith_runtime.engine.openvino import ov

_READ = ("onnxruntime", "litert")
"""Engines whose models OpenVINO reads as well."""

_PLACES = re.compile(r"^(?:Exception from |.*Check '.*' failed at |FrontEnd API failed with ).*$", re.MULTILINE)
"""Lines of OpenVINO's messages that say where in its source they came up."""


def refusal(precision: Precision, material: Material) -> str | None:
    """See `Toolchain.refusal`."""
    source = material.source
    if source.engine not in _READ:
        return f"the model is compiled for {source.engine}, which OpenVINO does not read; one from before was expected"
    if precision == source.precision or (precision, source.precision) == ("fp16", "fp32"):
        return None
    if precision != "int8":
        return no_such_form(precision, source)
    if source.engine != "onnxruntime":
        return f"the model is a {source.format} file in {source.precision}; int8 is made of ONNX models only"
    return NO_CALIBRATION if material.calibration is None else None


def compile(precision: Precision, material: Material, folder: Path) -> Compiled:  # noqa: A001 - as the interface has it
    """See `Toolchain.compile`."""
    source, made = material.source, None
    if precision == "int8" and source.precision != "int8":
        if material.calibration is None:
            raise CompileFailed(NO_CALIBRATION)
        with step(f"int8: quantised over {len(material.calibration)} samples"):
            made = quantize(source.path, material.calibration, Quantization(), folder, material.threads)
    target = folder / "model.xml"
    with step(f"{precision}: IR") as current, _told():
        model = ov.Core().read_model(made or source.path)
        _name(model)
        ov.save_model(model, target, compress_to_fp16=precision == "fp16")
        del model  # it maps the file that it was read from
        compiled = Compiled(
            "openvino",
            target,
            others=(target.with_suffix(".bin"),),
            options={"device": material.settings["device"]},
        )
        current.say(f"from {size_text(source.size)} to {size_text(compiled.size)}")
    if made is not None:
        made.unlink()
    return compiled


def other_answers(compiled: Compiled, samples: Samples) -> None:
    """OpenVINO has one way of computing on a processor."""


def told_here(options: Mapping[str, str]) -> Mapping[str, str]:
    """See `Toolchain.told_here`: this machine has a processor, whatever the device has."""
    return {**options, "device": "CPU"}


def _name(model: Any) -> None:
    """Name the operations that have no name by their place: OpenVINO counts them over the life of the process."""
    for place, operation in enumerate(model.get_ordered_ops()):
        if operation.get_friendly_name() == operation.get_name():
            operation.set_friendly_name(f"{operation.get_type_name()}/{place}")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what OpenVINO raises, a plain `RuntimeError`, into a sentence about the model."""
    try:
        yield
    except RuntimeError as error:
        if machine_failed(error):
            raise
        words = " ".join(_PLACES.sub("", str(error)).split())[:300] or type(error).__name__
        raise CompileFailed(f"OpenVINO does not read it ({words})") from error
