"""How well values are known: the true one lies within what a report says of it about 19 times in 20."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgesmith_builder import interval
from edgesmith_builder.interval import bounded_half_width, few, share_reach
from edgesmith_builder.metric import Score
from edgesmith_builder.metric.accuracy import Right
from edgesmith_builder.metric.classes import Said
from edgesmith_builder.metric.detection import Found, Ranked
from edgesmith_builder.metric.f1 import Balanced
from edgesmith_builder.metric.regression import Fit, mean_absolute, root_mean_square, variance_explained
from edgesmith_builder.metric.topk import Among
from edgesmith_builder.score.channels import Layout
from edgesmith_builder.score.known import channel_known, mean_known, places_known

Rng = np.random.Generator
SETS = 120


@pytest.fixture(autouse=True)
def _drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for every set of as many samples, so it is computed once here."""
    monkeypatch.setattr(interval, "drawn", functools.cache(interval.drawn))


def right_and_said(rng: Rng, samples: int) -> tuple[Any, Any]:
    """Three classes, one of them rare, of which a model is right 19 times in 20."""
    right = rng.choice(3, samples, p=[0.5, 0.4, 0.1])
    return right, np.where(rng.random(samples) < 0.05, (right + 1) % 3, right)


def accuracy(rng: Rng, samples: int) -> Right:
    right, said = right_and_said(rng, samples)
    return Right(Said(said, right, 3, None))


def top_k(rng: Rng, samples: int) -> Among:
    right, said = right_and_said(rng, samples)
    return Among(right == said, said, 3)


def macro_f1(rng: Rng, samples: int) -> Balanced:
    right, said = right_and_said(rng, samples)
    return Balanced(Said(said, right, 3, None), np.array([right, said]))


def regression(formula: Any) -> Callable[[Rng, int], Fit]:
    def scored(rng: Rng, samples: int) -> Fit:
        right = rng.normal(size=(samples, 2))
        return Fit(right, right + 0.3 * rng.normal(size=(samples, 2)), formula, relative=False)

    return scored


def detection(rng: Rng, samples: int) -> Found:
    """A box in each sample: nine in ten are found, and one in ten samples has a wrong one, which scores less."""
    found, wrong = rng.random(samples) < 0.9, rng.random(samples) < 0.1
    where = np.concatenate([np.flatnonzero(found), np.flatnonzero(wrong)])
    hits = np.arange(len(where)) < found.sum()
    order = np.argsort(-(rng.random(len(where)) + 0.5 * hits), kind="stable")
    return Found((Ranked(where[order], hits[order], np.ones(len(where), bool), np.ones(samples)),), samples)


METRICS: dict[str, Callable[[Rng, int], Score]] = {
    "Accuracy": accuracy,
    "TopK": top_k,
    "MacroF1": macro_f1,
    "RMSE": regression(root_mean_square),
    "MAE": regression(mean_absolute),
    "R2": regression(variance_explained),
    "MeanAveragePrecision": detection,
}


SLOW = ("MeanAveragePrecision", "R2", "MacroF1")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in SLOW)) for name in METRICS])
def test_the_true_value_of_a_metric_lies_within_what_is_said_of_it(name: str) -> None:
    rng, scored = np.random.default_rng(7), METRICS[name]
    true = scored(rng, 200_000).value
    held = [abs(one.value - true) <= one.error for one in (scored(rng, 200) for _ in range(SETS))]
    assert np.mean(held) >= 0.90, "three standard errors of so many sets below 0.95"


@pytest.mark.parametrize("samples", [8, 50, 128, 400])
def test_a_share_near_one_is_within_what_is_said_of_it(samples: int) -> None:
    """By the binomial distribution itself. Half the width of Wilson's interval would hold 98.5 % of 128 in 0.855."""
    counts = np.arange(samples + 1)
    ways = np.array([math.comb(samples, count) for count in counts.tolist()], np.float64)
    for true in (0.6, 0.8, 0.9, 0.95, 0.98, 0.985, 0.99):
        likely = ways * true**counts * (1 - true) ** (samples - counts)
        reach = np.array([share_reach(count / samples, samples) for count in counts.tolist()])
        held = float(likely[np.abs(counts / samples - true) <= reach].sum())
        assert held >= 0.93, (true, held)


