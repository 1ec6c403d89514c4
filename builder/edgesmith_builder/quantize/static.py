"""Static quantisation: from a model and samples to its int8 form, or to a sentence why there is none.

The same model, samples and settings give the same bytes: samples run alone and on one thread each, and their ranges are
the same whatever the order (see `calibrate`). What calibration does not decide comes from the weights alone, element by
element, and is exact. All files are in the folder that is given.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import onnx

from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import machine_failed
from edgesmith_builder.format.onnx.nesting import subgraphs
from edgesmith_builder.quantize.calibrate import Ranges, calibrate, finite
from edgesmith_builder.quantize.emit import EIGHT_BITS, OP_TYPES, Recipe, emit
from edgesmith_builder.quantize.failures import QuantizationFailed
from edgesmith_builder.quantize.graph import LIGHT, initializers, size_of, told
from edgesmith_builder.quantize.prepare import prepare
from edgesmith_builder.quantize.select import workable
from edgesmith_builder.quantize.settings import Quantization
from edgesmith_builder.quantize.tail import tail_of
from edgesmith_runtime.engine import load_engine

log = logging.getLogger(__name__)

_ENGINE = "onnxruntime"


def quantize(source: Path, samples: Samples, settings: Quantization, folder: Path, threads: int = 1) -> Path:
    """Make the int8 form of a model.

    Args:
        source: The model as it came.
        samples: What to calibrate with.
        settings: Number types.
        folder: An empty folder to work in.
        threads: How many samples to calibrate with at once; it does not change what comes out.

    Returns:
        The quantised model's file in `folder`: weights of 8 bits, smaller than the source.

    Raises:
        QuantizationFailed: where the model has nothing to quantise, or cannot be.
        Exception: where the machine failed (`failures.machine_failed`): the disk is full, say.
    """
    if settings.weights == "uint8" and settings.activations == "int8":
        raise QuantizationFailed(
            "toolchain.options.weights is uint8 with toolchain.options.activations int8, a pair that ONNX Runtime has "
            "no operators for; weights int8 were expected"
        )
    ready, target = folder / "ready.onnx", folder / "int8.onnx"
    model = prepare(source, ready, folder)
    tail = tail_of(model.graph)
    ranges = calibrate(ready, samples, OP_TYPES, folder, threads)
    unbounded = {name for name, bounds in ranges.items() if not finite(bounds)}
    names = [node.name for node in model.graph.node if _may(node, unbounded) and node.name not in tail.nodes]
    recipe = Recipe(ready, settings, _within(ranges), tail.tensors | unbounded)
    good, bad = workable(names, lambda some: _why_not(recipe, some, samples, target))
    _tell(model.graph, bad)
    _expect_int8(target if good else ready, source)
    for other in folder.iterdir():
        if other != target:
            other.unlink()
    return target


def _may(node: onnx.NodeProto, unbounded: set[str]) -> bool:
    """Whether a node can be quantised as far as its numbers go: 256 steps need an end on both sides."""
    return node.op_type in OP_TYPES and not unbounded.intersection((*node.input, *node.output))


def _within(ranges: Ranges) -> Ranges:
    return {name: bounds for name, bounds in ranges.items() if finite(bounds)}


def _why_not(recipe: Recipe, names: Sequence[str], samples: Samples, target: Path) -> Exception | None:
    """Quantise some nodes and ask the result for one answer, as the device will; it is the target if it gives one."""
    trial = target.with_name("trial.onnx")
    try:
        emit(recipe, names, trial)
        engine = load_engine(_ENGINE, trial, threads=1)
        try:
            engine.infer(samples.feed(0))
        finally:
            engine.close()
    # The quantiser raises whatever comes up inside it, without a base class of its own.
    except Exception as error:
        if machine_failed(error):
            raise
        return error
    trial.replace(target)
    return None


def _tell(graph: onnx.GraphProto, bad: dict[str, Exception]) -> None:
    constants = initializers(graph)
    for node in graph.node:
        if node.name in bad:
            log.warning("int8: %s stays in fp32, ONNX Runtime has no int8 form of it", told(node, constants))
            log.debug("%s: %s", node.name, bad[node.name])


def _expect_int8(made: Path, source: Path) -> None:
    graph = onnx.load_model(made).graph
    constants = initializers(graph)
    eight = sum(
        size_of(constants[node.input[0]])
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in constants
        and constants[node.input[0]].data_type in EIGHT_BITS
        and size_of(constants[node.input[0]]) >= LIGHT
    )
    wide = sum(
        size_of(tensor)
        for inner in subgraphs(graph)
        for tensor in inner.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1
    )
    if not eight:
        raise QuantizationFailed("there is nothing to quantise: no weight of the model has an int8 form")
    if eight < wide:
        share = eight / (eight + wide)
        raise QuantizationFailed(
            f"there is little to quantise: {share:.0%} of its weights have an int8 form; half was expected"
        )
    before, after = source.stat().st_size, made.stat().st_size
    if after >= before:
        raise QuantizationFailed(
            f"there is nothing to gain: in int8 it has {after} bytes, as it came {before}; fewer were expected"
        )
