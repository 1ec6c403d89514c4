"""The toolchains: what each makes, what serves it, and what it can be told. A new one is a row here.

The operator reads the rows and never a toolchain's code: for the CRD, for what a profile leaves open, and to refuse
what a toolchain does not know before a build is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, cast

Precision = Literal["int8", "int8-mixed", "int8-dynamic", "fp16", "fp32"]
"""A form of a model: `int8` with ranges from a calibration set, `int8-mixed` the same with the nodes that lose most in
float, `int8-dynamic` with weights of 8 bits and ranges taken from each request, and two in floating point."""

PrunedForm = Literal["int8-pruned", "fp16-pruned", "fp32-pruned"]
"""A precision of the source with channels removed."""

Form = Precision | PrunedForm
"""What a candidate is, and its name: a precision, of the source or of the source pruned."""

PRUNED: Mapping[Precision, PrunedForm] = MappingProxyType(
    {"int8": "int8-pruned", "fp16": "fp16-pruned", "fp32": "fp32-pruned"}
)

REFINES: Mapping[Form, Form] = MappingProxyType({"int8-mixed": "int8"})
"""Forms that lose less than another and are slower: made only where the other, tried before, loses what can be told."""

ToolchainName = Literal["ONNXRuntime", "OpenVINO", "LiteRT", "EdgeTPU", "TensorRT", "QNN"]

ServerName = Literal["Edgesmith", "Triton"]

EngineName = Literal["onnxruntime", "openvino", "litert", "edgetpu", "qnn"]
"""What loads a compiled model on the device."""

READ_BY: EngineName = "onnxruntime"
"""The engine that reads ONNX files on the device, in whichever version is in the base image."""

BuilderFlavour = Literal["qnn"]
"""A builder's image with a vendor's packages beside the ordinary one's."""


@dataclass(frozen=True, slots=True)
class OptionFacts:
    """One thing that a toolchain can be told."""

    values: tuple[str, ...]
    """Those that are allowed."""
    default: str
    meaning: str
    """For people: a sentence."""


@dataclass(frozen=True, slots=True)
class ToolchainFacts:
    """One toolchain."""

    engine: EngineName
    precisions: tuple[Precision, ...]
    """Tried where a profile names none, best first."""
    makes: tuple[Precision, ...]
    """All that can be asked for."""
    tools: tuple[str, ...] = field(kw_only=True)
    """Packages whose versions decide the bytes that it makes, recorded answers among them: fields of `Tools`. Those of
    every format that it takes, since what a source is shows only when it is read."""
    options: Mapping[str, OptionFacts] = field(default_factory=dict)
    compiler: bool = False
    """Whether its compiler is its vendor's and no part of the builder: the compiled file comes with the source, or an
    image with the compiler makes it."""
    image: EngineName | None = None
    """The flavour of the runtime base image, where it is not the engine's name."""
    servers: tuple[ServerName, ...] = ("Edgesmith",)
    """What serves it."""
    builder: BuilderFlavour | None = None
    """The flavour of the builder's image that has what it compiles with, which the ordinary one has not."""

    @property
    def flavour(self) -> str:
        """The flavour of the runtime base image that has the engine."""
        return self.image or self.engine


_BOTH = ("true", "false")

_ONNX = ("onnx", "onnxruntime", "scikit_learn", "skl2onnx")
"""Of toolchains that take an ONNX model, and what becomes one."""

_ONNX_RUNTIME = MappingProxyType(
    {
        "activations": OptionFacts(("uint8", "int8"), "uint8", "Number type of int8's activations."),
        "weights": OptionFacts(("uint8", "int8"), "int8", "Number type of int8's weights."),
        "perChannel": OptionFacts(_BOTH, "true", "One scale per output channel rather than one per tensor."),
        "reduceRange": OptionFacts(
            _BOTH,
            "true",
            "Seven-bit weights: with eight, x86-64 processors without VNNI are as slow as in fp32. Set it to false for "
            "Arm, and for x86-64 where every machine has VNNI.",
        ),
    }
)

_QNN = MappingProxyType(
    {
        "soc": OptionFacts(
            ("QCS6490", "QCS8300", "QCS8550", "QCS9100"),
            "QCS6490",
            "The system on chip whose Hexagon it is compiled for; it runs on no other.",
        ),
        "activations": OptionFacts(
            ("uint8", "uint16"), "uint8", "Number type of int8's activations: 16 bits lose less and are slower."
        ),
        "performanceMode": OptionFacts(
            (
                *("default", "burst", "high_performance", "sustained_high_performance", "balanced", "low_balanced"),
                *("high_power_saver", "power_saver", "low_power_saver", "extreme_power_saver"),
            ),
            "default",
            "How the Hexagon is clocked, as QNN's `htp_performance_mode` has it.",
        ),
    }
)


def precision_of(form: Form) -> Precision:
    """The precision that a candidate is in."""
    whole = {pruned: one for one, pruned in PRUNED.items()}
    return whole[form] if form in whole else cast("Precision", form)


TOOLCHAINS: Mapping[ToolchainName, ToolchainFacts] = MappingProxyType(
    {
        "ONNXRuntime": ToolchainFacts(
            "onnxruntime",
            ("int8", "int8-mixed", "int8-dynamic", "fp32"),
            ("int8", "int8-mixed", "int8-dynamic", "fp32"),
            _ONNX_RUNTIME,
            servers=("Edgesmith", "Triton"),
            tools=_ONNX,
        ),
        "OpenVINO": ToolchainFacts(
            "openvino",
            ("int8", "fp16", "fp32"),
            ("int8", "fp16", "fp32"),
            MappingProxyType(
                {
                    "device": OptionFacts(
                        ("CPU", "GPU", "NPU"), "CPU", "The device of the node that runs it, as OpenVINO names it."
                    )
                }
            ),
            # Of a TFLite model LiteRT only gives what candidates are held against: a new one is no reason to build.
            tools=(*_ONNX, "openvino"),
        ),
        "LiteRT": ToolchainFacts(
            "litert", ("int8", "fp16", "fp32"), ("int8", "fp16", "fp32"), tools=("ai_edge_litert",)
        ),
        # Compiled by edgetpu_compiler, which exists for x86-64 only, from a TFLite model that is int8 throughout.
        "EdgeTPU": ToolchainFacts(
            "edgetpu",
            ("int8",),
            ("int8",),
            MappingProxyType(
                {
                    "minRuntimeVersion": OptionFacts(
                        ("13", "14"),
                        "14",
                        "The oldest Edge TPU runtime that the compiled model is to run with.",
                    )
                }
            ),
            compiler=True,
            # The engine is LiteRT's with a library of the vendor's, which comes from the node or from a base image.
            image="litert",
            tools=("ai_edge_litert",),
        ),
        # The model travels as ONNX; TensorRT compiles it on the device, for the very GPU that is there.
        "TensorRT": ToolchainFacts(
            "onnxruntime",
            ("int8", "fp16", "fp32"),
            ("int8", "fp16", "fp32"),
            MappingProxyType(
                {"dlaCore": OptionFacts(("none", "0", "1"), "none", "The deep learning accelerator that runs it.")}
            ),
            servers=("Triton",),
            tools=_ONNX,
        ),
        # A context binary for the Hexagon of one system on chip, made by ONNX Runtime's execution provider QNN.
        "QNN": ToolchainFacts(
            "qnn", ("int8",), ("int8", "fp16"), _QNN, builder="qnn", tools=(*_ONNX, "onnxruntime_qnn")
        ),
    }
)
"""Every toolchain by its name in a DeviceProfile."""
