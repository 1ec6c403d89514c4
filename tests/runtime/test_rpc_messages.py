"""A call's messages put together: however they come cut, in the memory that they may have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesmith_runtime.codec.wire import prefix
from edgesmith_runtime.errors import BadRequest, TooLarge, Unavailable
from edgesmith_runtime.http.limits import Budget
from edgesmith_runtime.rpc.message import Message, MessageReader

PEER = b"\x7f\0\0\1"
TOTAL = 10**8
MANY = 1000


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


def feed(reader: MessageReader, sent: bytes, sizes: list[int], *, direct: bool) -> list[Message]:
    """Give a reader bytes as a connection does, into their place where they have one."""
    found: list[Message] = []
    index = 0
    while sent:
        size = min(len(sent), sizes[index % len(sizes)])
        index += 1
        place = reader.place(size) if direct else None
        if place is None or not len(place):
            found += reader.take(memoryview(sent[:size]), MANY)
        else:
            size = len(place)
            place[:] = sent[:size]
            if (message := reader.placed(size)) is not None:
                found.append(message)
        sent = sent[size:]
    return found


@given(
    st.lists(st.integers(0, 300) | st.integers(4000, 700_000), max_size=4),
    st.lists(st.integers(1, 300_000), min_size=1, max_size=5),
    st.booleans(),
)
def test_messages_are_the_same_however_they_are_cut(lengths: list[int], sizes: list[int], direct: bool) -> None:  # noqa: FBT001
    few = 700_000 if max(sizes) > 1000 else 2000
    messages = [bytes([number + 1]) * min(length, few) for number, length in enumerate(lengths)]
    budget = Budget(TOTAL, TOTAL)
    reader = MessageReader(budget, PEER, 10**6)
    found = feed(reader, b"".join(map(framed, messages)), sizes, direct=direct)
    assert [bytes(message.data) for message in found] == messages
    assert not reader.begun
    for message in found:
        assert message.reserved == len(message.data)
        budget.release(PEER, message.reserved)
    assert budget.left == TOTAL


@pytest.mark.parametrize("name", ["x", "input", "a name of thirteen"])
def test_a_tensor_lies_where_the_engine_likes_it(name: str) -> None:
    start = prefix(1, len(name)) + name.encode() + b"\x18\x05"
    message = start + prefix(7, 600_000) + bytes(600_000)
    (found,) = feed(MessageReader(Budget(TOTAL, TOTAL), PEER, 10**6), framed(message), [60_000], direct=True)
    assert np.frombuffer(found.data, np.uint8)[-600_000:].ctypes.data % 64 == 0


def test_a_message_is_reserved_as_it_comes_and_dropped_whole() -> None:
    budget = Budget(TOTAL, TOTAL)
    reader = MessageReader(budget, PEER, 10**7)
    assert not feed(reader, framed(bytes(5_000_000))[:1_000_000], [100_000], direct=True)
    assert 1_000_000 <= TOTAL - budget.left < 5_000_000
    assert reader.begun
    reader.drop()
    assert budget.left == TOTAL
    assert not reader.begun


def test_what_no_message_begins_with_is_refused() -> None:
    with pytest.raises(BadRequest, match="begins with 2; expected 0, or 1"):
        MessageReader(Budget(9, 9), PEER, 9).take(memoryview(framed(b"", 2)), MANY)
    with pytest.raises(TooLarge, match="has 10 bytes; expected at most 9"):
        MessageReader(Budget(9, 9), PEER, 9).take(memoryview(framed(bytes(10))[:5]), MANY)
    with pytest.raises(Unavailable, match="too many bytes"):
        MessageReader(Budget(9, 9), PEER, 99).take(memoryview(framed(bytes(10))), MANY)


@pytest.mark.parametrize(
    ("bad", "total"), [(framed(b"", 2), TOTAL), (framed(bytes(10**6)), TOTAL), (framed(bytes(100)), 250)]
)
def test_messages_before_one_that_is_refused_hold_nothing(bad: bytes, total: int) -> None:
    budget = Budget(total, total)
    reader = MessageReader(budget, PEER, 1000)
    with pytest.raises((BadRequest, TooLarge, Unavailable)):
        reader.take(memoryview(framed(bytes(100)) * 2 + bad), MANY)
    reader.drop()
    assert budget.left == total


def test_no_more_messages_are_looked_for_than_may_wait() -> None:
    reader = MessageReader(Budget(TOTAL, TOTAL), PEER, 10)
    assert len(reader.take(memoryview(framed(b"") * 10), 3)) == 3
