"""What the uplink sends next, when, and how fast."""

from __future__ import annotations

import pytest
from power import chances

from edgesmith_runtime.spool.kept import Kept
from edgesmith_runtime.uplink.answers import Outcome
from edgesmith_runtime.uplink.rate import Rate
from edgesmith_runtime.uplink.sending import Sending


def test_no_more_goes_over_the_link_than_may_over_one_object_after_the_other() -> None:
    now, passed = [0.0], [0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    rate = Rate(1000, pause, lambda: now[0])
    for size in [100] * 50 + [1000] * 5:
        rate.wait(size)
        passed[0] += size
        assert passed[0] <= 1000 * now[0] + 1001
    assert now[0] >= 8.9
    now[0] += 1e6  # what was not used is not saved up
    for _ in range(3):
        rate.wait(1000)
    assert now[0] >= 1e6 + 8.9 + 2


def kept(*names: str) -> list[Kept]:
    return [Kept(name, 10) for name in names]


def test_what_is_worth_most_is_sent_first_and_one_that_is_refused_keeps_no_other_back() -> None:
    sending, there = Sending(chances(1)), kept("a", "b", "c")
    order = []
    for _ in range(6):
        one = sending.next(there)
        assert one is not None
        order.append(one.name)
        sending.after(one, Outcome("Failed"))
    assert order == ["c", "b", "a", "c", "b", "a"]
    assert sending.next([]) is None


@pytest.mark.parametrize(
    ("outcome", "longest"),
    [
        pytest.param(Outcome("Unreachable"), 60, id="nothing-answers"),
        pytest.param(Outcome("Unreachable", sent=1), 300, id="bytes-were-lost"),
        pytest.param(Outcome("Forbidden"), 300, id="refused"),
    ],
)
def test_pauses_grow_and_end_with_the_first_that_is_taken(outcome: Outcome, longest: float) -> None:
    sending, (one,) = Sending(chances(1)), kept("a")
    pauses = [sending.after(one, outcome) for _ in range(12)]
    for number, pause in enumerate(pauses):
        most = min(longest, 2**number)
        assert most / 2 <= pause <= most
    assert len(set(pauses)) == 12
    assert sending.after(one, Outcome("SlowDown", wait=1000)) == 1000
    assert sending.after(one, Outcome("AlreadyThere")) == 0
    assert sending.after(one, Outcome("Unreachable")) <= 1
