"""How slow a client may be, as far as it can be told without one: its pace, and what its program has read."""

from __future__ import annotations

import struct

import pytest

from edgesmith_runtime.http.pace import Pace
from edgesmith_runtime.http2.marks import Marks

RATE, SECONDS, ANSWER = 4096, 60.0, 20.0
SPACING = int(RATE * SECONDS)

TAKES = {
    "nothing": ([], 60),
    "a byte at a time": ([(at, 1) for at in range(1, 200)], 60),
    "nearly enough": ([(59, SPACING - 1)], 60),
    "enough once": ([(59, SPACING)], 119),
    "much at first": ([(1, 100 * SPACING)], 61),
    "enough each time": ([(at, SPACING) for at in range(50, 100_000, 50)], 99_950 + 60),
    "enough, in small pieces": ([(at, RATE) for at in range(1, 600)], 600),
}


@pytest.mark.parametrize(("takes", "ends"), TAKES.values(), ids=TAKES.keys())
def test_a_client_is_late_once_it_takes_too_little(takes: list[tuple[int, int]], ends: int) -> None:
    pace, taken, coming = Pace(RATE, SECONDS), 0, dict(takes)
    assert not pace.late(0, 0)
    for now in range(1, ends):
        taken += coming.get(now, 0)
        assert not pace.late(taken, now), now
    assert pace.late(taken + coming.get(ends, 0), ends)


def test_what_waits_anew_has_all_of_its_time() -> None:
    pace = Pace(RATE, SECONDS)
    assert not pace.waits
    assert not pace.late(0, 0)
    assert pace.waits
    pace.rest()
    pace.put_off(5, 5)
    assert not pace.waits
    assert not pace.late(0, 100)
    assert not pace.late(0, 159)
    assert pace.late(0, 160)


@pytest.mark.parametrize(("away", "ended", "until"), [(30, 50, 90), (0, 50, 60), (500, 550, 560), (10**6, 30, 90)])
def test_a_time_that_was_not_the_clients_own_is_left_out(away: float, ended: float, until: float) -> None:
    pace = Pace(RATE, SECONDS)
    pace.late(0, 0)
    pace.put_off(away, ended)
    assert not pace.late(0, until - 1)
    assert pace.late(0, until)


def marks() -> Marks:
    return Marks(RATE, SECONDS, ANSWER, 0)


def place(ping: bytes) -> int:
    assert ping[:9] == b"\0\0\x08\x06\0\0\0\0\0", "a PING on the connection that is no answer"
    return int.from_bytes(ping[9:], "big")


def test_a_ping_follows_what_the_slowest_client_reads_in_its_time_and_says_where_it_stands() -> None:
    found = marks()
    assert found.room == SPACING
    assert not found.sent(SPACING - 1, 1)
    assert not found.asked
    assert place(found.sent(1, 2)) == SPACING
    assert found.asked
    assert found.room == SPACING
    assert place(found.sent(found.room, 3)) == 2 * SPACING
    found.sent(1000, 4)
    assert place(found.ask(5)) == 2 * SPACING + 1000
    assert found.room == SPACING, "one that is sent for another reason counts, too"


def test_a_client_that_reads_as_slowly_as_it_may_is_never_late_and_one_that_stops_soon_is() -> None:
    found = marks()
    sent = [place(found.sent(found.room, 0)) for _ in range(26)]
    for number, ping in enumerate(sent, start=1):
        now = number * SECONDS
        assert not found.late(now)
        found.came(now)
        found.answered(struct.pack(">Q", ping))
    found.sent(found.room, now)
    assert not found.late(now + SECONDS + ANSWER)
    assert found.late(now + SECONDS + ANSWER + 1)


HELD = {
    "nothing": (0, 61, 61 + ANSWER),
    "little, for long": (4096, 61, 61 + ANSWER),
    "as much as goes before a ping, for long": (SPACING - 1, 61, 61 + ANSWER),
    "as much, asked at once": (SPACING - 1, 0, SECONDS + ANSWER),
    "half of it, asked at once": (SPACING // 2, 0, SECONDS / 2 + ANSWER),
    "far more": (50 * SPACING, 0, SECONDS + ANSWER),
}


@pytest.mark.parametrize(("held", "asked", "ends"), HELD.values(), ids=HELD.keys())
def test_a_hung_client_has_the_time_to_read_up_to_the_question_and_to_answer(
    held: int, asked: float, ends: float
) -> None:
    found = marks()
    while held:
        some = min(held, found.room)
        found.sent(some, 0)
        held -= some
    found.ask(asked)
    found.sent(5, ends - 1)
    found.under_way(ends - 1)
    assert not found.late(ends - 0.1), "what is sent after the question puts nothing off"
    assert found.late(ends + 0.1)


def test_whoever_is_not_asked_is_never_late_and_what_arrives_late_has_its_time() -> None:
    found = marks()
    found.sent(SPACING - 1, 0)
    assert not found.late(10**9)
    found.under_way(500)
    found.ask(501)
    assert not found.late(500 + SECONDS + ANSWER - 1)
    assert found.late(500 + SECONDS + ANSWER + 1)


def test_a_sign_of_life_gives_the_time_anew_and_proves_nothing_of_what_is_read() -> None:
    found = marks()
    found.sent(found.room, 0)
    found.came(70)
    assert found.heard == 70
    assert not found.asked
    found.ask(71)
    assert not found.late(70 + SECONDS + ANSWER - 1)
    assert found.late(70 + SECONDS + ANSWER + 1)


@pytest.mark.parametrize("told", [0, SPACING, 2**64 - 1])
def test_an_answer_that_is_made_up_takes_nothing_back_and_reads_nothing_ahead(told: int) -> None:
    found = marks()
    found.sent(found.room, 0)
    found.answered(struct.pack(">Q", SPACING))
    found.answered(struct.pack(">Q", told))
    found.came(1)
    found.sent(SPACING // 2, 1)
    found.ask(1)
    assert not found.late(1 + SECONDS / 2 + ANSWER - 0.1)
    assert found.late(1 + SECONDS / 2 + ANSWER + 0.1)


def test_a_time_in_which_nothing_was_read_of_it_is_left_out() -> None:
    found = marks()
    found.sent(found.room, 0)
    found.put_off(1000, 1010)
    assert found.heard == 1000
    assert not found.late(1000 + SECONDS + ANSWER - 1)
    assert found.late(1000 + SECONDS + ANSWER + 1)
    found.put_off(10**6, 1010)
    assert found.heard == 1010, "not beyond now"
    assert found.late(1010 + SECONDS + ANSWER + 1)