def noisy(rng: Rng, samples: int) -> list[tuple[Any, Any]]:
    """Answers of 20 numbers, and what a tenth of their spread makes of them: they agree to 0.9."""
    ours = rng.normal(size=(samples, 1, 20))
    return list(zip(ours, ours + 0.1 * rng.normal(size=ours.shape), strict=True))


@pytest.mark.parametrize("samples", [8, 32, 128])
def test_the_agreement_of_numbers_lies_within_what_is_said_of_it(samples: int) -> None:
    rng, held = np.random.default_rng(3), 0
    for _ in range(SETS):
        pairs = noisy(rng, samples)
        wrong, spread = (np.array(side) for side in zip(*((a - b, a) for a, b in pairs), strict=True))
        value = 1 - math.sqrt((wrong**2).mean()) / spread.std()
        held += abs(value - 0.9) <= channel_known(pairs, Layout((), ()), 0, 1e-9)
    assert held / SETS >= 0.90


def test_the_agreement_of_elements_lies_within_what_is_said_of_it() -> None:
    """One sample in fifty is answered otherwise in half of its elements: often none of 100 is."""
    rng, held = np.random.default_rng(4), 0
    for _ in range(SETS):
        shares = np.where(rng.random(100) < 0.02, 0.5, 1.0)
        held += abs(shares.mean() - 0.99) <= mean_known(shares.tolist())
    assert held / SETS >= 0.93


def test_the_agreement_of_classes_at_places_lies_within_what_is_said_of_it() -> None:
    rng, held = np.random.default_rng(5), 0
    for _ in range(SETS):
        said = rng.multinomial(30, [0.8, 0.15, 0.05], size=60).astype(np.float64)
        same = rng.binomial(said.astype(np.int64), [0.99, 0.95, 0.9]).astype(np.float64)
        value = (same.sum(axis=0) / said.sum(axis=0)).mean()
        held += abs(value - (0.99 + 0.95 + 0.9) / 3) <= places_known(said, same)
    assert held / SETS >= 0.93


def test_what_is_right_for_every_sample_is_not_certain_for_others() -> None:
    assert bounded_half_width(lambda _: 1.0, 60) == pytest.approx(1 - 60 / (60 + 1.96**2), abs=1e-4)
    assert accuracy(np.random.default_rng(0), 1).error > 0.5


def test_one_sample_tells_nothing_of_the_numbers_of_others() -> None:
    assert channel_known(noisy(np.random.default_rng(0), 1), Layout((), ()), 0, 1e-9) == 1.0


def test_few_samples_have_student_s_quantile() -> None:
    for samples, quantile in ((4, 3.182), (8, 2.365), (30, 2.045), (128, 1.979)):  # of a table
        assert few(samples) == pytest.approx(quantile / 1.96 * math.sqrt(samples / (samples - 1)), rel=0.01)


def test_infinite_numbers_are_left_out() -> None:
    """Minus infinity is the logarithm of a probability of zero."""
    pairs = noisy(np.random.default_rng(1), 16)
    without = channel_known(pairs, Layout((), ()), 0, 1e-9)
    pairs[0][0][0, 0] = pairs[0][1][0, 0] = -np.inf
    assert channel_known(pairs, Layout((), ()), 0, 1e-9) == pytest.approx(without, rel=0.2)


def test_an_infinite_number_for_a_finite_one_in_a_part_of_the_samples_is_hardly_known() -> None:
    """Of samples drawn anew some sets have it, and agree to nothing."""
    for side in (0, 1):
        pairs = noisy(np.random.default_rng(1), 16)
        pairs[0][side][0, 0] = -np.inf
        assert channel_known(pairs, Layout((), ()), 0, 1e-9) > 0.5
