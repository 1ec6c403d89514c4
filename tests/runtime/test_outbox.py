"""Answers on their way: never more than a client takes, all of it in the end, in its order."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from edgesmith_runtime.http.limits import Budget, Limits
from edgesmith_runtime.http2.frames import Violation
from edgesmith_runtime.http2.marks import Marks
from edgesmith_runtime.http2.outbox import Outbox
from tests.runtime.http2 import DATA, HEADERS, PING, frame

if TYPE_CHECKING:
    from collections.abc import Sequence

PEER = b"\x7f\0\0\1"
LIMITS = Limits(rate=1000, unread=60.0)


class Client:
    """Takes frames apart and holds them against the windows that it gave."""

    def __init__(self) -> None:
        self.budget = Budget(10**9, 10**9)
        self.marks = Marks(LIMITS.rate, LIMITS.unread, 20.0, 0.0)
        self.outbox = Outbox(self.write, self.ended, self.marks, limits=LIMITS, budget=self.budget, peer=PEER)
        self.window, self.first, self.longest = 65_535, 65_535, 16_384
        self.windows: dict[int, int] = {}
        self.got: dict[int, bytes] = {}
        self.over: list[int] = []
        self.told: list[int] = []
        self.places: list[int] = []

    def open(self, stream: int) -> None:
        self.outbox.open(stream)
        self.windows[stream], self.got[stream] = self.first, b""

    def ended(self, stream: int) -> None:
        assert stream in self.over, "an end is told when it has been written"
        self.told.append(stream)

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        assert not self.outbox.paused or all(not part or part[3] != DATA for part in parts)
        data = b"".join(parts)
        while data:
            length, kind, stream = int.from_bytes(data[:3], "big"), data[3], int.from_bytes(data[5:9], "big")
            payload, data = data[9 : 9 + length], data[9 + length :]
            assert len(payload) == length
            assert stream not in self.over
            if kind == DATA:
                assert length <= self.longest
                self.window -= length
                self.windows[stream] -= length
                assert self.window >= 0
                assert self.windows[stream] >= 0
                self.got[stream] += payload
            elif kind == PING:
                self.places.append(int.from_bytes(payload, "big"))
                assert self.places[-1] == sum(map(len, self.got.values()))
            elif payload == b"end":
                self.over.append(stream)


def test_everything_arrives_in_order_and_within_the_windows() -> None:
    rng = random.Random(9)  # noqa: S311 - a test that repeats itself
    for _ in range(60):
        client = Client()
        sent: dict[int, bytes] = {}
        for stream in (1, 3, 5):
            client.open(stream)
            sent[stream] = b""
        todo = [(stream, step) for stream in sent for step in range(rng.randint(1, 5))]
        rng.shuffle(todo)
        last = {stream: max(at for at, (other, _) in enumerate(todo) if other == stream) for stream in sent}
        for at, (stream, _) in enumerate(todo):
            parts = [rng.randbytes(rng.choice((0, 5, 100, 30_000, 200_000))) for _ in range(rng.randint(0, 3))]
            sent[stream] += b"".join(parts)
            end = frame(HEADERS, 5, stream, b"end") if at == last[stream] else None
            client.outbox.send(stream, frame(HEADERS, 4, stream, b"begin"), parts, end)
            disturb(client, rng)
        client.outbox.paused = False
        client.outbox.flush()
        while len(client.told) < 3:
            for stream in (0, 1, 3, 5):
                grow(client, stream, 100_000)
        assert client.got == sent
        assert sorted(client.told) == sorted(client.over) == [1, 3, 5]
        assert client.budget.left == 10**9


def grow(client: Client, stream: int, more: int) -> None:
    if not stream:
        client.window += more
    else:
        client.windows[stream] += more
    assert client.outbox.grow(stream, more)


def disturb(client: Client, rng: random.Random) -> None:
    match rng.randrange(4):
        case 0:
            grow(client, rng.choice((0, 1, 3, 5)), rng.choice((1, 100, 50_000)))
        case 1:
            first = rng.choice((0, 10, 65_535, 1_000_000))
            more, client.first = first - client.first, first
            client.longest = rng.choice((16_384, 2**20))
            for stream in client.windows:
                client.windows[stream] += more
            client.outbox.settings({4: first, 5: client.longest})
        case 2:
            client.outbox.paused = not client.outbox.paused
            if not client.outbox.paused:
                client.outbox.flush()


def test_what_is_forgotten_gives_its_memory_back_and_is_sent_no_further() -> None:
    client = Client()
    client.open(1)
    client.outbox.send(1, b"", [bytes(100_000)], None)
    assert client.outbox.waiting(1) == 100_000 - 65_535
    assert client.outbox.stuck(1, 10**9) > 0
    client.outbox.close(1)
    assert client.budget.left == 10**9
    before = len(client.got[1])
    assert client.outbox.grow(1, 1000)
    assert client.outbox.grow(0, 1000)
    assert len(client.got[1]) == before
    assert (client.outbox.waiting(1), client.outbox.stuck(1, 10**9)) == (0, 0.0)


def test_an_answer_counts_as_a_whole_until_the_last_of_it_is_sent() -> None:
    client = Client()
    client.open(1)
    client.outbox.send(1, b"", [b"12345", bytes(100_000)], None)
    grow(client, 0, 10**6)
    grow(client, 1, 100_005 - 65_535 - 1)
    assert client.outbox.waiting(1) == 1
    assert client.budget.left == 10**9 - 100_000, "it is in memory"
    grow(client, 1, 1)
    assert client.budget.left == 10**9


def test_no_frame_is_longer_than_what_may_stand_before_the_next_ping() -> None:
    client = Client()
    client.open(1)
    client.outbox.settings({4: 10**6, 5: 2**20})
    client.outbox.grow(0, 10**6)
    client.window, client.windows[1], client.longest = 10**6 + 65_535, 10**6, int(LIMITS.rate * LIMITS.unread)
    for size in (59_999, 2, 200_000, 50_000):
        client.outbox.send(1, b"", [bytes(size)], None)
    assert client.places == [60_000 * number for number in range(1, 6)]


@pytest.mark.parametrize("more", [0, 2**31 - 1])
def test_a_window_that_grows_by_nothing_or_beyond_all_is_wrong(more: int) -> None:
    client = Client()
    client.open(1)
    assert not client.outbox.grow(1, more)
    with pytest.raises(Violation):
        client.outbox.grow(0, more)


def test_settings_that_grow_a_window_beyond_all_are_wrong() -> None:
    client = Client()
    client.open(1)
    client.outbox.grow(1, 2**31 - 1 - 65_535)
    with pytest.raises(Violation):
        client.outbox.settings({4: 65_536})


def two_that_wait() -> Client:
    """Two long answers: the first one took all the room that the connection had."""
    client = Client()
    for stream in (1, 3):
        client.open(stream)
        client.outbox.send(stream, b"", [bytes(10**6)], None)
    return client


def test_room_for_another_stream_is_as_good_where_the_connection_has_none() -> None:
    client = two_that_wait()
    grow(client, 1, 10**6)
    assert not client.outbox.late(3, 0)
    grow(client, 0, 60_000)
    assert not client.outbox.late(3, 60)
    assert client.outbox.late(3, 120)


def test_room_for_another_stream_is_of_no_use_to_one_that_has_none() -> None:
    client = two_that_wait()
    grow(client, 0, 10**7)
    assert not client.outbox.late(3, 0)
    grow(client, 1, 500_000)
    assert client.outbox.late(3, 60)
