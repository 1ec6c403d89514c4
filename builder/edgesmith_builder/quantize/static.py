"""Static quantisation: from a model and samples to its int8 form, or to a sentence why there is none.

The same model, samples and settings give the same bytes: samples run alone and on one thread each, and their ranges are
the same whatever the order (see `calibrate`). What calibration does not decide comes from the weights alone, element by
element, and is exact. All files are in the folder that is given.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx

from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize.around_zero import LAYERS
from edgesmith_builder.quantize.calibrate import Ranges, calibrate, finite
from edgesmith_builder.quantize.emit import OP_TYPES, Recipe, emit
from edgesmith_builder.quantize.expect import expect_int8, expect_weights
from edgesmith_builder.quantize.failures import QuantizationFailed
from edgesmith_builder.quantize.graph import initializers, told
from edgesmith_builder.quantize.hexagon import all_op_types
from edgesmith_builder.quantize.prepare import prepare
from edgesmith_builder.quantize.select import workable
from edgesmith_builder.quantize.settings import Quantization
from edgesmith_builder.quantize.tail import NO_TAIL, tail_of
from edgesmith_builder.quantize.trying import why_not

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plain:
    """int8 throughout, and what it was made by."""

    file: Path
    recipe: Recipe
    nodes: tuple[str, ...]
    """Those that are quantised, by name."""
    graph: onnx.GraphProto
    """The model in fp32, without the numbers of its constants."""


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
    target = plain(source, samples, settings, folder, threads).file
    for other in folder.iterdir():
        if other != target:
            other.unlink()
    return target


def plain(source: Path, samples: Samples, settings: Quantization, folder: Path, threads: int) -> Plain:
    """Make the int8 form of a model, and keep what it was made by; see `quantize`."""
    if settings.weights == "uint8" and settings.activations == "int8":
        raise QuantizationFailed(
            "toolchain.options.weights is uint8 with toolchain.options.activations int8, a pair that ONNX Runtime has "
            "no operators for; weights int8 were expected"
        )
    ready, target = folder / "ready.onnx", folder / "int8.onnx"
    model = prepare(source, ready, folder)
    expect_weights(model.graph)
    tail = NO_TAIL if settings.hexagon else tail_of(model.graph)
    op_types = LAYERS if settings.around_zero else OP_TYPES
    if settings.hexagon:
        op_types = all_op_types(model.graph)
    ranges = calibrate(ready, samples, op_types, folder, threads)
    unbounded = {name for name, bounds in ranges.items() if not finite(bounds)}
    names = [node.name for node in model.graph.node if _may(node, op_types, unbounded) and node.name not in tail.nodes]
    recipe = Recipe(ready, settings, _within(ranges), tail.tensors | unbounded, op_types)
    good, bad = workable(names, lambda some: why_not(partial(emit, recipe, some), samples, target))
    _tell(model.graph, bad)
    expect_int8(target if good else ready, source)
    return Plain(target, recipe, tuple(good), model.graph)


def _may(node: onnx.NodeProto, op_types: Collection[str], unbounded: set[str]) -> bool:
    """Whether a node can be quantised as far as its numbers go: 256 steps need an end on both sides."""
    return node.op_type in op_types and not unbounded.intersection((*node.input, *node.output))


def _within(ranges: Ranges) -> Ranges:
    return {name: bounds for name, bounds in ranges.items() if finite(bounds)}


def _tell(graph: onnx.GraphProto, bad: dict[str, Exception]) -> None:
    constants = initializers(graph)
    for node in graph.node:
        if node.name in bad:
            log.warning("int8: %s stays in fp32, ONNX Runtime has no int8 form of it", told(node, constants))
            log.debug("%s: %s", node.name, bad[node.name])
