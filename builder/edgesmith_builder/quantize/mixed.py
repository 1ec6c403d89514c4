"""int8 with the nodes that lose most left in float: found by measurement, a few more in each step.

Where what loses most is between the layers, all that is between them is left in float first: it multiplies by no
weights, so all of their multiplications stay in int8.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import onnx

from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize.emit import Recipe, emit
from edgesmith_builder.quantize.expect import expect_int8
from edgesmith_builder.quantize.failures import QuantizationFailed
from edgesmith_builder.quantize.graph import QUANTISED, has_weights, initializers, size_of, told
from edgesmith_builder.quantize.losses import Losses, losses
from edgesmith_builder.quantize.settings import Quantization
from edgesmith_builder.quantize.static import Plain, plain
from edgesmith_builder.quantize.trying import why_not

STEPS = 6
"""Most forms that are made: with 1, 2, 4, … tensors left in float."""

LEAST = 0.5
"""Share of the multiplications by weights that must be left in int8: with fewer, what is left hardly saves time."""

_SAME = frozenset({"Clip", "Flatten", "MaxPool", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators whose answers are values that they read."""


@dataclass(frozen=True, slots=True)
class Spared:
    """A node that is left in float."""

    name: str
    what: str
    """Its operator, its name and its weights' shape, for people."""
    tensor: str
    """Which of its tensors loses most in int8."""
    decibels: float
    """And what int8 leaves of it: 20 is a tenth of the signal lost to noise, 0 all of it."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """One form."""

    file: Path
    spared: tuple[Spared, ...]
    """The one that loses most first: those that multiply by weights, or all that are between these."""
    share: float
    """Of the multiplications by weights, in int8."""


def mixtures(source: Path, samples: Samples, settings: Quantization, folder: Path, threads: int) -> Iterator[Mixture]:
    """Make forms of a model that lose less and less, and are slower and slower; each when it is asked for.

    Args:
        source: The model as it came.
        samples: What to calibrate and to measure with.
        settings: Number types.
        folder: An empty folder to work in.
        threads: How many samples to calibrate with at once; it does not change what comes out.

    Raises:
        QuantizationFailed: where there is no such form at all: no int8, or none in which half of the work is left.
        Exception: where the machine failed (`failures.machine_failed`).
    """
    made = plain(source, samples, settings, folder, threads)
    found = losses(made, samples, folder)
    work = _work(made, found.sizes)
    worst = sorted((loss, name) for name, loss in found.decibels.items() if math.isfinite(loss))
    others = _between(made, {worst[0][1]}) if worst else frozenset()
    if others:
        recipe, target = replace(made.recipe, op_types=QUANTISED), folder / "int8-mixed-layers.onnx"
        layers = [name for name in made.nodes if name not in others]
        if _works(recipe, layers, samples, target, source) is None:
            yield Mixture(target, _told(made, others, found), 1.0)
    before: frozenset[str] = frozenset()
    for step in range(STEPS):
        tensors = _alike(made.graph, {name for _, name in worst[: 2**step]})
        spared = frozenset(node.name for node in made.graph.node if node.name in made.nodes and _touches(node, tensors))
        share = sum(work[name] for name in work if name not in spared) / max(1, sum(work.values()))
        if share < LEAST:
            if not step and not others:
                raise QuantizationFailed(
                    f"without the nodes that lose most, {share:.0%} of its multiplications are left to int8; "
                    f"{LEAST:.0%} was expected"
                )
            return
        if spared == before:
            continue
        before, target = spared, folder / f"int8-mixed-{step}.onnx"
        recipe = replace(made.recipe, in_float=made.recipe.in_float | tensors)
        error = _works(recipe, [name for name in made.nodes if name not in spared], samples, target, source)
        if isinstance(error, QuantizationFailed) and not step:
            raise error
        if error is not None:
            return
        yield Mixture(target, _told(made, spared & set(work), found), share)


def _works(recipe: Recipe, names: Collection[str], samples: Samples, target: Path, source: Path) -> Exception | None:
    """Make one form; why it does not work, or is none in int8, else None."""
    error = why_not(partial(emit, recipe, names), samples, target)
    if error is None:
        try:
            expect_int8(target, source)
        except QuantizationFailed as failed:
            return failed
    return error


def _between(made: Plain, tensors: set[str]) -> frozenset[str]:
    """The nodes between the layers that multiply by weights, where some tensors are theirs alone; else none.

    What loses there is often a normalisation or an activation in plain arithmetic: a cube or a sum of squares has a
    range that 256 steps are too few for, and one tensor in float only moves the loss to the next.
    """
    touching = {node.op_type for node in made.graph.node if _touches(node, _alike(made.graph, tensors))}
    if not touching.isdisjoint(QUANTISED):
        return frozenset()
    return frozenset(node.name for node in made.graph.node if node.name in made.nodes and node.op_type not in QUANTISED)


def _alike(graph: onnx.GraphProto, tensors: set[str]) -> set[str]:
    """Some tensors with those that have the same values before or after them: int8 would lose as much there."""
    found = set(tensors)
    while True:
        before = len(found)
        for node in graph.node:
            if node.op_type in _SAME and _touches(node, found):
                found.update(name for name in (node.input[0], *node.output) if name)
        if len(found) == before:
            return found


def _touches(node: onnx.NodeProto, tensors: set[str]) -> bool:
    """Whether a node reads or writes one of some tensors: with one of them in float, it cannot run in int8."""
    return not tensors.isdisjoint((*node.input, *node.output))


def _work(made: Plain, sizes: Mapping[str, int]) -> dict[str, int]:
    """Multiplications by weights of each node that is quantised, for one sample."""
    constants, found = initializers(made.graph), {}
    for node in made.graph.node:
        if node.name not in made.nodes or not has_weights(node, constants):
            continue
        weight = next(constants[name] for name in node.input[:2] if name in constants)
        if (
            node.op_type == "ConvTranspose"
        ):  # each value of the input is multiplied, elsewhere each of the output is made
            values, each = sizes.get(node.input[0], 1), size_of(weight) // weight.dims[0]
        else:
            outputs = weight.dims[0] if node.op_type == "Conv" or _turned(node) else weight.dims[-1]
            values, each = sizes.get(node.output[0], outputs), size_of(weight) // outputs
        found[node.name] = values * each
    return found


def _turned(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)


def _told(made: Plain, spared: Collection[str], found: Losses) -> tuple[Spared, ...]:
    constants = initializers(made.graph)
    behind = {node.input[0]: node.output[0] for node in made.graph.node if node.op_type in _SAME}
    nodes = []
    for node in made.graph.node:
        if node.name in spared:
            names = (*node.input, *node.output, *(behind.get(name, "") for name in node.output))
            known = [
                (found.decibels[name], name) for name in names if math.isfinite(found.decibels.get(name, math.inf))
            ]
            if known:
                loss, tensor = min(known)
                nodes.append(Spared(node.name, told(node, constants), tensor, loss))
    return tuple(sorted(nodes, key=lambda node: (node.decibels, node.name)))
