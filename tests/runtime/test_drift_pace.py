"""False alarms are bounded by time: at every rate of samples, and whatever is done to the clock."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgesmith_runtime.drift.limits import FALSE_ALARMS, MONTH, chance, psi, psi_limits
from edgesmith_runtime.drift.pace import Pace
from edgesmith_runtime.drift.watch import COUNTED, State, Watch
from edgesmith_runtime.drift.window import BLOCKS, SPANS
from tests.runtime.drifting import FEATURES, baseline_from, independent

if TYPE_CHECKING:
    from collections.abc import Iterable

A_BLOCK = COUNTED * SPANS
A_RING = A_BLOCK * BLOCKS
HOUR = 3600.0
YEARS = 40 * 365 * 86400.0
PRESENT = np.ones(FEATURES, bool)


def spent(times: Iterable[float]) -> float:
    """Seconds that all judgements stand for, of rings that are complete at these times."""
    pace = Pace(A_BLOCK)
    pace.begin(0.0)
    return sum(pace.every for at in times if pace.due(at))


@pytest.mark.parametrize("rate", [0.2, 1.0, 1.001, 7.0, 30.0, 299.0, 1000.0, 24_000.0])
def test_judgements_of_an_hour_have_the_chance_of_an_hour_at_every_rate(rate: float) -> None:
    every = A_BLOCK / rate
    found = spent(np.arange(1, int(HOUR / every) + 1) * every)
    assert found <= HOUR
    assert found >= HOUR / 2 * min(1.0, rate), "what is not spent is power that is lost"
    assert chance(1, found) <= FALSE_ALARMS * HOUR / MONTH


def test_a_judgement_comes_a_second_after_the_one_before_at_the_soonest() -> None:
    pace = Pace(A_BLOCK)
    pace.begin(5.0)
    assert [at for at in np.arange(5.0, 8.0, 0.125) if pace.due(float(at))] == [6.0, 7.0]
    assert pace.every <= 1.0


def test_there_are_few_chances_since_each_has_quantiles_of_its_own() -> None:
    pace, found = Pace(A_BLOCK), set()
    pace.begin(0.0)
    for at in itertools.accumulate(np.random.default_rng(1).uniform(1.0, 600.0, 2000)):
        assert pace.due(float(at))
        found.add(pace.every)
    assert found <= {A_BLOCK / 2**n for n in range(10)}
    assert A_BLOCK in found


def test_a_clock_that_is_set_gives_no_more_time_than_one_judgement_has() -> None:
    usual = [10.0 * n for n in range(1, 361)]
    assert spent([*usual, YEARS]) <= spent(usual) + A_BLOCK
    forward = [at if at < 1800 else at + YEARS for at in usual]
    assert spent(forward) <= spent(usual) + A_BLOCK
    back = [at if at < 1800 else at - YEARS for at in usual]
    assert spent(usual) - A_BLOCK <= spent(back) <= spent(usual), "and it goes on at once by the new time"
    swinging = [at + (HOUR if n % 2 else -HOUR) for n, at in enumerate(usual)]
    assert spent(swinging) <= A_BLOCK * len(usual) / 2


def see(watch: Watch, samples: int, rate: float, *, start: float, shift: float = 0.0, seed: int = 1) -> int:
    """Let a watch see samples; how many it saw when drift was found, or all."""
    rng = np.random.default_rng(seed)
    for first in range(0, samples, COUNTED):
        seen = independent(rng, np.zeros(COUNTED)) + shift
        watch.take(seen, PRESENT, start + (first + COUNTED) / rate)
        if watch.state is State.DRIFTED:
            return first + COUNTED
    return samples


def test_limits_are_larger_where_there_are_more_judgements_of_the_same_samples() -> None:
    baseline, limits = baseline_from(independent, 400), []
    for rate in (0.1, 1.0, 30.0, 900.0):
        watch = Watch(baseline, 0.0)
        assert see(watch, 2 * A_RING, rate, start=1e9) == 2 * A_RING
        assert watch.state is State.STEADY
        limits.append({one.name: one.limit for one in watch.figures})
    idle, usual, fast, fastest = limits
    assert idle == usual
    for name, limit in usual.items():
        assert limit < fast[name] < fastest[name] < 1.3 * limit, "little power is lost"


@pytest.mark.parametrize("jump", [0.0, YEARS, -YEARS, -30.0])
def test_drift_is_found_after_the_clock_was_set(jump: float) -> None:
    watch = Watch(baseline_from(independent, 1000), 0.0)
    assert see(watch, A_RING, 30.0, start=2e9) == A_RING
    assert see(watch, A_BLOCK, 30.0, start=2e9 + A_RING / 30 + jump) == A_BLOCK
    assert watch.state is State.STEADY
    start = 2e9 + (A_RING + A_BLOCK) / 30 + jump
    assert see(watch, A_RING, 30.0, start=start, shift=0.5, seed=2) <= A_RING // 2
    assert start < watch.since < start + A_RING / 30


def test_samples_of_one_instant_are_not_judged_and_those_after_it_are() -> None:
    watch = Watch(baseline_from(independent, 400), 0.0)
    for _ in range(2 * A_RING // COUNTED):
        watch.take(np.random.default_rng(1).standard_normal((COUNTED, FEATURES)), PRESENT, 7.0)
    assert watch.state is State.LEARNING
    see(watch, A_RING, 1.0, start=7.0)
    assert watch.state is not State.LEARNING


@pytest.mark.parametrize(("bins", "baseline"), [(10, 400), (10, 250), (4, 100)])
def test_no_more_indices_are_above_their_limit_than_are_allowed_to_be(bins: int, baseline: int) -> None:
    """What a baseline's own quantiles make of bins: as many of its samples in each, and chance in the shares."""
    draws, alpha, rng = 20_000, 1e-3, np.random.default_rng(1)
    counts = np.full((draws, bins), baseline / bins)
    shares = rng.dirichlet(np.full(bins, baseline / bins), draws)
    seen = rng.multinomial(A_RING, shares).astype(np.float64)
    sizes = np.full(draws, float(A_RING)), np.full(draws, float(baseline))
    (bound,) = {float(one) for one in psi_limits(alpha, np.full(1, bins), sizes[0][:1], sizes[1][:1])}
    above = float((psi(seen, counts) > bound).mean())
    assert above <= 2.5 * alpha
