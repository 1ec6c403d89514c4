"""Dynamic quantisation: weights of 8 bits, and ranges that are taken anew from what each request brings.

It needs no calibration set and fits where ranges differ from sample to sample: recurrences, and transformers. An LSTM
and a multiplication by weights compute in whole numbers (DynamicQuantizeLSTM, MatMulInteger; `ContribOperators.md` of
ONNX Runtime, `Operators.md` of ONNX). What has no such operator keeps computing in fp32 over weights of 8 bits, see
`stored`; convolutions stay as they are, since those over whole numbers are slower than those over floats.

A range is taken over the whole tensor, so over all samples of a request: what one of them is answered depends on the
others (docs/decisions/0020).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from edgesmith_builder.dataset import Samples
from edgesmith_builder.format.onnx.nesting import inner_graphs
from edgesmith_builder.quantize.emit import quiet
from edgesmith_builder.quantize.expect import expect_int8, operators_of
from edgesmith_builder.quantize.failures import QuantizationFailed
from edgesmith_builder.quantize.graph import LIGHT, initializers, size_of, told
from edgesmith_builder.quantize.prepare import prepare
from edgesmith_builder.quantize.select import workable
from edgesmith_builder.quantize.settings import Quantization
from edgesmith_builder.quantize.stored import RECURRENT_IN_FLOAT, store_in_eight_bits
from edgesmith_builder.quantize.trying import why_not

log = logging.getLogger(__name__)

RECURRENT = frozenset({"LSTM", *RECURRENT_IN_FLOAT})
"""Operators that go through a sequence step by step."""

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_INTEGER = ("Attention", "Gemm", "LSTM", "MatMul")
"""Operators that have a form in whole numbers with ranges taken at run time (onnxruntime 1.32, `IntegerOpsRegistry`),
but Conv, which is slower so: 0.5 times as fast as fp32 for MobileNetV2."""

_TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


@dataclass(frozen=True, slots=True)
class Dynamic:
    """What came of a model."""

    file: Path
    in_float: tuple[str, ...]
    """Kinds of recurrences that compute in fp32 over weights of 8 bits."""


def quantize_at_run_time(source: Path, samples: Samples | None, settings: Quantization, folder: Path) -> Dynamic:
    """Make the dynamic int8 form of a recurrent network or a transformer.

    Args:
        source: The model as it came.
        samples: One of them is asked, to see that what is made answers; None: that shows later.
        settings: The type of weights, and how many of their bits are used. Activations are uint8 whatever it says: ONNX
            Runtime has no other.
        folder: An empty folder to work in.

    Returns:
        The quantised model in `folder`.

    Raises:
        QuantizationFailed: where the model is neither, or has nothing to quantise.
        Exception: where the machine failed (`failures.machine_failed`).
    """
    ready, stored, target = folder / "ready.onnx", folder / "stored.onnx", folder / "int8-dynamic.onnx"
    _expect_kind(prepare(source, ready, folder).graph)
    model = onnx.load_model(ready)
    in_float = store_in_eight_bits(model.graph)
    onnx.save_model(model, stored)
    constants = initializers(model.graph)
    names = [node.name for node in model.graph.node if _multiplies(node, constants)]
    good, bad = workable(names, lambda some: why_not(partial(_emit, stored, settings, some), samples, target))
    for node in model.graph.node:
        if node.name in bad:
            log.warning("int8-dynamic: %s stays in fp32, ONNX Runtime has no such form of it", told(node, constants))
            log.debug("%s: %s", node.name, bad[node.name])
    if not good:
        stored.replace(target)
    expect_int8(target, source)
    for other in folder.iterdir():
        if other != target:
            other.unlink()
    return Dynamic(target, in_float)


def _expect_kind(graph: onnx.GraphProto) -> None:
    """Refuse what static int8 is for: convolutions, and dense layers alone.

    Raises:
        QuantizationFailed: naming what the model is made of.
    """
    constants = initializers(graph)
    convolved = total = 0
    for node in graph.node:
        weights = sum(size_of(constants[name]) for name in node.input if name in constants)
        total += weights
        convolved += weights if node.op_type in _CONVOLUTIONS else 0
    if 2 * convolved > total:
        raise QuantizationFailed(
            f"{convolved / total:.0%} of its weights are of convolutions, which this form leaves in fp32; 50% at most "
            "was expected, and int8 with a calibration set is for convolutions"
        )
    if any(_sequential(node, constants) for node in graph.node):
        return
    nested = sorted({node.op_type for node in graph.node if any(inner_graphs(node))})
    if nested:
        raise QuantizationFailed(
            f"the model has graphs inside {' and '.join(nested)}, which are not quantised; one without was expected"
        )
    raise QuantizationFailed(
        "ranges are taken at run time for recurrent networks, transformers and models of tokens; the model has "
        f"{operators_of(graph)}, which int8 with a calibration set is for"
    )


def _sequential(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether a node is of a network over sequences: a recurrence, attention, or a table of tokens."""
    if node.op_type == "MatMul":
        return not any(name in constants for name in node.input)
    if node.op_type == "Gather":
        table = constants.get(node.input[0])
        return table is not None and table.data_type == onnx.TensorProto.FLOAT and len(table.dims) == 2  # noqa: PLR2004 - rows and columns
    return node.op_type in RECURRENT or "Attention" in node.op_type


def _multiplies(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether a node multiplies by weights of some size, and has a form in whole numbers."""
    weights = [constants[name] for name in node.input[1:3] if name in constants]
    return node.op_type in _INTEGER and any(
        weight.data_type == onnx.TensorProto.FLOAT and size_of(weight) >= LIGHT for weight in weights
    )


def _emit(ready: Path, settings: Quantization, names: Sequence[str], target: Path) -> None:
    """Quantise some nodes and write the model."""
    with quiet():
        quantize_dynamic(
            ready,
            target,
            op_types_to_quantize=list(_INTEGER),
            per_channel=settings.per_channel,
            reduce_range=settings.reduce_range,
            weight_type=_TYPES[settings.weights],
            # A Gemm is taken apart into a MatMul of this name and an Add.
            nodes_to_quantize=[*names, *(f"{name}_MatMul" for name in names)],
        )
