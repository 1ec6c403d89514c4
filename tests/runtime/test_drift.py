"""Drift is found, and what is none is not: over simulated months, at one sample a second."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgesmith_runtime.drift.limits import chance, gamma_limit, least_design, psi, psi_of, quantile
from edgesmith_runtime.drift.watch import NOVEL, SCORES, SKETCH, State, Watch
from tests.runtime.drifting import DAY, FEATURES, baseline_from, camera, independent, live

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.runtime.drifting import World

ONE = np.array([0.5, 0, 0, 0])
LAST = np.array([0, 0, 0, 0.5])


@pytest.mark.parametrize(
    ("degrees", "alpha", "expected"),
    [(1, 1e-6, 23.93), (3, 1e-6, 30.66), (9, 1e-3, 27.88), (9, 1e-8, 55.449), (10, 1e-6, 46.86)],
)
def test_quantiles_of_chi_squared_are_those_of_the_tables(degrees: int, alpha: float, expected: float) -> None:
    assert quantile(alpha, degrees) == pytest.approx(expected, rel=1e-3)


def test_a_gamma_limit_of_one_eigenvalue_is_that_of_a_squared_normal() -> None:
    assert gamma_limit(1e-4, 3.0, 18.0) == pytest.approx(3 * NormalDist().inv_cdf(1 - 5e-5) ** 2, rel=0.01)


def test_the_index_is_the_sum_that_it_is_defined_as() -> None:
    ours, theirs = np.array([[0.2, 0.3, 0.5]]), np.array([[0.4, 0.4, 0.2]])
    by_hand = -0.2 * np.log(0.5) - 0.1 * np.log(0.75) + 0.3 * np.log(2.5)
    assert psi_of(ours, theirs) == pytest.approx(by_hand)
    assert psi(np.array([[0.0, 7.0]]), np.array([[0.0, 3.0]])) == 0


def test_the_chance_of_a_false_alarm_is_spent_over_a_month() -> None:
    assert chance(10, 3600) * 10 * 30 * 24 == pytest.approx(0.01)


def test_few_pairs_are_trusted_less_than_many_and_none_not_at_all() -> None:
    few, many, none = least_design(np.full(3, 4.0), np.array([4.0, 400.0, 0.0]))
    assert 4 < many < few < none == np.inf


@pytest.mark.parametrize("samples", [400, 1000])
@pytest.mark.parametrize("shift", [ONE, LAST])
def test_half_a_deviation_in_one_feature_of_independent_samples_is_found(
    samples: int, shift: NDArray[np.float64]
) -> None:
    watch = Watch(baseline_from(independent, samples), 0.0)
    assert live(watch, independent, 12_000) == 12_000
    assert watch.state == State.STEADY
    assert live(watch, independent, 12_000, shift=shift, seed=3) <= 4_800
    assert next(one.name for one in watch.figures if one.name != SKETCH) == f"x[{int(shift.argmax())}]"


def test_half_a_deviation_is_found_within_a_day_though_scenes_stay_and_the_light_changes() -> None:
    watch = Watch(baseline_from(camera, 400), DAY)
    assert live(watch, camera, 2 * int(DAY), start=7 * 3600) == 2 * DAY
    assert watch.state == State.STEADY
    found = live(watch, camera, 2 * int(DAY), start=2 * DAY + 7 * 3600, shift=LAST, seed=3)
    assert found <= 26 * 3600
    assert watch.figures[0].name == "x[3]"


def test_a_lens_that_is_covered_is_found_within_three_hours() -> None:
    watch = Watch(baseline_from(camera, 400), DAY)
    assert live(watch, camera, int(DAY) // 2) == DAY // 2
    assert watch.state == State.LEARNING, "a day was not over"
    assert live(watch, camera, int(DAY), start=DAY / 2, shift=np.full(FEATURES, 8.0), seed=3) <= 3 * 3600
    assert watch.novel.name == NOVEL
    assert watch.novel.value > 0.5


@pytest.mark.long
@pytest.mark.parametrize(("samples", "cycle", "world"), [(300, DAY, camera), (1000, DAY, independent)])
def test_a_month_has_no_false_alarm(samples: int, cycle: float, world: World) -> None:
    watch = Watch(baseline_from(world, samples, answered=True), cycle)
    worst: dict[str, float] = {}
    for day in range(30):
        assert live(watch, world, int(DAY), start=day * DAY + 1, seed=day) == DAY
        for figure in watch.figures:
            worst[figure.name] = max(worst.get(figure.name, 0.0), figure.ratio)
    assert watch.episodes == 0
    assert watch.state == State.STEADY
    assert 0.05 < max(worst.values()) < 0.9, "limits are neither crossed nearly nor far from what chance does"
    assert 0.01 < worst[SCORES] < 0.6, "far less than a limit's floor with a thousand samples in the baseline"


def test_samples_are_embedded_quickly_as_the_baseline_s_were() -> None:
    baseline = baseline_from(camera, 300)
    assert baseline.sketch is not None
    scaling = baseline.sketch.scaling
    seen = camera(np.random.default_rng(6), np.arange(600.0))
    seen[0], seen[1] = np.nan, 1e30
    quick = scaling.embed_quickly(seen)
    assert quick.dtype == np.float32
    assert np.abs(quick - scaling.embed(seen)).max() < 1e-5


def test_a_textbook_s_limit_would_have_alarmed() -> None:
    """As many samples of a camera, with 0.2 and no care for sizes: what the limits are for."""
    baseline = baseline_from(camera, 300)
    rng = np.random.default_rng(5)
    crossed = 0
    for hour in range(24):
        seen = camera(rng, hour * 3600.0 + np.arange(3600))
        counts = np.zeros_like(baseline.counts)
        for row in baseline.places(seen):
            counts[np.arange(FEATURES), row] += 1
        crossed += bool((psi(counts, baseline.counts) > 0.2).any())
    assert crossed == 24


def test_an_episode_ends_once_everything_was_like_the_baseline_for_a_whole_ring() -> None:
    watch = Watch(baseline_from(independent, 500), 0.0)
    live(watch, independent, 6_000, shift=2.0)
    assert watch.state == State.DRIFTED
    since = watch.since
    for turn in range(5):
        live(watch, independent, 1_200, seed=10 + turn)
        assert (watch.state, watch.since, watch.episodes) == (State.DRIFTED, since, 1), "hysteresis"
    for turn in range(2):
        live(watch, independent, 1_200, seed=20 + turn)
    assert watch.state.value == "Steady"
    live(watch, independent, 6_000, shift=2.0, seed=7)
    assert watch.episodes == 2


def test_a_clock_that_jumps_neither_finds_drift_nor_stops_the_watch() -> None:
    watch = Watch(baseline_from(camera, 300), DAY)
    for start in (0.0, 40 * 365 * DAY, 10 * DAY, 10 * DAY + 3):
        live(watch, camera, 7200, start=start)
    assert watch.state == State.LEARNING
    assert watch.samples == 4 * 7200


def test_too_few_samples_are_not_judged() -> None:
    watch = Watch(baseline_from(independent, 300), DAY)
    present = np.ones(FEATURES, bool)
    rng = np.random.default_rng(1)
    for hour in range(72):
        watch.take(rng.standard_normal((5, FEATURES)) + 9, present, hour * 3600.0)
    assert watch.state == State.LEARNING
