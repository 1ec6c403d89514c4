"""A build writes down what its candidate is asked and answers, as devices see it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_builder.score import baseline
from edgesmith_runtime.drift.baseline import Baseline
from edgesmith_runtime.drift.watch import State, Watch
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.tensors import TensorSpec


class Doubling:
    """An engine: ``y`` is the double of ``x``, and ``p`` probabilities; it refuses negative sums."""

    inputs = (TensorSpec("x", "FP32", (-1, 3)),)
    outputs = (TensorSpec("y", "FP32", (-1, 3)), TensorSpec("p", "FP32", (-1, 2)))

    def infer(self, inputs: Any, outputs: Any = None, *, busy: bool = False) -> Any:
        del outputs, busy
        share = 1 / (1 + np.exp(-inputs["x"].sum(-1, keepdims=True)))
        return {"y": inputs["x"] * 2, "p": np.concatenate([share, 1 - share], -1)}


def made(rows: NDArray[np.float32], *, stacked: bool = False) -> bytes | None:
    engine: Any = Doubling()
    golden = Golden.of({"x": rows[:3]}, {name: engine.infer({"x": rows[:3]})[name] for name in ("y", "p")}, 0.1)
    return baseline(engine, Samples({"x": rows}, {"x": 1 if stacked else 2}, not stacked), golden, "sha256:1")


def rows(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((count, 3)).astype(np.float32)


def test_it_is_about_inputs_and_answers_and_the_same_again() -> None:
    data = made(rows(400))
    assert data is not None
    assert data == made(rows(400))
    found = Baseline.read(data)
    assert found.names == ("x[0]", "x[1]", "x[2]", "p.confidence", "p.class", "y[0]", "y[1]", "y[2]")
    assert found.samples == 400
    assert found.inside == 3


def test_a_large_set_is_asked_in_part_and_a_small_one_gives_none() -> None:
    assert Baseline.read(made(rows(2500)) or b"").samples == 1000
    assert made(rows(49)) is None


@pytest.mark.parametrize("batch", [1, 7])
def test_a_device_that_sees_the_set_itself_sees_no_drift(batch: int) -> None:
    whole, engine = rows(1000), Doubling()
    watch = Watch(Baseline.read(made(whole) or b""), 0.0)
    for turn in range(5):
        for first in range(0, 1000, batch):
            seen = {"x": whole[first : first + batch]}
            watch.see(seen, engine.infer(seen), float(turn * 1000 + first))
    assert watch.state == State.STEADY
    assert watch.figures[0].value < 0.01
