"""The statistics of judging: how often a good server is found against, and how soon a bad one is."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from edgesmith_runtime.judging.bounds import LONG, Bounds, Gates, bounds_of, comparable, evidence_of, verdict
from edgesmith_runtime.judging.evidence import (
    bound_of_mean,
    bound_of_share,
    evidence_of_mean,
    evidence_of_share,
    wanted,
)
from edgesmith_runtime.judging.figures import Figures
from edgesmith_runtime.judging.sketch import BUCKETS, bucket, slowest, upper_bound
from edgesmith_runtime.judging.traffic import Window

if TYPE_CHECKING:
    from collections.abc import Callable


class Dice(Random):
    """What is rolled can be rolled again; it keeps no secret."""


GATES = Gates(max_error_rate=0.05, max_latency_ratio=1.5, max_confidence_drop=0.05)


def figures(failed: int = 0, refused: int = 0, requests: int = 4000, **more: float) -> Figures:
    """What a previous server showed whose runs took 10 ms."""
    taken = [0] * BUCKETS
    taken[bucket(0.01)] = requests - failed - refused
    return Figures("old", "1", "", failed, refused, tuple(taken), **more)  # type: ignore[arg-type]  # numbers


def binomial_tail(count: int, hits: int, share: float) -> float:
    """The chance of so many hits or fewer."""
    return sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(hits + 1))


@pytest.mark.parametrize(("count", "hits"), [(1, 0), (20, 0), (300, 0), (300, 7), (50, 25), (40, 40), (1000, 100)])
def test_the_true_share_is_above_its_bound_with_the_chance_that_was_asked_for(count: int, hits: int) -> None:
    bound = bound_of_share(hits / count, count, 1e-3)
    assert hits / count <= bound <= 1
    assert hits == count or binomial_tail(count, hits, bound) <= 1e-3
    if not hits:
        assert bound == pytest.approx(1 - 1e-3 ** (1 / count), rel=1e-6), "exact where nothing was hit"


def test_nothing_is_known_of_no_requests() -> None:
    assert bound_of_share(0, 0, 1e-3) == 1
    assert bound_of_mean(0.5, 0.0, 1, 1e-3) == 1


@pytest.mark.parametrize("share", [0.01, 0.2, 0.6])
def test_the_mean_of_a_sample_is_rarely_above_its_bound(share: float) -> None:
    dice = Dice(1)
    over = 0
    for _ in range(2000):
        sample = [dice.random() < share for _ in range(60)]
        mean = sum(sample) / 60
        over += share > bound_of_mean(mean, mean * (1 - mean), 60, 0.05)
    assert over <= 2000 * 0.05


def test_evidence_begins_at_nothing_and_a_share_of_one_is_no_bound() -> None:
    assert evidence_of_share(0, 0, 0.05) == pytest.approx(0)
    assert evidence_of_mean(0, 0, 0, 0.3) == pytest.approx(0)
    assert evidence_of_share(50, 50, 1.0) == 0
    assert evidence_of_share(3, 3, 0.0) > evidence_of_share(2, 2, 0.0) > 10


@pytest.mark.parametrize("share", [0.02, 0.05, 0.5])
def test_evidence_of_a_share_is_expected_to_stay_where_it_is_at_the_bound(share: float) -> None:
    """The mean of a test supermartingale over all outcomes, each with its own chance, is 1 at most."""
    for count in (1, 5, 40):
        mean = sum(
            math.comb(count, hits)
            * share**hits
            * (1 - share) ** (count - hits)
            * math.exp(evidence_of_share(count, hits, share))
            for hits in range(count + 1)
        )
        assert mean == pytest.approx(1)


def test_evidence_of_a_mean_is_not_expected_to_grow_at_the_bound() -> None:
    """Over all outcomes of some numbers that are 0, a half or 1."""
    chances = {0.0: 0.5, 0.5: 0.3, 1.0: 0.2}
    expected = sum(value * chance for value, chance in chances.items())

    def mean(window: Window, chance: float, left: int) -> float:
        if not left:
            return chance * math.exp(evidence_of_mean(window.sure, window.unsure, window.spread, expected))
        found = 0.0
        for value, likely in chances.items():
            following = replace(window)
            following.add_confidence(1 - value)
            found += mean(following, chance * likely, left - 1)
        return found

    for count in (1, 3, 8):
        assert mean(Window(), 1.0, count) <= 1 + 1e-12


def test_the_chances_of_all_windows_add_up_to_alpha() -> None:
    spent = [math.exp(-wanted(0.01, number)) for number in range(1, 10_000)]
    assert 0.0099 < sum(spent) <= 0.01


def played(dice: Dice, request: Callable[[Window, Dice], None], bounds: Bounds, most: int) -> int:
    """After how many requests a server is found against that is looked at after each third one; 0: it never is."""
    window, number = Window(), 1
    for count in range(1, most + 1):
        request(window, dice)
        if count % 3:
            continue
        if verdict(window, bounds, GATES, number):
            return count
        if window.requests >= LONG:
            window, number = Window(), number + 1
    return 0


def failing(share: float) -> Callable[[Window, Dice], None]:
    """Requests of which a share fails."""

    def request(window: Window, dice: Dice) -> None:
        window.requests += 1
        window.failed += dice.random() < share

    return request


def slowly(share: float) -> Callable[[Window, Dice], None]:
    """Requests of which a share takes longer than it may."""

    def request(window: Window, dice: Dice) -> None:
        window.requests += 1
        window.timed += 1
        window.slow += dice.random() < share

    return request


def confident(mean: float) -> Callable[[Window, Dice], None]:
    """Requests whose confidence varies by a tenth to both sides."""

    def request(window: Window, dice: Dice) -> None:
        window.requests += 1
        window.add_confidence(min(1.0, max(0.0, mean + dice.uniform(-0.1, 0.1))))

    return request


BOUNDS = bounds_of(GATES, figures(sure=4000, confidence=0.85, variance=0.01))
AT_THE_BOUND = {
    "errors, none before": (failing(0.05), Bounds(0.05)),
    "errors": (failing(BOUNDS.errors), BOUNDS),
    "latency": (slowly(0.5), BOUNDS),
    "confidence": (confident(1 - (BOUNDS.unsure or 0)), BOUNDS),
}


@pytest.mark.parametrize(("request_", "bounds"), AT_THE_BOUND.values(), ids=AT_THE_BOUND.keys())
def test_a_server_right_at_a_bound_is_hardly_ever_found_against(
    request_: Callable[[Window, Dice], None], bounds: Bounds
) -> None:
    """Looked at 400 times, the evidence for one in ten reaches ten in a tenth of the servers at most (Ville)."""
    often = 0
    for seed in range(200):
        window, dice = Window(), Dice(seed)
        for count in range(1200):
            request_(window, dice)
            if count % 3 == 0 and max(evidence_of(window, bounds).values()) >= math.log(10):
                often += 1
                break
        assert verdict(window, bounds, GATES, 1) is None, seed
    assert often <= 200 * 0.1, f"{often} of 200"


BAD = {
    "every request fails": (failing(1.0), BOUNDS, 51),
    "one of three fails": (failing(0.33), BOUNDS, 90),
    "one of five fails": (failing(0.2), BOUNDS, 260),
    "one of eight fails": (failing(0.125), BOUNDS, 900),
    "one of five fails, none before": (failing(0.2), Bounds(0.05), 240),
    "every run is slow": (slowly(1.0), BOUNDS, 51),
    "four of five runs are slow": (slowly(0.8), BOUNDS, 150),
    "confidence is gone": (confident(0.3), BOUNDS, 60),
    "confidence is lower by a tenth more": (confident(0.68), BOUNDS, 300),
}


@pytest.mark.parametrize(("request_", "bounds", "within"), BAD.values(), ids=BAD.keys())
def test_a_bad_server_is_found_soon(request_: Callable[[Window, Dice], None], bounds: Bounds, within: int) -> None:
    needed = sorted(played(Dice(seed), request_, bounds, 4000) or 4000 for seed in range(40))
    assert needed[-3] <= within, f"19 of 20 within {needed[-3]} requests"
    assert needed[0] >= GATES.min_requests


def test_what_was_good_for_long_does_not_hide_what_comes_then() -> None:
    for seed in range(8):
        dice, good, bad = Dice(seed), failing(0.0), failing(0.4)
        window, number, found = Window(), 1, 0
        for count in range(1, 14_001):
            (good if count <= 10_000 else bad)(window, dice)
            if verdict(window, BOUNDS, GATES, number):
                found = count
                break
            if window.requests >= LONG:
                window, number = Window(), number + 1
        assert 10_000 < found <= 12_300, (seed, found)


def test_few_requests_say_nothing() -> None:
    window = Window(requests=GATES.min_requests - 1, failed=GATES.min_requests - 1)
    assert verdict(window, BOUNDS, GATES, 1) is None
    window.requests = window.failed = GATES.min_requests
    found = verdict(window, BOUNDS, GATES, 1)
    assert found is not None
    assert found.reason == "ErrorRateExceeded"


def test_refused_requests_count_only_against_a_server_that_was_asked_the_same() -> None:
    window = Window(requests=200, refused=100)
    assert verdict(window, Bounds(0.05), GATES, 1) is None
    assert verdict(window, bounds_of(GATES, figures()), GATES, 1) is not None
    assert verdict(window, bounds_of(GATES, figures(refused=2000)), GATES, 1) is None
    mixed = Window(requests=1000, refused=900, failed=60)
    found = verdict(mixed, Bounds(0.05), GATES, 1)
    assert found is not None, "60 of the 100 that could be answered failed"


def test_what_the_previous_revision_failed_is_allowed_too() -> None:
    window = Window(requests=1000, failed=200)
    assert verdict(window, bounds_of(GATES, figures(failed=800)), GATES, 1) is None
    assert verdict(window, bounds_of(GATES, figures(failed=100)), GATES, 1) is not None


def test_what_is_not_asked_for_is_not_judged() -> None:
    bounds = bounds_of(Gates(), figures(sure=4000, confidence=0.9))
    assert (bounds.slow_above, bounds.unsure) == (None, None)
    assert 0.05 < bounds.errors < 0.055
    few = figures(requests=350, failed=100, sure=100, confidence=0.9)
    assert (bounds_of(GATES, few).slow_above, bounds_of(GATES, few).unsure) == (None, None)


def test_half_of_the_runs_may_take_the_ratio_times_the_median() -> None:
    assert BOUNDS.slow_above == pytest.approx(1.5 * 0.01, rel=0.1)


@pytest.mark.parametrize(
    ("previous", "compared"),
    [
        (None, False),
        (figures(), True),
        (figures(requests=299), False),
        (replace(figures(), model="new"), False),
        (replace(figures(), before="new"), False),
        (replace(figures(), before="older"), True),
    ],
    ids=["nobody", "asked enough", "asked too little", "the same model", "the way back", "the way on"],
)
def test_who_is_compared_with_whom(previous: Figures | None, *, compared: bool) -> None:
    assert comparable(previous, "new") is compared


def test_sentences_say_what_was_seen_what_was_expected_and_what_came_before() -> None:
    bounds = bounds_of(GATES, figures(failed=4, sure=3000, confidence=0.9))
    found = [
        verdict(Window(requests=100, failed=60, refused=10), bounds, GATES, 1),
        verdict(Window(requests=100, timed=100, slow=100), bounds, GATES, 1),
        verdict(Window(requests=100, sure=100, unsure=70.0, spread=1.0), bounds, GATES, 1),
    ]
    said = [f"{one.reason}: {one.message}" for one in found if one]
    before = "; the previous revision on this node"
    slow = "expected 15.4 ms or less for half of them (gates.traffic.maxLatencyRatio is 1.5)"
    ends = (
        f"expected at most 5.47% (gates.traffic.maxErrorRate is 5%){before} failed 4 of 4000",
        f"{slow}{before} took 10.2 ms for half of its runs",
        f"expected 0.843 or more (gates.traffic.maxConfidenceDrop is 0.05){before} had a mean confidence of 0.900",
    )
    assert said == [
        f"ErrorRateExceeded: 60 of 100 requests failed and 10 were refused by the model; {ends[0]}",
        f"LatencyRatioExceeded: 100 of 100 runs of the model took longer than they may; {ends[1]}",
        f"ConfidenceDropExceeded: the mean confidence of 100 answers is 0.300; {ends[2]}",
    ]


def test_a_quantile_of_the_sketch_is_off_by_nine_percent_at_most() -> None:
    dice = Dice(3)
    times = sorted(dice.lognormvariate(-5, 1.0) for _ in range(5000))
    counts = [0] * BUCKETS
    for one in times:
        counts[bucket(one)] += 1
    for share in (0.01, 0.25, 0.5, 0.9, 0.999):
        exact = times[math.ceil(share * 5000) - 1]
        assert exact <= slowest(counts, share) <= exact * 1.1
    assert (bucket(0.0), bucket(1e-9), bucket(1e9)) == (0, 0, BUCKETS - 1)
    assert all(bucket(upper_bound(number) * 0.999) == number for number in range(BUCKETS))
    assert slowest([0] * (BUCKETS - 1) + [1], 1.0) == upper_bound(BUCKETS - 1)
