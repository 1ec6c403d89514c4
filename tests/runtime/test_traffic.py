"""What is counted of requests, and which page of it is believed."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgesmith_runtime.judging.figures import LONGEST, MANY, read
from edgesmith_runtime.judging.sketch import BUCKETS, bucket
from edgesmith_runtime.judging.traffic import Traffic
from tests.runtime.judged import told

if TYPE_CHECKING:
    from numpy.typing import NDArray

ONE = {"x": np.ones((1, 3), np.float32)}
SURE = {"y": np.array([[0.75, 0.25]], np.float32)}


def test_an_answer_with_what_is_no_number_is_a_failure_where_its_input_had_numbers_only() -> None:
    traffic = Traffic("m", numbers=("y",))
    bad: dict[str, NDArray[Any]] = {"y": np.array([1, np.nan], np.float32), "z": np.ones(1)}
    traffic.answered(0.01, ONE, SURE)
    traffic.answered(0.01, ONE, bad)
    traffic.answered(0.01, {"x": np.array([np.inf])}, bad)
    traffic.answered(0.01, ONE, {"z": np.array([np.nan])})
    traffic.failed()
    traffic.refused()
    seen = traffic.window()
    assert (seen.requests, seen.failed, seen.refused) == (6, 2, 1)
    totals = traffic.totals()
    assert (totals.answered, totals.failed, totals.not_numbers, totals.refused) == (3, 1, 1, 1)


def test_an_answer_without_a_number_says_nothing_of_confidence() -> None:
    traffic = Traffic("m", numbers=("y",), classes="y")
    traffic.answered(0.01, {"x": np.array([np.nan])}, {"y": np.array([[np.nan, np.nan]], np.float32)})
    traffic.answered(0.01, ONE, SURE)
    seen = traffic.window()
    assert (seen.requests, seen.sure, seen.unsure) == (2, 1, 0.25)


@pytest.mark.parametrize("datatype", [np.float16, np.float32, np.float64])
def test_a_large_answer_is_looked_at_as_a_small_one_is(datatype: type[Any]) -> None:
    traffic = Traffic("m", numbers=("y",))
    large = np.full(100_000, np.finfo(datatype).max, datatype)
    traffic.answered(0.01, ONE, {"y": large})
    large[7] = np.nan
    traffic.answered(0.01, ONE, {"y": large})
    assert traffic.window().failed == 1, "a sum beyond the type's range is no failure"


def test_texts_and_whole_numbers_are_always_numbers() -> None:
    traffic = Traffic("m", numbers=("y", "z"))
    traffic.answered(0.01, ONE, {"y": np.array(["nan"], object), "z": np.array([1])})
    assert traffic.window().failed == 0


def test_times_are_judged_from_when_they_are_to_be() -> None:
    traffic = Traffic("m")
    traffic.answered(9.0, ONE, SURE)
    traffic.slow_above = 0.5
    traffic.answered(0.4, ONE, SURE)
    traffic.answered(0.6, ONE, SURE)
    assert (traffic.window().timed, traffic.window().slow) == (2, 1)
    traffic.begin_window()
    assert traffic.window().requests == 0
    assert traffic.totals().answered == 3


def test_what_is_told_is_what_was_counted() -> None:
    traffic = Traffic("m", classes="y")
    for score in (0.5, 0.9):
        traffic.answered(0.01, ONE, {"y": np.array([[score, 1 - score]], np.float32)})
    traffic.answered(0.01, ONE, {"other": SURE["y"]})
    traffic.failed()
    found = read(traffic.figures().text())
    assert found is not None
    assert (found.requests, found.failed, found.taken[bucket(0.01)], found.sure) == (4, 1, 3, 2)
    assert found.confidence == pytest.approx(0.7)
    assert found.variance == pytest.approx(0.04)
    assert found == replace(traffic.figures(), confidence=found.confidence, variance=found.variance)


def test_old_requests_fade_and_rare_failures_do_not() -> None:
    traffic = Traffic("m", classes="y")
    traffic.failed()
    for _ in range(3 * MANY):
        traffic.answered(0.001, ONE, SURE)
    for _ in range(2 * MANY):
        traffic.answered(0.1, ONE, {"y": np.array([[0.5, 0.5]], np.float32)})
    found = traffic.figures()
    assert MANY // 2 <= found.requests <= MANY
    assert found.failed == 1
    assert found.taken[bucket(0.1)] > 3 * found.taken[bucket(0.001)]
    assert 0.5 < found.confidence < 0.56
    assert found.sure <= sum(found.taken)
    assert len(found.text()) < LONGEST / 2
    assert read(found.text()) is not None


def test_threads_lose_nothing() -> None:
    traffic = Traffic("m", classes="y")

    def many() -> None:
        for _ in range(2000):
            traffic.answered(0.01, ONE, SURE)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (traffic.window().requests, traffic.totals().sure) == (8000, 8000)


WRONG: dict[str, Any] = {
    "nothing": b"",
    "another page": b"<html>",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "long": json.dumps(json.loads(told().text()) | {"more": "x" * LONGEST}).encode(),
    **{
        f"{field} {value!r}": json.dumps(json.loads(told().text()) | {field: value}).encode()
        for field, value in (
            ("format", 2),
            ("model", ""),
            ("model", 7),
            ("model", "m" * 301),
            ("instance", ""),
            ("before", None),
            ("failed", -1),
            ("failed", 1.5),
            ("failed", True),
            ("refused", 10**6),
            ("taken", {}),
            ("taken", [1] * (BUCKETS + 1)),
            ("taken", ["1"]),
            ("sure", 6),
            ("confidence", 1.01),
            ("confidence", float("nan")),
            ("variance", -0.1),
            ("variance", None),
        )
    },
}


@pytest.mark.parametrize("page", WRONG.values(), ids=WRONG.keys())
def test_a_page_that_is_none_is_not_believed(page: bytes) -> None:
    assert read(page) is None


def test_a_page_is_read_back_as_it_was_written() -> None:
    assert read(told().text()) == told()
