"""What the uplink sends next, when, and how fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from power import chances

from edgesmith_runtime.spool.kept import Kept
from edgesmith_runtime.uplink.answers import REASONS, Outcome, Reason
from edgesmith_runtime.uplink.rate import Rate
from edgesmith_runtime.uplink.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Mapping


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


OF_ALL: tuple[Reason, ...] = ("Unreachable", "NoCredentials", "Distrusted", "ClockWrong", "NoBucket", "Elsewhere")
OF_ONE: tuple[Reason, ...] = ("Forbidden", "Full", "SlowDown", "Conflict", "Unsupported", "Failed", "DiskFailed")


def tried(sending: Sending, there: list[Kept], outcomes: Mapping[str, Outcome] | Outcome, times: int) -> str:
    """What is tried one after the other, which fares as it is said of its name; what is stored is there no more."""
    order = ""
    for _ in range(times):
        one = sending.next(there)
        assert one is not None
        order += one.name
        outcome = outcomes if isinstance(outcomes, Outcome) else outcomes.get(one.name, Outcome("Sent"))
        sending.after(one, outcome)
        if outcome.stored:
            there.remove(one)
    return order


def test_each_reason_is_of_one_object_or_of_all() -> None:
    assert sorted((*OF_ALL, *OF_ONE, "Sent", "AlreadyThere")) == sorted(REASONS)


@pytest.mark.parametrize("reason", OF_ALL)
def test_what_says_nothing_of_the_object_does_not_change_which_is_next(reason: Reason) -> None:
    sending, there = Sending(chances(1)), kept(*"abcd")
    assert tried(sending, there, Outcome(reason), 3) == "ddd"
    assert tried(sending, there, {}, 4) == "dcba"


@pytest.mark.parametrize("outcome", [*map(Outcome, OF_ONE), Outcome("Unreachable", sent=1)], ids=lambda one: one.reason)
def test_what_was_refused_while_none_was_taken_goes_first_as_soon_as_one_is(outcome: Outcome) -> None:
    sending, there = Sending(chances(1)), kept(*"abcde")
    assert tried(sending, there, outcome, 2) == "ed"
    assert tried(sending, there, {}, 5) == "cedba"


def test_a_backlog_that_never_empties_sends_the_best_after_an_outage() -> None:
    sending, there = Sending(chances(1)), kept(*"abcdefgh")
    assert tried(sending, there, Outcome("Forbidden"), 4) == "hgfe"
    order = ""
    for new in "ABCDE":  # worth less than all others
        order += tried(sending, there, {}, 1)
        there.insert(0, Kept(new, 10))
    assert order == "dhgfe"


def test_those_that_are_refused_again_and_again_wait_until_all_others_were_tried() -> None:
    sending, there = Sending(chances(1)), kept(*"abcdefg")
    never = dict.fromkeys("gf", Outcome("Failed"))
    assert tried(sending, there, never, 11) == "gfegfdgfcba", "each has three tries"
    assert tried(sending, there, never, 4) == "gfgf"


@pytest.mark.parametrize("reason", ["Failed", "SlowDown", "Full"])
def test_however_many_are_never_taken_they_keep_no_other_back(reason: Reason) -> None:
    never = [f"z{number}" for number in range(100)]
    sending, there = Sending(chances(1)), kept("a", "b", *never)
    tried(sending, there, dict.fromkeys(never, Outcome(reason)), 3 * len(never) + 2)
    assert [one.name for one in there] == never


def test_what_is_known_of_refusals_is_bounded_and_the_newest_is_known() -> None:
    sending = Sending(chances(1))
    for one in (gone := kept(*(f"y{number}" for number in range(3000)))):
        sending.after(one, Outcome("Failed"))
    assert len(sending.refused) == len(sending.passed) == 1024
    assert tried(sending, [*kept("a"), gone[0]], Outcome("Failed"), 2) == "y0a", "one of many keeps no other back"
    (oldest, next_oldest, *_) = [Kept(name, 10) for name in sending.refused]
    sending.after(oldest, Outcome("Failed"))
    sending.after(Kept("new", 10), Outcome("Failed"))
    assert oldest.name in sending.passed, "it was refused again"
    assert next_oldest.name not in sending.passed
    sending.after(oldest, Outcome("Sent"))
    assert oldest.name not in sending.refused


def test_once_all_were_tried_no_refusal_counts_any_more() -> None:
    sending, there = Sending(chances(1)), kept(*"abc")
    assert tried(sending, there, Outcome("Failed"), 10) == "cbacbacbac"
    there.insert(0, Kept("A", 10))
    assert tried(sending, there, {}, 4) == "bcaA"


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
