"""Edge TPU: a TFLite file in int8 throughout, compiled by Google's `edgetpu_compiler`, and its twin from before that.

The compiler is not part of the builder: the compiled file is one that somebody made already, or an image with the
compiler makes it beside the builder (`compiler.py`). Nothing here can run it. So the twin, which is the source as it
came, answers in its place while a build is made, what it says is what a device's answers are held against, and it
travels along: a node without the device or its library serves it on its processor, and says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from edgesmith_builder.contract import Precision
from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.failures import CompileFailed
from edgesmith_builder.format.tflite.edgetpu import Package, read_package
from edgesmith_builder.format.tflite.read import read_ends
from edgesmith_builder.format.tflite.tensors import INT8, UINT8, Ends, Tensor
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.toolchain.interface import Compiled, Material, no_such_form

MEMORY = 8 * 2**20
"""Bytes on the chip: coral.ai/docs/edgetpu/compiler. Weights that have no room there are sent again for each answer."""

CHIP = "beagle"
"""The compiler's name of the Edge TPU, as its published files have it."""

_COMPILED, _TWIN = "compiled.tflite", "twin.tflite"
_SPEC_COMPILED = "spec.compiled of EdgeTPU"


def refusal(precision: Precision, material: Material) -> str | None:
    """See `Toolchain.refusal`."""
    source = material.source
    if source.engine != "litert":
        return f"the model is an {source.format} file, which the Edge TPU's compiler does not read; TFLite was expected"
    if precision != source.precision:
        return no_such_form(precision, source)
    ends = read_ends(source.path, "the model")
    for kind, tensors in (("input", ends.inputs), ("output", ends.outputs)):
        for tensor in tensors:
            if tensor.kind not in (UINT8, INT8) or tensor.scale is None:
                return (
                    f"the model's {kind} {tensor.name!r} is no quantised uint8 or int8; a TFLite file in int8 "
                    "throughout, its inputs and outputs included, was expected"
                )
    if material.compiled is None and material.compiler is None:
        return (
            "there is no file compiled for the Edge TPU and nothing to make one with; spec.compiled of the EdgeModel "
            "or spec.toolchain.compilerImage of the DeviceProfile was expected"
        )
    return None


def compile(precision: Precision, material: Material, folder: Path) -> Compiled:  # noqa: A001, ARG001 - as the interface has it
    """See `Toolchain.compile`."""
    model, twin = folder / _COMPILED, folder / _TWIN
    oldest = material.settings["minRuntimeVersion"]
    if material.compiled is not None:
        what = _SPEC_COMPILED
        shutil.copyfile(material.compiled.path, model)
    elif material.compiler is not None:
        what = "what spec.toolchain.compilerImage made"
        with step("int8: compiled for the Edge TPU"):
            material.compiler.compile(material.source.path, model, oldest)
    else:
        raise CompileFailed("there is no file compiled for the Edge TPU and nothing to make one with")
    try:
        package = read_package(model, what)
        check_pair(read_ends(material.source.path, "the source"), read_ends(model, what), what)
    except ModelInvalid as error:
        raise CompileFailed(str(error)) from error
    check_package(package, int(oldest), what)
    shutil.copyfile(material.source.path, twin)
    return Compiled(
        "edgetpu",
        model,
        others=(twin,),
        options={"twin": _TWIN},
        came=True,
        warnings=streaming(package),
    )


def other_answers(compiled: Compiled, samples: Samples) -> None:
    """What computes in another way is the device."""


def told_here(options: Mapping[str, str]) -> Mapping[str, str]:
    """See `Toolchain.told_here`: the twin answers."""
    return {**options, "device": "cpu"}


def check_package(package: Package, oldest: int, what: str) -> None:
    """Hold what a compiled file needs against what there is.

    Raises:
        CompileFailed: where it is for another chip or a newer runtime.
    """
    if package.chips != (CHIP,):
        raise CompileFailed(f"{what} is compiled for {', '.join(package.chips) or 'no chip'}; {CHIP} was expected")
    if package.runtime > oldest:
        raise CompileFailed(
            f"{what} needs version {package.runtime} of the Edge TPU runtime; at most {oldest} was expected, "
            "option minRuntimeVersion of the DeviceProfile"
        )


def check_pair(source: Ends, compiled: Ends, what: str) -> None:
    """Hold a compiled file against the source that it is to be made of.

    Raises:
        CompileFailed: where they do not take and give the same.
    """
    pairs = (("inputs", source.inputs, compiled.inputs), ("outputs", source.outputs, compiled.outputs))
    for kind, ours, theirs in pairs:
        if tuple(map(_told, ours)) != tuple(map(_told, theirs)):
            raise CompileFailed(
                f"{what} has the {kind} {', '.join(map(_told, theirs))}; those of spec.source were expected, "
                f"{', '.join(map(_told, ours))}"
            )


def streaming(package: Package) -> tuple[str, ...]:
    """A warning where weights have no room on the chip."""
    if not package.streamed:
        return ()
    words = (
        f"{size_text(package.streamed)} of the model's weights are sent to the Edge TPU again for each answer, and "
        f"{size_text(package.cached)} stay in its {size_text(MEMORY)} of memory"
    )
    return (words,)


def _told(tensor: Tensor) -> str:
    kind = {UINT8: "uint8", INT8: "int8"}.get(tensor.kind, f"type {tensor.kind}")
    sizes = ",".join(map(str, tensor.shape))
    scale = f" at scale {tensor.scale:.9g} and zero {tensor.zero}" if tensor.scale is not None else ""
    return f"{tensor.name} {kind}[{sizes}]{scale}"
