"""The sketch of scores: what it finds that no other figure does, and what it is not spoilt by."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgesmith_runtime.drift.baseline import Baseline, BaselineError
from edgesmith_runtime.drift.observer import Drift
from edgesmith_runtime.drift.recording import FEWEST, baseline_of
from edgesmith_runtime.drift.scores import MOST_SCORES, Scores
from edgesmith_runtime.drift.state import FILE, keep
from edgesmith_runtime.drift.verdict import verdict_of
from edgesmith_runtime.drift.watch import SCORES, State, Watch
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.observing import Run
from tests.runtime.drifting import baseline_from, independent, live

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Pair = tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]

CLASSES = 6
FOUND_WITHIN = 3_600
"""Samples: a whole ring without a cycle."""


def asked(rng: np.random.Generator, second: int, samples: int = 1) -> Pair:
    """Samples and answers: the best class and its score are drawn alike, whichever class is the second."""
    best = rng.integers(CLASSES, size=samples)
    sure = rng.uniform(0.5, 0.8, samples)
    left = (1 - sure)[:, np.newaxis] * rng.dirichlet(np.full(CLASSES - 1, 5.0), samples)
    left.sort(axis=1)
    shares = np.empty((samples, CLASSES))
    rows = np.arange(samples)
    shares[rows, best] = sure
    others = [number for number in range(1, CLASSES) if number != second]
    for place, offset in enumerate([*others, second]):
        shares[rows, (best + offset) % CLASSES] = left[:, place]
    return {"x": rng.standard_normal((samples, 4)).astype(np.float32)}, {"y": shares.astype(np.float32)}


def made_of(pairs: list[Pair], classes: str | None = None) -> Baseline:
    found = baseline_of(pairs, {"x": pairs[0][0]["x"].ndim - 1}, seed="s", classes=classes)
    assert found is not None
    return found


def a_baseline(samples: int = 400) -> Baseline:
    rng = np.random.default_rng(1)
    return made_of([asked(rng, 1) for _ in range(samples)], "y")


def samples_until_drift(watch: Watch, second: int, most: int = 12_000) -> int:
    rng = np.random.default_rng(2)
    for seen in range(0, most, 10):
        watch.see(*asked(rng, second, 10), float(seen))
        if watch.state is State.DRIFTED:
            return seen + 10
    return most


def test_which_class_is_second_is_seen_by_the_scores_and_by_nothing_else() -> None:
    made = a_baseline()
    assert made.names[-2:] == ("y.confidence", "y.class")
    before, now = Watch(replace(made, scores=None), 0.0), Watch(made, 0.0)
    assert samples_until_drift(now, 1) == 12_000, "no drift"
    assert samples_until_drift(before, 2) == 12_000, "the figures of before see nothing"
    assert before.state is State.STEADY
    now = Watch(made, 0.0)
    assert samples_until_drift(now, 2) <= FOUND_WITHIN
    assert [one.name for one in now.figures if one.ratio > 1] == [SCORES]
    assert SCORES in {name for name, *_ in verdict_of(now).features}


def test_a_figure_more_has_its_part_of_the_chance_of_a_false_alarm() -> None:
    made = a_baseline()
    with_it, without = Watch(made, 0.0), Watch(replace(made, scores=None), 0.0)
    for watch in (with_it, without):
        samples_until_drift(watch, 1, 4_000)
    limits = [{one.name: one.limit for one in watch.figures} for watch in (with_it, without)]
    assert set(limits[0]) - set(limits[1]) == {SCORES}
    assert all(limits[0][name] >= limit for name, limit in limits[1].items())
    assert limits[0]["sketch"] > limits[1]["sketch"]


def test_what_is_no_number_does_not_spoil_the_ring() -> None:
    watch, rng = Watch(a_baseline(), 0.0), np.random.default_rng(3)
    for at in range(4_000):
        inputs, outputs = asked(rng, 1)
        if at % 40 == 0:
            outputs["y"][0, at % CLASSES] = (np.nan, np.inf, -np.inf)[at % 3]
        watch.see(inputs, outputs, float(at))
    assert all(np.isfinite(array).all() for array in watch.window.sums)
    total = watch.window.total()
    assert total.sketched[1] < total.sketched[0]
    assert next(one for one in watch.figures if one.name == SCORES).ratio < 1


def test_answers_that_nobody_asked_for_are_no_drift_of_scores() -> None:
    watch, rng = Watch(a_baseline(), 0.0), np.random.default_rng(4)
    for at in range(4_000):
        watch.see(asked(rng, 1)[0], {}, float(at))
    assert watch.state is State.STEADY
    assert watch.window.scored.sum() == 0
    assert SCORES not in {one.name for one in watch.figures}


def test_scores_of_a_few_samples_are_not_judged() -> None:
    watch, rng = Watch(a_baseline(), 0.0), np.random.default_rng(5)
    for at in range(4_000):
        inputs, outputs = asked(rng, 2)
        watch.see(inputs, outputs if at % 900 == 899 else {}, float(at))
    few = next(one for one in watch.figures if one.name == SCORES)
    assert few.limit == np.inf
    assert few.ratio == 0
    assert watch.state is State.STEADY


@pytest.mark.parametrize(
    ("answer", "width"),
    [
        pytest.param(np.ones((1, 5), np.float32), 5, id="few numbers"),
        pytest.param(np.ones((1, 1000), np.float16), MOST_SCORES, id="many"),
        pytest.param(np.ones((1, 3, 50, 50), np.float32), MOST_SCORES, id="more than parts"),
        pytest.param(np.ones((1, 1), np.float32), None, id="one number"),
        pytest.param(np.ones((1, 5), np.int64), None, id="whole numbers"),
        pytest.param(np.array([["a", "b"]], object), None, id="texts"),
    ],
)
def test_outputs_that_have_scores(answer: NDArray[Any], width: int | None) -> None:
    made = made_of([({"x": np.ones((1, 2), np.float32)}, {"y": answer})] * FEWEST)
    assert (made.scores.reading.width if made.scores else None) == width
    again = Baseline.read(made.write())
    assert again.write() == made.write()
    assert again.scores is None or again.scores.reading == (made.scores and made.scores.reading)


def test_boxes_of_an_open_number_have_no_scores() -> None:
    x = {"x": np.ones((1, 2), np.float32)}
    assert made_of([(x, {"boxes": np.ones((1 + n % 5, 6), np.float32)}) for n in range(60)]).scores is None


def test_probabilities_come_before_other_outputs() -> None:
    rng = np.random.default_rng(6)
    pairs = [(inputs, {"a": inputs["x"], **outputs}) for inputs, outputs in (asked(rng, 1) for _ in range(60))]
    first, named = made_of(pairs).scores, made_of(pairs, "y").scores
    assert first is not None
    assert named is not None
    assert (first.reading.tensor, first.reading.shares) == ("a", False)
    assert (named.reading.tensor, named.reading.shares) == ("y", True)


def test_between_unlikely_classes_a_ratio_counts_as_between_likely_ones() -> None:
    reading = Scores("y", 1, 3, shares=True, model="s")
    found = reading.read({"y": np.array([[0.9, 0.08, 0.02], [0.0, 0.0, 1.0]])}, 9)
    assert found is not None
    assert found.sum(1) == pytest.approx(0, abs=1e-9)
    assert found[0, 1] - found[0, 2] == pytest.approx(np.log(4))
    assert np.isfinite(found).all()


def test_projections_of_many_see_each_of_them() -> None:
    reading = Scores("y", 1, 2000, shares=False, model="s")
    zeros = np.zeros((2, 2000), np.float32)
    zeros[1, 1999] = 100
    found = reading.read({"y": zeros}, 9)
    assert found is not None
    assert found.shape == (2, MOST_SCORES)
    assert (found[0] == 0).all()
    assert (found[1] != 0).all()


def test_an_output_of_another_form_has_no_scores() -> None:
    reading = Scores("y", 1, 5, shares=False, model="s")
    for answer in (
        {},
        {"y": np.ones((2, 4))},
        {"y": np.ones((1, 1, 5))},
        {"y": np.ones((0, 5))},
        {"y": np.ones(5, int)},
    ):
        assert reading.read(answer, 9) is None


def test_a_state_of_the_form_before_is_begun_anew_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(baseline_from(independent, 300, answered=True), 0.0)
    live(watch, independent, 2_400)
    keep(watch, tmp_path)
    line, _, sums = (tmp_path / FILE).read_bytes().partition(b"\n")
    head = {**json.loads(line), "formatVersion": 1}
    (tmp_path / FILE).write_bytes(json.dumps(head).encode() + b"\n" + sums)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert Drift(watch.baseline, 0.0, tmp_path).verdict.samples == 0
    assert sum("begins anew" in record.message for record in caplog.records) == 1


def test_its_figure_is_a_metric() -> None:
    drift, rng, metrics = Drift(a_baseline(), 0.0, None), np.random.default_rng(2), Metrics()
    for at in range(0, 4_000, 10):
        drift.observe(Run(*asked(rng, 2, 10), float(at)))
    drift.tell(metrics)
    limit = metrics.get("edgesmith_drift_scores_discrepancy_limit")
    assert metrics.get("edgesmith_drift_scores_discrepancy") > limit > 0


def test_the_largest_baseline_with_scores_is_not_too_large() -> None:
    rng = np.random.default_rng(1)
    pairs: list[Pair] = [
        (
            {name: rng.standard_normal((1, 32)).astype(np.float32) for name in "xy"},
            {"z": rng.standard_normal((1, 1000)).astype(np.float32)},
        )
        for _ in range(1000)
    ]
    made = baseline_of(pairs, {"x": 1, "y": 1}, seed="s", classes=None)
    assert made is not None
    assert made.scores is not None
    assert len(made.write()) < 40 * 1024


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(count=1),
        lambda found: found.update(count=True),
        lambda found: found.update(axes=0),
        lambda found: found.update(shares=1),
        lambda found: found.update(tensor=5),
        lambda found: found["mean"].pop(),
        lambda found: found["middle"].pop(),
        lambda found: found.pop("far"),
    ],
)
def test_scores_that_are_none_are_refused(change: Callable[[dict[str, Any]], None]) -> None:
    found = json.loads(a_baseline(60).write())
    change(found["scores"])
    with pytest.raises(BaselineError, match=r"^baseline "):
        Baseline.read(json.dumps(found).encode())
