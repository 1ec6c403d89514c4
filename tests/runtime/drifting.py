"""What drifts: worlds that make features, baselines of them, and a bundle that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.drift.recording import baseline_of
from edgesmith_runtime.drift.watch import State, Watch
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgesmith_runtime.drift.baseline import Baseline
    from edgesmith_runtime.drift.recording import Pair
    from edgesmith_runtime.engine import Engine

    World = Callable[[np.random.Generator, NDArray[Any]], NDArray[np.float64]]
    Shift = NDArray[np.float64] | float

DAY = 86400.0
FEATURES = 4
SPAN = 1200


def independent(rng: np.random.Generator, at: NDArray[Any]) -> NDArray[np.float64]:
    """Samples that know nothing of each other."""
    return rng.standard_normal((len(at), FEATURES))


def camera(rng: np.random.Generator, at: NDArray[Any]) -> NDArray[np.float64]:
    """A scene stays for three minutes in the mean, and two features follow the light of the day, which is switched."""
    found = np.empty((len(at), FEATURES))
    first = 0
    while first < len(at):
        last = min(len(at), first + max(1, int(rng.exponential(180))))
        found[first:last] = rng.standard_normal(FEATURES) + 0.3 * rng.standard_normal((last - first, FEATURES))
        first = last
    found[:, :2] += 1.5 * np.sign(np.sin(2 * np.pi * at / DAY))[:, np.newaxis]
    return found


def scored(features: NDArray[np.float64]) -> NDArray[np.float32]:
    """The probabilities that a model would answer, of six classes."""
    logits = features @ np.random.default_rng(7).standard_normal((FEATURES, 6)) * 2
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True), np.float32)


def baseline_from(world: World, samples: int, seed: int = 1, *, answered: bool = False) -> Baseline:
    """A baseline of samples of any time of day; with the answers of `scored` if these are asked for."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([world(rng, rng.uniform(0, DAY, 1)) for _ in range(samples)]).astype(np.float32)
    answers = [{"y": row[np.newaxis]} if answered else {} for row in scored(rows.astype(np.float64))]
    pairs = (({"x": row[np.newaxis]}, answer) for row, answer in zip(rows, answers, strict=True))
    made = baseline_of(pairs, {"x": 1}, seed="a", classes="y" if answered else None)
    assert made is not None
    return made


def live(watch: Watch, world: World, seconds: int, *, start: float = 0.0, shift: Shift = 0.0, seed: int = 2) -> int:
    """Let a device see one sample a second; how many it saw when drift was found, or all."""
    rng = np.random.default_rng(seed)
    present = np.ones(len(watch.baseline.names), bool)
    for first in range(0, seconds, SPAN):
        at = start + first + np.arange(SPAN)
        seen, scores = world(rng, at) + shift, None
        if watch.baseline.scores is not None:
            answers = scored(seen)
            scores = watch.baseline.scores.reading.read({"y": answers}, SPAN)
            seen = np.concatenate([seen, answers.max(1)[:, np.newaxis], answers.argmax(1)[:, np.newaxis]], 1)
        step = SPAN if watch.cycle else 50
        for row in range(0, SPAN, step):
            some = slice(row, row + step)
            when = float(at[-1] if watch.cycle else at[row])
            watch.take(seen[some], present, when, None if scores is None else scores[some])
        if watch.state is State.DRIFTED:
            return first + SPAN
    return seconds


def drifting_bundle(folder: Path, model: Path, samples: NDArray[Any]) -> Path:
    """The bundle of the toy model with a baseline of samples; its name is the folder's."""
    engine = load_engine("onnxruntime", model, threads=1)
    pairs = answered_by(engine, samples)
    made = baseline_of(pairs, {"x": 1}, seed="b", classes="softmax")
    assert made is not None
    return bundle_with(made, folder, model, pairs[:5])


def answered_by(engine: Engine, samples: NDArray[Any]) -> list[Pair]:
    """Samples of ``x`` one by one, with what an engine answers."""
    inputs = [{"x": sample[np.newaxis]} for sample in samples]
    return [(one, engine.infer(one)) for one in inputs]


def bundle_with(baseline: Baseline, folder: Path, model: Path, golden: Sequence[Pair]) -> Path:
    """The bundle of an ONNX model with a baseline; its name is the folder's."""
    engine = load_engine("onnxruntime", model, threads=1)
    x, answers = (
        {name: np.concatenate([pair[part][name] for pair in golden]) for name in golden[0][part]} for part in (0, 1)
    )
    return write_bundle(
        folder,
        engine="onnxruntime",
        precision="fp32",
        model_file=model,
        inputs=engine.inputs,
        outputs=engine.outputs,
        labels=None,
        golden=Golden.of(x, answers, 0.05),
        baseline=baseline.write(),
    ).folder
