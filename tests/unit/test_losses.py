"""Lost nodes against the other nodes: held against exact sums."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction
from itertools import product
from math import comb, prod

import pytest
from snapshots import NOW

from edgesmith.decide.losses import Others, lost_at_once, lost_in_time, nodes_lost, tail, tail_of


def exact(trials: int, hits: int, chance: Fraction) -> Fraction:
    return sum(
        (comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(hits, trials + 1)), Fraction(0)
    )


@pytest.mark.parametrize("chance", [Fraction(1, 50), Fraction(1, 10), Fraction(1, 2), Fraction(99, 100)])
@pytest.mark.parametrize(("trials", "hits"), [(1, 1), (2, 2), (3, 2), (10, 4), (100, 30), (1000, 40), (5, 0)])
def test_the_tail_is_the_binomial_one(trials: int, hits: int, chance: Fraction) -> None:
    assert tail(trials, hits, float(chance)) == pytest.approx(float(exact(trials, hits, chance)), rel=1e-9, abs=1e-300)


def test_what_is_certain_is_certain() -> None:
    assert tail(5, 5, 1.0) == 1.0
    assert tail(5000, 0, 0.5) == pytest.approx(1.0)
    assert tail(5000, 1, 0.5) <= 1.0


CANARIES = {
    "one is never evidence": ((1, 1, 1000, 0), False, False),
    "nor one of three": ((3, 1, 1000, 0), False, False),
    "two of two, nobody else away": ((2, 2, 1000, 0), True, True),
    "two of two, there is nobody else": ((2, 2, 0, 0), True, True),
    "two of two, 2 % away": ((2, 2, 1000, 20), True, True),
    "two of two, 4 % away": ((2, 2, 1000, 40), False, True),
    "two of two, 10 % away": ((2, 2, 1000, 100), False, True),
    "two of two, 14 % away": ((2, 2, 1000, 140), False, True),
    "two of two, 15 % away": ((2, 2, 1000, 150), False, False),
    "two of two, 20 % away": ((2, 2, 1000, 200), False, False),
    "two of two, all away": ((2, 2, 5, 5), False, False),
    "two of four, nobody else away": ((4, 2, 1000, 0), False, True),
    "two of four, 10 % away": ((4, 2, 1000, 100), False, False),
    "three of three, 10 % away": ((3, 3, 1000, 100), False, True),
    "three of three, 9 % away": ((3, 3, 1000, 90), True, True),
    "three of four, 20 % away": ((4, 3, 1000, 200), False, False),
    "four of four, 30 % away": ((4, 4, 1000, 300), False, True),
}


@pytest.mark.parametrize("case", CANARIES)
def test_lost_canaries(case: str) -> None:
    (tried, lost, others, away), at_once, waited = CANARIES[case]
    control = Others(others - away, away)
    assert lost_at_once(tried, lost, control) is at_once
    assert lost_in_time([control.chance(None, comes_and_goes=False)] * tried, lost) is waited


@pytest.mark.parametrize("chances", [[0.02], [0.5, 0.02], [0.3, 0.3, 0.3], [0.02, 0.5, 0.9, 1.0, 0.1], [1.0, 1.0]])
def test_the_tail_of_trials_that_differ_is_the_sum_over_all_that_may_come_of_them(chances: list[float]) -> None:
    for hits in range(1, len(chances) + 2):
        ways = (one for one in product((True, False), repeat=len(chances)) if sum(one) >= hits)
        exactly = sum(prod(p if hit else 1 - p for p, hit in zip(chances, way, strict=True)) for way in ways)
        assert tail_of(chances, hits) == pytest.approx(exactly, abs=1e-15)
    assert tail_of([0.1] * 40, 7) == pytest.approx(tail(40, 7, 0.1))


def minutes(*ago: float) -> list[datetime]:
    return [NOW - timedelta(minutes=one) for one in ago]


SHARES = {
    "nobody else is there": (Others(0, 0), 5, 0.0),
    "none is away": (Others(9, 0), 5, 0.0),
    "all that are away were so before": (Others(4, 6, minutes(90, 80, 70, 60, 50, 6)), 5, 0.0),
    "one went since": (Others(4, 6, minutes(90, 80, 70, 60, 50, 4)), 5, 0.2),
    "one went at that moment": (Others(4, 6, minutes(90, 80, 70, 60, 50, 5)), 5, 0.2),
    "one went, nobody knows when": (Others(4, 6, minutes(90, 80, 70, 60, 50)), 5, 0.2),
    "since ever": (Others(4, 6, minutes(90, 80, 70, 60, 50)), None, 0.6),
}


@pytest.mark.parametrize("case", SHARES)
def test_those_that_were_away_when_a_node_got_the_revision_say_nothing_of_its_chance(case: str) -> None:
    others, ago, expected = SHARES[case]
    since = None if ago is None else NOW - timedelta(minutes=ago)
    assert others.share(since) == pytest.approx(expected)
    assert others.chance(since, comes_and_goes=False) == max(others.share(since), 0.02)
    assert others.chance(since, comes_and_goes=True) == max(others.share(since), 0.5)


def test_the_first_lost_canary_is_no_evidence_and_six_that_come_and_go_are() -> None:
    assert not lost_in_time([0.001], 1)
    assert [lost_in_time([0.5] * count, count) for count in (2, 5, 6)] == [False, False, True]
    assert lost_in_time([0.5, 0.02], 2), "one that comes and goes, and one that stays away"


NODES = {
    "ten of a hundred, nobody else": ((100, 10, 900, 0), True),
    "seven of a hundred, nobody else": ((100, 7, 900, 0), True),
    "six of a hundred, nobody else": ((100, 6, 900, 0), False),
    "ten of a hundred, 3 % of the others": ((100, 10, 900, 27), False),
    "thirty of a hundred, 10 % of the others": ((100, 30, 900, 90), True),
    "twelve of a hundred, 10 % of the others": ((100, 12, 900, 90), False),
    "all of nine with one to compare with": ((9, 9, 1, 0), False),
    "all of ten with nobody to compare with": ((10, 10, 0, 0), False),
    "all of a thousand with nobody to compare with": ((1000, 1000, 0, 0), False),
    "half of a thousand with three to compare with": ((1000, 500, 3, 0), False),
    "half of a thousand with a hundred to compare with": ((1000, 500, 100, 0), True),
}


@pytest.mark.parametrize("case", NODES)
def test_lost_nodes_of_later_steps(case: str) -> None:
    numbers, expected = NODES[case]
    assert nodes_lost(*numbers) is expected
