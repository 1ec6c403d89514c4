"""Frames out of bytes: however they come cut, whatever is wrong with them."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesmith_runtime.http2.frames import Code, Violation
from edgesmith_runtime.http2.hpack import encode
from edgesmith_runtime.http2.reader import MOST_FRAME, FrameReader
from tests.runtime.http2 import DATA, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame

PRIORITY, PUSH, WINDOW, CONTINUATION, UNKNOWN = 2, 5, 8, 9, 77
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 1, 4, 8, 32
PLENTY = 10**6
"""Work that no test comes to."""
FIELDS = [(b":method", b"POST"), (b":path", b"/a"), (b"x", b"y" * 300)]
BLOCK = encode(FIELDS)


@dataclass
class Told:
    """A receiver that writes down what it is told, and gives large pieces a place."""

    events: list[Any] = field(default_factory=list)
    bodies: dict[int, bytearray] = field(default_factory=dict)
    direct: int = 0

    def headers(self, stream: int, fields: Any, *, begins: bool, ends: bool) -> None:
        self.events.append(("headers", stream, fields, begins, ends))

    def data_begins(self, stream: int, length: int) -> None:
        self.events.append(("data", stream, length))

    def data(self, stream: int, piece: memoryview) -> int:
        self.bodies.setdefault(stream, bytearray()).extend(piece)
        return 0

    def place(self, stream: int, length: int) -> memoryview | None:
        if stream not in self.bodies:
            return None
        self._place = memoryview(bytearray(min(length, 10_000)))
        return self._place

    def placed(self, stream: int, count: int) -> None:
        self.direct += count
        self.bodies[stream].extend(self._place[:count])

    def data_ends(self, stream: int) -> None:
        self.events.append(("end", stream, bytes(self.bodies.pop(stream, b""))))

    def reset(self, stream: int) -> None:
        self.events.append(("reset", stream))

    def settings(self, values: dict[int, int]) -> None:
        self.events.append(("settings", values))

    def ping(self, payload: bytes, *, answer: bool) -> None:
        self.events.append(("ping", payload, answer))

    def window(self, stream: int, increment: int) -> None:
        self.events.append(("window", stream, increment))


START = PREFACE + frame(SETTINGS, 0, 0, b"")
CALL = frame(HEADERS, END_HEADERS, 1, BLOCK)


def read(sent: bytes, sizes: list[int]) -> Told:
    told = Told()
    reader = FrameReader(told, told, memoryview(bytearray(65536)))
    index = 0
    while sent:
        place = reader.buffer()
        count = min(len(sent), len(place), sizes[index % len(sizes)])
        place[:count] = sent[:count]
        sent = sent[count:]
        reader.received(count, PLENTY)
        index += 1
    assert not reader.unfinished
    return told


LARGE = random.Random(1).randbytes(60_000)  # noqa: S311 - a test that repeats itself
CONVERSATION = (
    PREFACE
    + frame(SETTINGS, 0, 0, struct.pack(">HIHI", 4, 70_000, 99, 1))
    + frame(SETTINGS, 1, 0, b"")
    + frame(HEADERS, 0, 1, BLOCK[:7])
    + frame(CONTINUATION, 0, 1, BLOCK[7:100])
    + frame(CONTINUATION, END_HEADERS, 1, BLOCK[100:])
    + frame(UNKNOWN, 255, 1, b"whatever")
    + frame(DATA, 0, 1, b"abc")
    + frame(PRIORITY, 0, 7, bytes(5))
    + frame(HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, 3, b"\x03" + bytes(5) + BLOCK + bytes(3))
    + frame(DATA, PADDED, 3, b"\x09" + LARGE + bytes(9))
    + frame(PING, 0, 0, b"12345678")
    + frame(DATA, 0, 1, LARGE)
    + frame(DATA, PADDED, 1, b"\x02\0\0")
    + frame(DATA, END_STREAM, 1, b"")
    + frame(WINDOW, 0, 3, struct.pack(">I", 2**31 + 5))
    + frame(GOAWAY, 0, 0, bytes(8))
    + frame(DATA, PADDED | END_STREAM, 3, b"\x00de")
    + frame(HEADERS, END_HEADERS | END_STREAM, 5, BLOCK)
    + frame(HEADERS, END_HEADERS | END_STREAM, 3, BLOCK)
    + frame(RST_STREAM, 0, 5, bytes(4))
)
EXPECTED = [
    ("settings", {4: 70_000, 99: 1}),
    ("headers", 1, FIELDS, True, False),
    ("data", 1, 3),
    ("headers", 3, FIELDS, True, False),
    ("data", 3, 60_010),
    ("ping", b"12345678", False),
    ("data", 1, 60_000),
    ("data", 1, 3),
    ("data", 1, 0),
    ("end", 1, b"abc" + LARGE),
    ("window", 3, 5),
    ("data", 3, 3),
    ("end", 3, LARGE + b"de"),
    ("headers", 5, FIELDS, True, True),
    ("headers", 3, FIELDS, False, True),
    ("reset", 5),
]


@pytest.mark.parametrize("size", [1, 9, 10, 8191, 8192, 65536])
def test_a_conversation_is_the_same_however_it_is_cut(size: int) -> None:
    assert read(CONVERSATION, [size]).events == EXPECTED


@given(st.lists(st.integers(50, 70_000), min_size=1, max_size=8))
def test_a_conversation_is_the_same_however_unevenly_it_is_cut(sizes: list[int]) -> None:
    assert read(CONVERSATION, sizes).events == EXPECTED


def test_large_messages_are_received_in_their_place() -> None:
    assert read(CONVERSATION, [20_000]).direct == 80_000


WRONG = {
    "no HTTP/2": (b"GET / HTTP/1.1\r\n\r\n", Code.PROTOCOL_ERROR),
    "a preface that goes astray": (PREFACE[:20] + b"\r\n\r\r", Code.PROTOCOL_ERROR),
    "no settings first": (PREFACE + frame(PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
    "settings on a stream": (PREFACE + frame(SETTINGS, 0, 1, b""), Code.PROTOCOL_ERROR),
    "settings cut short": (PREFACE + frame(SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
    "an acknowledgement with settings": (START + frame(SETTINGS, 1, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "a window beyond all": (START + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)), Code.FLOW_CONTROL_ERROR),
    "a setting twice, and wrong at first": (
        START + frame(SETTINGS, 0, 0, struct.pack(">HIHI", 4, 2**31, 4, 9)),
        Code.FLOW_CONTROL_ERROR,
    ),
    "frames too short": (START + frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 100)), Code.PROTOCOL_ERROR),
    "frames too long": (START + frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 2**24)), Code.PROTOCOL_ERROR),
    "push of 2": (START + frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2)), Code.PROTOCOL_ERROR),
    "many settings": (START + frame(SETTINGS, 0, 0, bytes(6 * 1000)), Code.FRAME_SIZE_ERROR),
    "a push": (START + frame(PUSH, END_HEADERS, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "a ping of 7 bytes": (START + frame(PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "a ping on a stream": (START + frame(PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "a window of 3 bytes": (START + frame(WINDOW, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
    "a window of no stream yet": (START + frame(WINDOW, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "a reset of 5 bytes": (START + CALL + frame(RST_STREAM, 0, 1, bytes(5)), Code.FRAME_SIZE_ERROR),
    "a reset of the connection": (START + frame(RST_STREAM, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
    "a reset of no stream yet": (START + frame(RST_STREAM, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "a priority of 4 bytes": (START + frame(PRIORITY, 0, 1, bytes(4)), Code.FRAME_SIZE_ERROR),
    "data of the connection": (START + frame(DATA, 0, 0, b"a"), Code.PROTOCOL_ERROR),
    "data of no stream yet": (START + frame(DATA, 0, 1, b"a"), Code.PROTOCOL_ERROR),
    "data of a server's stream": (START + CALL + frame(DATA, 0, 0, b"a"), Code.PROTOCOL_ERROR),
    "padding beyond the end": (START + CALL + frame(DATA, PADDED, 1, b"\x02a"), Code.PROTOCOL_ERROR),
    "data over the longest": (START + CALL + frame(DATA, 0, 1, bytes(MOST_FRAME + 1)), Code.FRAME_SIZE_ERROR),
    "headers of the connection": (START + frame(HEADERS, END_HEADERS, 0, BLOCK), Code.PROTOCOL_ERROR),
    "headers of an even stream": (START + frame(HEADERS, END_HEADERS, 2, BLOCK), Code.PROTOCOL_ERROR),
    "headers padded away": (START + frame(HEADERS, END_HEADERS | PADDED, 1, b"\x05ab"), Code.PROTOCOL_ERROR),
    "padded headers of nothing": (START + frame(HEADERS, END_HEADERS | PADDED, 1, b""), Code.PROTOCOL_ERROR),
    "headers without a priority": (START + frame(HEADERS, END_HEADERS | 32, 1, b"abc"), Code.PROTOCOL_ERROR),
    "no block": (START + frame(HEADERS, END_HEADERS, 1, b"\x80"), Code.COMPRESSION_ERROR),
    "long headers": (START + frame(HEADERS, END_HEADERS, 1, bytes(20_000)), Code.ENHANCE_YOUR_CALM),
    "a rest of nothing": (START + frame(CONTINUATION, END_HEADERS, 1, BLOCK), Code.PROTOCOL_ERROR),
    "a frame within headers": (START + frame(HEADERS, 0, 1, BLOCK) + frame(PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
    "another stream's rest": (
        START + frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, END_HEADERS, 3, b""),
        Code.PROTOCOL_ERROR,
    ),
    "headers that go on with nothing": (
        START + frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1, b""),
        Code.ENHANCE_YOUR_CALM,
    ),
    "headers without an end": (
        START + frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1, bytes(10_000)) * 2,
        Code.ENHANCE_YOUR_CALM,
    ),
}


@pytest.mark.parametrize(("sent", "code"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("size", [7, 65536])
def test_what_breaks_a_rule_ends_the_connection(sent: bytes, code: Code, size: int) -> None:
    with pytest.raises(Violation) as caught:
        read(sent, [size])
    assert caught.value.code is code


def test_bytes_gone_wrong_break_a_rule_or_mean_something_else() -> None:
    rng = random.Random(36)  # noqa: S311 - a test that repeats itself
    short = CONVERSATION.replace(LARGE, LARGE[:100]).replace(struct.pack(">I", 60_000)[1:], struct.pack(">I", 100)[1:])
    for _ in range(3000):
        sent = bytearray(short)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(PREFACE), len(sent))
            match rng.randrange(3):
                case 0:
                    sent[at] = rng.randrange(256)
                case 1:
                    del sent[at : at + rng.randint(1, 20)]
                case _:
                    sent[at:at] = rng.randbytes(rng.randint(1, 20))
        told = Told()
        reader = FrameReader(told, told, memoryview(bytearray(65536)))
        data = bytes(sent)
        try:
            while data:
                place = reader.buffer()
                count = min(len(data), len(place), rng.randint(1, 500))
                place[:count] = data[:count]
                data = data[count:]
                reader.received(count, PLENTY)
        except Violation:
            continue
        assert len(reader._held) <= MOST_FRAME


@pytest.mark.parametrize(("length", "work"), [(0, 3), (8191, 3), (8192, 0)])
def test_short_data_are_work_and_long_ones_are_not(length: int, work: int) -> None:
    told = Told()
    reader = FrameReader(told, told, memoryview(bytearray(65536)))
    for sent, done in ((START + CALL, 3), (frame(DATA, 0, 1, bytes(length)) * 3, work)):
        place = reader.buffer()
        place[: len(sent)] = sent
        assert reader.received(len(sent), PLENTY) == done
