"""Structured pruning: a smaller fp32 network out of a larger one, without training.

1. Prepare the graph as for quantisation: constants folded, batch normalisation inside convolutions.
2. Read which channels go together, and which may go at all.
3. Measure how the channels vary together over the calibration set.
4. Remove, step by step, those that cost least for the multiplications that they save; what is left takes over.
5. Write the graph without them.

The same model, samples and ratio give the same bytes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import numpy_helper

from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import CompileFailed, machine_failed
from edgesmith_builder.format import ModelFacts
from edgesmith_builder.prune.choose import Choice
from edgesmith_builder.prune.layout import Layout
from edgesmith_builder.prune.moments import Moments, measure, shapes_of
from edgesmith_builder.prune.read import read_graph
from edgesmith_builder.prune.reading import WEIGHT, Reading
from edgesmith_builder.prune.rewrite import Rewriter, matrix_of
from edgesmith_builder.prune.surgeon import Surgeon
from edgesmith_builder.quantize import QuantizationFailed
from edgesmith_builder.quantize.failures import words
from edgesmith_builder.quantize.prepare import plain
from edgesmith_runtime.engine import load_engine

WIDEST = 2048
"""Channels of one tensor that are looked at together: their covariance is inverted in steps of their square."""


class PruningFailed(CompileFailed):
    """The model cannot be pruned so; the message says why."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """A model with fewer channels."""

    model: ModelFacts
    before: int
    """Multiplications of convolutions and products for one sample, of the source."""
    after: int


def refusal(source: ModelFacts, calibration: Samples | None) -> str | None:
    """Why a source cannot be pruned, in one sentence; None where it can be tried."""
    if source.format != "ONNX" and source.original is None:
        return f"the model is a {source.format} file, and only ONNX models are pruned; an ONNX model was expected"
    if source.precision != "fp32":
        return (
            f"the model came in {source.precision}, and weights are pruned in fp32; the model from before it was made "
            "so was expected"
        )
    if calibration is None:
        return "calibration is absent; pruning needs spec.calibration, a set of samples to see by what can go"
    return None


def prune(source: ModelFacts, samples: Samples, ratio: float, folder: Path) -> Pruned:
    """Remove channels until a share of the multiplications is gone.

    Args:
        source: An ONNX model in fp32.
        samples: The calibration set.
        ratio: The share, between 0 and 1.
        folder: An empty folder to work in.

    Raises:
        PruningFailed: where nothing, or not so much, can be removed.
        CompileFailed: where the model cannot be prepared, or does not answer.
        Exception: where the machine failed (`failures.machine_failed`).
    """
    try:
        model = plain(source.path, folder)
    except QuantizationFailed as error:
        raise PruningFailed(f"it cannot be brought into the form that is pruned: {error}") from error
    reading = read_graph(model.graph, shapes_of(model, samples, folder))
    _keep_wide(reading)
    _expect_channels(reading)
    moments = measure(model, _wanted(reading), samples, folder)
    choice = Choice(reading, _surgeons(reading, moments))
    before = choice.work()
    after = choice.run(int(before * (1 - ratio)))
    if after > before * (1 - ratio):
        raise PruningFailed(
            f"{1 - after / before:.1%} of its multiplications can be removed at most; spec.optimize.pruning.ratio is "
            f"{ratio:.0%}, and no more than that was expected"
        )
    Rewriter(model.graph, choice, moments).run()
    target = folder / "pruned.onnx"
    onnx.save_model(model, target)
    _expect_answer(target, samples)
    facts = dataclasses.replace(source, path=target, size=target.stat().st_size, parameters=_parameters(model))
    return Pruned(facts, before, after)


def _keep_wide(reading: Reading) -> None:
    for mixer in reading.mixers:
        if mixer.into is not None and reading.groups.width(mixer.into) > WIDEST:
            reading.groups.pin([mixer.into])


def _wanted(reading: Reading) -> dict[str, tuple[Layout, int]]:
    """The tensors whose channels may go, as those who read them have them."""
    return {
        mixer.node.input[0]: (mixer.into, reading.groups.width(mixer.into))
        for mixer in reading.mixers
        if mixer.into is not None and any(reading.groups.free(group) for group in mixer.into.groups)
    }


def _surgeons(reading: Reading, moments: dict[str, Moments]) -> dict[int, Surgeon]:
    found = {}
    for number, mixer in enumerate(reading.mixers):
        if mixer.into is None or mixer.node.input[0] not in moments:
            continue
        weight = numpy_helper.to_array(reading.constants[mixer.node.input[WEIGHT]])
        of_input = moments[mixer.node.input[0]]
        found[number] = Surgeon.of(matrix_of(weight, mixer, of_input.channels), of_input.covariance)
    return found


def _expect_channels(reading: Reading) -> None:
    if any(reading.groups.free(mixer.out) and reading.groups.sizes[mixer.out] > 1 for mixer in reading.mixers):
        return
    raise PruningFailed(
        "there is nothing to prune: no channel goes from one convolution or matrix product to another by operators "
        "that keep channels apart; a network of such layers was expected"
    )


def _expect_answer(target: Path, samples: Samples) -> None:
    try:
        engine = load_engine("onnxruntime", target, threads=1)
        try:
            engine.infer(samples.feed(0))
        finally:
            engine.close()
    except Exception as error:
        if machine_failed(error):
            raise
        raise PruningFailed(f"without the channels it does not run ({words(error)})") from error


def _parameters(model: onnx.ModelProto) -> int:
    return sum(numpy_helper.to_array(tensor).size for tensor in model.graph.initializer)
