"""What drift is found in how many samples, and what is none: up to 64 features, thirty samples a second, no cycle.

A month of thirty a second is 78 million samples. So a month is ten minutes here, and the chance of a false alarm that
it has is that of a month: limits are lower than a server's, and baselines are many, since what a month's false alarms
have in common is the baseline. One test has a whole month with a server's own limits, of counts that are drawn as such.
"""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgesmith_runtime.drift import limits
from edgesmith_runtime.drift.limits import chance, least_design, psi, psi_limits
from edgesmith_runtime.drift.recording import baseline_of
from edgesmith_runtime.drift.watch import COUNTED, State, Watch
from edgesmith_runtime.drift.window import BLOCKS, SPANS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from edgesmith_runtime.drift.baseline import Baseline
    from edgesmith_runtime.drift.recording import Pair

    Rows = NDArray[np.float64]
    World = Callable[[np.random.Generator, int, int], Rows]

RATE = 30.0
A_BLOCK = COUNTED * SPANS
A_RING = A_BLOCK * BLOCKS
MINUTES = 10
AT_MOST_READ = 32
"""Numbers of one tensor that are features each."""


def gaussian(rng: np.random.Generator, count: int, features: int) -> Rows:
    """Features and samples that know nothing of each other."""
    return rng.standard_normal((count, features))


def heavy(rng: np.random.Generator, count: int, features: int) -> Rows:
    """Student's t of three degrees of freedom: of a deviation of 1, and two samples in a hundred beyond 2.6."""
    return rng.standard_t(3, (count, features)) / math.sqrt(3)


def together(rng: np.random.Generator, count: int, features: int) -> Rows:
    """Features with three causes, and a quarter of their variance their own."""
    weights = np.random.default_rng(5).standard_normal((3, features))
    weights *= math.sqrt(0.75) / np.sqrt((weights**2).sum(0))
    return rng.standard_normal((count, 3)) @ weights + 0.5 * rng.standard_normal((count, features))


def following(rng: np.random.Generator, count: int, features: int) -> Rows:
    """Samples that follow those before: nine of them are worth one of independent ones."""
    kept = 0.8
    rows = rng.standard_normal((count, features))
    rows[1:] *= math.sqrt(1 - kept * kept)
    for row in range(1, count):
        rows[row] += kept * rows[row - 1]
    return rows


WORLDS: dict[str, World] = {"gaussian": gaussian, "heavy": heavy, "together": together, "following": following}


def baseline_from(world: World, features: int, samples: int, seed: int) -> Baseline:
    """A baseline of samples that were taken far from each other."""
    rng = np.random.default_rng([seed, 1])
    rows = np.concatenate([world(rng, 1, features) for _ in range(samples)]).astype(np.float32)
    tensors = {f"x{first}": rows[:, first : first + AT_MOST_READ] for first in range(0, features, AT_MOST_READ)}
    pairs: Iterator[Pair] = (({name: part[[row]] for name, part in tensors.items()}, {}) for row in range(samples))
    made = baseline_of(pairs, dict.fromkeys(tensors, 1), seed=str(seed), classes=None)
    assert made is not None
    assert len(made.names) == features
    return made


def see(watch: Watch, rows: Rows, start: float) -> int:
    """Let a watch see samples at thirty a second; how many it saw when drift was found, or all."""
    present = np.ones(rows.shape[1], bool)
    for first in range(0, len(rows), COUNTED):
        watch.take(rows[first : first + COUNTED], present, start + (first + COUNTED) / RATE)
        if watch.state is State.DRIFTED:
            return first + COUNTED
    return len(rows)


def until_found(baseline: Baseline, usual: Rows, shifted: Rows) -> float:
    """Samples after a shift until it is found; infinitely many where it is not."""
    watch = Watch(baseline, 0.0)
    assert see(watch, usual, 0.0) == len(usual)
    assert watch.state == State.STEADY
    found = see(watch, shifted, len(usual) / RATE)
    return float(found) if watch.episodes else math.inf


