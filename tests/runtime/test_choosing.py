"""Which samples are chosen: at the budget's rate, the most uncertain and novel, none twice, and some that are fair."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from edgesmith_runtime.sampling.choosing import Choice, Chooser, Offer, Reason
from edgesmith_runtime.sampling.likeness import Likeness
from edgesmith_runtime.sampling.pacing import Pace
from edgesmith_runtime.sampling.scores import Recent, uncertainty

SIZE = 1000
"""Bytes that a chosen sample takes in these tests."""
RATE = SIZE / 100
"""Bytes a second: a sample every 100 seconds for each reason."""
REASONS: tuple[Reason, ...] = ("Uncertain", "Novel", "Random")


def golden(seed: int = 0) -> list[Mapping[str, Any]]:
    chance = np.random.default_rng(seed)
    return [{"x": chance.normal(size=(1, 8)).astype(np.float32)} for _ in range(16)]


def offer(x: Any, unsure: Any = None, novel: Any = None) -> Offer:
    rows = np.atleast_2d(np.asarray(x, np.float32))
    return Offer(
        {"x": rows},
        {"y": rows.sum(axis=1, keepdims=True)},
        len(rows),
        None if unsure is None else np.atleast_1d(np.asarray(unsure, np.float64)),
        None if novel is None else np.atleast_1d(np.asarray(novel, np.float64)),
    )


ALIKE = golden()


def chooser(rates: Mapping[Reason, float] | None = None, seed: int = 1) -> Chooser:
    return Chooser(rates or dict.fromkeys(REASONS, RATE), Likeness(ALIKE), seed=seed, now=0.0)


def played(
    chosen: Chooser, offers: Iterator[tuple[float, Offer]], size: Callable[[Choice], int] = lambda _: SIZE
) -> list[tuple[float, Choice]]:
    found = []
    for now, one in offers:
        while (choice := chosen.ended(now)) is not None:
            chosen.taken(choice, size(choice), now)
            found.append((now, choice))
        chosen.offer(one)
    return found


def stream(count: int, step: float, seed: int = 5, rows: int = 1) -> Iterator[tuple[float, Offer]]:
    chance = np.random.default_rng(seed)
    for number in range(count):
        yield number * step, offer(chance.normal(size=(rows, 8)), chance.random(rows), chance.random(rows))


def test_a_margin_is_what_is_missing_to_being_sure() -> None:
    scores = np.array([[0.9, 0.1, 0.0], [0.4, 0.4, 0.2], [math.nan, 0.5, 0.5], [1.0, 0.0, 0.0]], np.float32)
    assert uncertainty(scores) == pytest.approx([0.2, 1.0, 0.0, 0.0], abs=1e-6)
    assert uncertainty(np.array([0.75, 0.25])) == pytest.approx([0.5])


def test_a_rank_is_among_the_newest() -> None:
    recent = Recent()
    assert recent.rank(5) == 0
    recent.add(np.arange(3000, dtype=np.float64))
    assert recent.rank(2999 - 512 + 0.5) == pytest.approx(0.5, abs=0.01)
    assert recent.rank(-1) == 0
    assert recent.rank(9999) == 1


@pytest.mark.parametrize("step", [0.5, 20.0])
def test_bytes_keep_to_the_rate_however_many_requests_there_are(step: float) -> None:
    hours = 8
    found = played(chooser(), stream(int(hours * 3600 / step), step))
    for reason in REASONS:
        taken = sum(SIZE for _, choice in found if choice.reason == reason)
        assert taken <= RATE * hours * 3600
        assert taken >= 0.9 * RATE * hours * 3600 - SIZE


def test_what_was_saved_up_is_spent_at_four_times_the_rate_at_most() -> None:
    pace, taken = Pace(RATE), list[float]()
    pace.expect(SIZE)
    for now in np.arange(50_000.0, 52_000.0, 1.0):
        if pace.due(float(now)):
            pace.begin(float(now), SIZE)
            taken.append(float(now))
    assert min(b - a for a, b in itertools.pairwise(taken)) >= 25
    assert 70 <= len(taken) <= 81


def test_the_most_uncertain_and_the_most_novel_of_each_slot_are_taken() -> None:
    offers = list(stream(4000, 1.0))
    found = played(chooser(), iter(offers))
    values = list[int]()
    for reason, scores in (
        ("Uncertain", [o.uncertainty for _, o in offers]),
        ("Novel", [o.novelty for _, o in offers]),
    ):
        ends = [now for now, choice in found if choice.reason == reason]
        assert len(ends) > 30
        for began, ended in zip([0.0, *ends], ends, strict=False):
            best = max(float(scores[int(at)][0]) for at in np.arange(began, ended))  # type: ignore[index]
            got = next(c for now, c in found if now == ended and c.reason == reason)
            assert (got.uncertainty if reason == "Uncertain" else got.novelty) == best
            values.append(got.value)
    assert np.median(values) > 9800


def test_the_best_row_of_a_batch_is_taken_alone() -> None:
    one = chooser()
    one.offer(offer(np.arange(24).reshape(3, 8), [0.1, 0.9, 0.5], [0.7, 0.2, 0.1]))
    found = dict[str, Choice]()
    while (choice := one.ended(1e6)) is not None:
        one.taken(choice, SIZE, 1e6)
        found[choice.reason] = choice
    assert found["Uncertain"].inputs["x"].tolist() == [list(range(8, 16))]
    assert found["Novel"].inputs["x"].tolist() == [list(range(8))]
    assert found["Uncertain"].outputs["y"].shape == (1, 1)
    assert {choice.of for choice in found.values()} == {3}


def test_a_static_scene_is_taken_once() -> None:
    chance = np.random.default_rng(2)
    scene = chance.normal(size=8)
    still = ((float(n), offer(scene + 0.01 * chance.normal(size=8), 0.5, 0.5)) for n in range(5000))
    found = Counter(choice.reason for _, choice in played(chooser(), still))
    assert found["Uncertain"] + found["Novel"] == 1
    assert found["Random"] > 40  # which are fair, and so see the scene as often as it was there


def test_likeness_is_by_what_differs_between_golden_samples_and_by_size() -> None:
    likeness = Likeness([{"x": np.full((1, 4096), value, np.float32)} for value in (0.0, 100.0, 200.0)])
    flat = {"x": np.full((1, 4096), 50, np.uint8)}
    likeness.remember(likeness.describe(flat))
    noisy = {"x": np.random.default_rng(0).integers(40, 61, (1, 4096)).astype(np.uint8)}
    assert likeness.known(likeness.describe(noisy))
    assert not likeness.known(likeness.describe({"x": np.full((1, 4096), 70, np.uint8)}))
    assert not likeness.known(likeness.describe({"x": np.full((1, 99), 50, np.uint8)}))
    text = {"t": np.array(["a"], object)}
    likeness.remember(likeness.describe(text))
    assert not likeness.known(likeness.describe(text))


def test_the_same_seed_chooses_the_same() -> None:
    def run(seed: int) -> list[tuple[float, str, Any]]:
        found = played(chooser(seed=seed), stream(3000, 1.0, rows=2))
        return [(now, choice.reason, choice.inputs["x"].tobytes()) for now, choice in found]

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_random_samples_weighted_by_their_slot_give_unbiased_estimates() -> None:
    """The mean over many seeds of the estimate lies within four of its standard errors of the truth."""
    chance = np.random.default_rng(9)
    offers, truth = list[tuple[float, Offer]](), 0.0
    now = 0.0
    for number in range(1000):
        # Busy and quiet times whose contents differ: a plain mean over what was taken would be wrong.
        busy = (number // 250) % 2 == 0
        now += 1.0 if busy else 37.0
        rows = chance.normal(5.0 if busy else 1.0, 1.0, size=(int(chance.integers(1, 4)), 8))
        offers.append((now, offer(rows, chance.random(len(rows)))))
    estimates, plain = [], []
    for seed in range(100):
        found = [(at, c) for at, c in played(chooser({"Random": RATE}, seed), iter(offers)) if c.reason == "Random"]
        end = found[-1][0]
        truth = sum(float(one.inputs["x"].sum()) for at, one in offers if at < end)
        values = np.array([float(c.inputs["x"].sum()) for _, c in found])
        of = np.array([c.of for _, c in found])
        assert of.sum() == sum(one.samples or 1 for at, one in offers if at < end)
        estimates.append(float((values * of).sum()))
        plain.append(float(values.mean() * of.sum()))
    spread = np.std(estimates) / math.sqrt(len(estimates))
    assert abs(np.mean(estimates) - truth) < 4 * spread
    assert abs(np.mean(plain) - truth) > 4 * spread  # which the weights are for


def test_each_sample_of_a_slot_is_as_likely_as_any_other() -> None:
    """Over 1,200 seeds each of ten, in requests of one to four, comes up 120 times, give or take five deviations."""
    drawn = Counter[int]()
    for seed in range(1200):
        one, first = chooser({"Random": RATE}, seed), 0
        for rows in (1, 4, 2, 3):
            one.offer(offer(np.repeat(np.arange(first, first + rows)[:, None], 8, axis=1)))
            first += rows
        choice = one.ended(1e6)
        assert choice is not None
        assert choice.of == 10
        drawn[int(choice.inputs["x"][0, 0])] += 1
    assert sorted(drawn) == list(range(10))
    assert all(abs(count - 120) < 5 * math.sqrt(120 * 0.9) for count in drawn.values()), drawn


def test_a_sample_that_could_not_be_kept_is_paid_for_and_not_tried_again_and_again() -> None:
    found = played(chooser(), stream(5000, 1.0), lambda _: 0)
    size = offer(np.zeros(8)).size()  # what one is expected to take
    assert 0.9 * 3 * 5000 <= len(found) * size / RATE <= 3 * 5000


def test_what_was_saved_up_is_taken_over() -> None:
    first = chooser()
    played(first, stream(90, 1.0))
    second = chooser()
    second.resume(first.credits())
    assert second.credits() == first.credits()
    assert played(second, stream(12, 1.0)) == []


def test_a_model_without_scores_gives_random_samples_alone() -> None:
    one = chooser()
    offers = ((float(n), offer(np.full(8, n))) for n in range(3000))
    assert {choice.reason for _, choice in played(one, offers)} == {"Random"}


def test_a_score_that_is_no_number_is_none_and_keeps_nothing_else_from_being_taken() -> None:
    one = chooser()
    one.offer(offer(np.zeros((2, 8)), [0.1, 0.2], [math.nan, math.inf]))
    one.offer(offer([[5.0] * 8, [9.0] * 8], [0.3, 0.1], [math.nan, 2.0]))
    found = dict[str, Choice]()
    while (choice := one.ended(1e6)) is not None:
        one.taken(choice, SIZE, 1e6)
        found[choice.reason] = choice
    assert found["Uncertain"].uncertainty == 0.3
    assert found["Random"].novelty in (None, 2.0)
    assert found["Novel"].novelty == 2.0


@pytest.mark.parametrize(("samples", "size", "content"), [(2, 32 + 3 * 9 * 4, 32 + 7), (None, 64 + 6 * 9 * 4, 64 + 14)])
def test_a_sample_with_texts_is_as_large_as_they_are_beside_the_longest(
    samples: int | None, size: int, content: int
) -> None:
    texts = np.array([["a", "bc", b"\xc3\xbc"], ["ninechars", "", ""]], object)
    found = Offer({"x": np.zeros((2, 8), np.float32)}, {"t": texts, "none": np.zeros((2, 0), object)}, samples)
    assert (found.size(), found.content()) == (size, content)


def test_a_text_that_is_longer_than_others_makes_no_slot_longer_than_its_bytes_do() -> None:
    one = chooser({"Random": RATE})
    one.offer(Offer({"t": np.array(["a" * 500] + ["b"] * 500, object)}, {}))
    assert one.left(0.0) == pytest.approx(1000 / RATE)
