"""QNN: context binaries for the Hexagon tensor processor (HTP) of a Qualcomm system on chip.

int8 is the source as it came so, or else our own quantised form of it, in whole numbers from end to end: a Hexagon V68
has no floating point. fp16 is the source in fp32, which newer ones compute in 16 bits. Nothing runs on the processor
beside it: an operator that the Hexagon lacks makes a candidate impossible, and the report names it.

A candidate is scored in QNN's simulator of the Hexagon, which is part of its library for x86-64 only, and what the same
model answers on the processor says by how much right answers differ.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesmith_builder.contract import Precision
from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import CompileFailed
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.quantize import Quantization, quantize
from edgesmith_builder.quantize.failures import words
from edgesmith_builder.quantize.settings import NumberType
from edgesmith_builder.score.asking import Answer
from edgesmith_builder.toolchain import qnn_context
from edgesmith_builder.toolchain.interface import NO_CALIBRATION, Compiled, Material, no_such_form
from edgesmith_builder.toolchain.sizes import check_sizes, one_sample
from edgesmith_runtime.engine import EngineError, load_engine
from edgesmith_runtime.engine.qnn import PERFORMANCE


@dataclass(frozen=True, slots=True)
class Soc:
    """A system on chip with a Hexagon tensor processor."""

    model: int
    """QNN's number of it (`soc_model`)."""
    hexagon: str
    """The generation of its Hexagon."""
    fp16: bool
    """Whether that computes in fp16."""


SOCS = {
    "QCS6490": Soc(93, "V68", fp16=False),
    "QCS8300": Soc(82, "V75", fp16=True),
    "QCS8550": Soc(66, "V73", fp16=True),
    "QCS9100": Soc(77, "V73", fp16=True),
}
"""Those of the option `soc`. QNN 2.51 writes their names and generations into what it compiles for these numbers."""

PATIENCE = 1800.0
"""Seconds that QNN may compile."""

_REFERENCE, _CONTEXT = "reference.onnx", "context.onnx"
_TOLD = re.compile(rf"^{qnn_context.REFUSED}(?P<nodes>.*)$", re.MULTILINE)
_LOGGED = re.compile(r"Unsupported nodes in QNN EP: (?P<nodes>\{.*\})")
_UNLOADED = re.compile(r"QNN SetupBackend failed (?P<why>[^\x1b\n]*)")
_NODE = re.compile(r"\{ name: (?P<name>.*?), type: (?P<type>\w+) \}")
_AROUND = frozenset({"DequantizeLinear", "QuantizeLinear"})
"""Operators between number types: they stand around the one that is refused."""
_INSERTED = re.compile(r"_token_\d+$")
"""What ONNX Runtime adds to the name of a node that it turns to another layout."""
_NAMED = 5
"""Nodes that a message names."""


def refusal(precision: Precision, material: Material) -> str | None:
    """See `Toolchain.refusal`."""
    source, name = material.source, material.settings["soc"]
    if source.engine != "onnxruntime":
        return f"the model is a {source.format} file, of which QNN makes nothing here; an ONNX model was expected"
    if platform.machine() != "x86_64":
        return f"this builder runs on {platform.machine()}, where QNN has no simulator; one on x86-64 was expected"
    if precision == "int8":
        return NO_CALIBRATION if source.precision != "int8" and material.calibration is None else None
    if source.precision == "int8":
        return no_such_form(precision, source)
    soc = SOCS[name]
    return (
        None if soc.fp16 else f"{name} has a Hexagon {soc.hexagon}, which does not compute in fp16; int8 was expected"
    )