def shifts_found(world: World, features: int, samples: int, shift: Rows, seeds: int) -> list[float]:
    """How many samples a shift took with each of some baselines."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 2])
        rows = world(rng, A_RING + A_BLOCK + 2 * A_RING, features)
        usual, other = rows[: A_RING + A_BLOCK], rows[A_RING + A_BLOCK :]
        found.append(until_found(baseline_from(world, features, samples, seed), usual, other + shift))
    return found


def in_one(features: int) -> Rows:
    shift = np.zeros(features)
    shift[features // 2] = 0.5
    return shift


def test_half_a_deviation_in_one_of_64_features_is_found_within_a_ring() -> None:
    (found,) = shifts_found(gaussian, 64, 1000, in_one(64), 1)
    assert found <= A_RING


@pytest.mark.long
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("features", [4, 16, 64])
def test_half_a_deviation_is_found(world: str, features: int) -> None:
    one, every = in_one(features), np.full(features, 0.5)
    assert max(shifts_found(WORLDS[world], features, 1000, one, 4)) <= A_RING + 2 * A_BLOCK
    assert median(shifts_found(WORLDS[world], features, 400, one, 5)) <= A_RING + A_BLOCK
    assert max(shifts_found(WORLDS[world], features, 400, every, 2)) <= A_RING // 2


@pytest.mark.long
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("features", [4, 16, 64])
def test_months_of_ten_minutes_have_no_false_alarm(world: str, features: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MONTH", MINUTES * 60.0)
    worst = []
    for seed in range(3):
        watch = Watch(baseline_from(WORLDS[world], features, 400, seed), 0.0)
        rows = WORLDS[world](np.random.default_rng([seed, 2]), MINUTES * 60 * int(RATE), features)
        assert see(watch, rows, 0.0) == len(rows)
        assert watch.pace.every <= A_BLOCK / RATE
        worst += [one.ratio for one in watch.figures]
    assert 0.1 < max(worst) < 0.9, "limits are neither crossed nearly nor far from what chance does"


@pytest.mark.long
def test_a_month_of_thirty_a_second_has_no_false_alarm_in_12_of_64_features() -> None:
    """A histogram whose bins are the baseline's quantiles knows no distribution, only the shares of its bins."""
    rng, worst = np.random.default_rng(1), 0.0
    judged = int(limits.MONTH * RATE) // A_BLOCK
    alpha = chance(65, A_BLOCK / RATE)
    design = least_design(np.ones(1), np.array([BLOCKS * SPANS - 1.0]))
    bins, baseline = 10, 400.0
    (bound,) = psi_limits(alpha, np.array([bins]), A_RING / design, np.array([baseline]))
    for _ in range(12):
        shares = rng.dirichlet(np.full(bins, baseline / bins))
        passed = np.cumsum(rng.multinomial(A_BLOCK, shares, judged), 0).astype(np.float64)
        rings = passed[BLOCKS:] - passed[:-BLOCKS]
        worst = max(worst, float((psi(rings, np.full(bins, baseline / bins)) / bound).max()))
    assert 0.2 < worst < 1


@pytest.mark.long
def test_plates_in_half_a_deviation_more_light_are_found_and_those_in_the_same_are_not() -> None:
    rng = np.random.default_rng(1)
    sets = Path(__file__).resolve().parents[2] / "examples/surface-inspection"
    pictures = np.concatenate([np.load(sets / f"{name}.npz")["image"] for name in ("calibration", "evaluation")])
    some = ({"x": one[np.newaxis]} for one in pictures[rng.integers(len(pictures), size=1000)])
    made = baseline_of(((one, {}) for one in some), {"x": 3}, seed="a", classes=None)
    assert made is not None
    usual = made.readings[0].read(pictures)
    brightness = usual[:, made.names.index("x.brightness")]
    lit = made.readings[0].read(np.clip(pictures + 0.5 * brightness.std(), 0, 255))
    before = usual[rng.integers(len(usual), size=MINUTES * 60 * int(RATE))]
    assert until_found(made, before, lit[rng.integers(len(lit), size=2 * A_RING)]) <= A_RING
