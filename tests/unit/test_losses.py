"""Lost nodes against the other nodes: held against exact sums."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from edgesmith.decide.losses import canaries_lost, nodes_lost, tail


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
    assert canaries_lost(tried, lost, others, away, waited=False) is at_once
    assert canaries_lost(tried, lost, others, away, waited=True) is waited


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
