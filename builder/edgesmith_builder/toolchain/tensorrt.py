"""TensorRT: an ONNX model in fp32, fp16 or int8, which the device compiles for the very GPU that it has.

An engine of TensorRT's is for one version of it on one kind of GPU, so none is made here. The file says the number type
of each value, since TensorRT 11 goes by nothing else. What a candidate is worth is measured on this machine's
processor: in fp32 as it came, in fp16 with each of its values rounded to that type, in int8 with the scales that
TensorRT is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgesmith_builder.contract import Precision
from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import CompileFailed
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.quantize import Quantization, quantize
from edgesmith_builder.score.asking import Answer
from edgesmith_builder.score.other_kernels import with_other_kernels
from edgesmith_builder.toolchain.half import in_half
from edgesmith_builder.toolchain.interface import NO_CALIBRATION, Compiled, Material
from edgesmith_builder.toolchain.rounded import rounded
from edgesmith_builder.toolchain.saturated import warnings_of
from edgesmith_builder.toolchain.sizes import check_sizes

_NO_DLA = "none"
_INT8 = Quantization(activations="int8", weights="int8", reduce_range=False, around_zero=True)


def refusal(precision: Precision, material: Material) -> str | None:
    """See `Toolchain.refusal`."""
    source = material.source
    if source.format != "ONNX":
        return f"the model is a {source.format} file, which TensorRT does not read; an ONNX model was expected"
    if source.precision != "fp32":
        return (
            f"the model came in {source.precision}; TensorRT makes {precision} of a model in fp32, which was expected"
        )
    return NO_CALIBRATION if precision == "int8" and material.calibration is None else None


def compile(precision: Precision, material: Material, folder: Path) -> Compiled:  # noqa: A001 - as the interface has it
    """See `Toolchain.compile`."""
    source = material.source
    check_sizes(source.path, "TensorRT")
    options = {"accelerator": "tensorrt"}
    if material.settings["dlaCore"] != _NO_DLA:
        options["dlaCore"] = material.settings["dlaCore"]
    if precision == "fp32":
        return Compiled("onnxruntime", source.path, options=options, came=True)
    if precision == "int8":
        if material.calibration is None:
            raise CompileFailed(NO_CALIBRATION)
        with step(f"int8: quantised over {len(material.calibration)} samples"):
            made = quantize(source.path, material.calibration, _INT8, folder, material.threads)
        return Compiled("onnxruntime", made, options=options)
    with step("fp16: converted, and rounded to score it here") as current:
        half = in_half(source.path, folder / "half.onnx")
        stand_in = rounded(half.file, folder / "rounded.onnx")
        current.say(f"from {size_text(source.size)} to {size_text(half.file.stat().st_size)}")
    return Compiled(
        "onnxruntime",
        half.file,
        options=options,
        warnings=warnings_of(half.cut_off),
        stand_in=stand_in,
        made_from=source.path,
    )


def other_answers(compiled: Compiled, samples: Samples) -> Sequence[Answer] | None:
    """In fp16, what the model answers in fp32: a GPU rounds at other places, and by no more than that.

    In fp32, what ONNX Runtime answers with other kernels; in int8, what it answers where it sums in fp32, as some of a
    GPU's kernels do.
    """
    if compiled.made_from is not None:
        return with_other_kernels(compiled.made_from, samples)
    return with_other_kernels(compiled.model_file, samples, fused=compiled.came)


def told_here(options: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG001 - as the interface has it
    """See `Toolchain.told_here`: nothing of TensorRT, since ONNX Runtime computes on this machine's processor."""
    return {}