def compile(precision: Precision, material: Material, folder: Path) -> Compiled:  # noqa: A001 - as the interface has it
    """See `Toolchain.compile`."""
    source, settings = material.source, material.settings
    check_sizes(source.path, "QNN")
    made = source.path
    if precision == "int8" and source.precision != "int8":
        if material.calibration is None:
            raise CompileFailed(NO_CALIBRATION)
        with step(f"int8: quantised over {len(material.calibration)} samples"):
            made = quantize(source.path, material.calibration, _quantization(material), folder, material.threads)
    with step(f"{precision}: compiled for {settings['soc']}") as current:
        reference, target = one_sample(made, folder / _REFERENCE), folder / _CONTEXT
        compile_context(reference, target, settings["soc"])
        current.say(f"from {size_text(source.size)} to {size_text(target.stat().st_size)}")
    mode = settings[PERFORMANCE]
    return Compiled("qnn", target, options={} if mode == "default" else {PERFORMANCE: mode})


def other_answers(compiled: Compiled, samples: Samples) -> Sequence[Answer] | None:
    """What the same model answers on this machine's processor: a quantised one in whole numbers, another in fp32."""
    try:
        engine = load_engine("onnxruntime", compiled.model_file.with_name(_REFERENCE), threads=1)
    except EngineError:
        return None
    try:
        return [engine.infer(samples.feed(index)) for index in range(len(samples))]
    except EngineError:
        return None
    finally:
        engine.close()


def told_here(options: Mapping[str, str]) -> Mapping[str, str]:
    """See `Toolchain.told_here`: the same."""
    return options


def compile_context(source: Path, target: Path, soc: str) -> None:
    """Compile a model into a context binary, in a process of its own.

    Args:
        source: An ONNX model with known sizes.
        target: The file to write: an ONNX model with the binary within.
        soc: One of `SOCS`.

    Raises:
        CompileFailed: where QNN refuses the model, with the nodes that it refuses, or says nothing.
        MemoryError: where it was killed, as the kernel does where memory is short.
    """
    command = [sys.executable, "-m", qnn_context.__name__, str(source), str(target), str(SOCS[soc].model)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)  # noqa: S603 - ours
    except subprocess.TimeoutExpired as error:
        raise CompileFailed(f"QNN did not compile the model within {PATIENCE:g} s") from error
    said = done.stderr.decode(errors="replace")
    if done.returncode == -9:  # noqa: PLR2004 - SIGKILL
        raise MemoryError("QNN was killed while it compiled the model")
    if done.returncode or not target.is_file():
        raise CompileFailed(_why(said, soc, done.returncode))


def _why(said: str, soc: str, status: int) -> str:
    if unloaded := _UNLOADED.search(said):  # then ONNX Runtime calls every node refused
        return f"QNN's own libraries do not start in this builder ({' '.join(unloaded['why'].split())})"
    nodes, hexagon = _refused(said), f"the Hexagon {SOCS[soc].hexagon} of {soc}"
    if nodes:
        some = ", ".join(f"{kind} {name!r}" for kind, name in nodes[:_NAMED])
        more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
        return f"{hexagon} does not run {some}{more}; operators that it runs were expected"
    lines = [line for line in said.splitlines() if line.strip()]
    last = words(RuntimeError(lines[-1])) if lines else f"status {status}"
    return f"QNN does not compile it for {hexagon} ({last})"


def _refused(said: str) -> list[tuple[str, str]]:
    """The nodes that QNN refused, by operator and name.

    ONNX Runtime logs them too. That is what is left where turning the model to another layout fails on the way.
    """
    told, logged = _TOLD.search(said), _LOGGED.findall(said)
    if told is not None:
        pairs = [(kind, name) for kind, name in json.loads(told["nodes"]) if kind not in _AROUND]
    else:
        pairs = [(found["type"], found["name"]) for found in _NODE.finditer(logged[-1])] if logged else []
    return [(kind, _INSERTED.sub("", name)) for kind, name in pairs]


def _quantization(material: Material) -> Quantization:
    activations: dict[str, NumberType] = {"uint8": "uint8", "uint16": "uint16"}
    return Quantization(activations[material.settings["activations"]], reduce_range=False, hexagon=True)
