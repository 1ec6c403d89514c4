"""Requests out of bytes, however they are cut: what is passed on is whole, and bytes alone buy no time and no room."""

from __future__ import annotations

import itertools
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesmith_runtime.http.limits import MEBIBYTE, Budget, Limits, peer_of
from edgesmith_runtime.http.messages import Response, response_head
from edgesmith_runtime.http.reader import Phase, RequestReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgesmith_runtime.http.messages import Request

PEER = b"peer"
GET = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = (
    b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
)
BODIES = {
    "length": b"Content-Length: 24\r\n\r\nGET /smuggled HTTP/1.1\r\n",
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nGET /\r\n13\r\nsmuggled HTTP/1.1\r\n\r\n0\r\nTrailer: a\r\n\r\n",
    "nothing": b"\r\n",
}


def reader_of(limits: Limits | None = None, budget: Budget | None = None) -> RequestReader:
    limits = limits or Limits()
    scratch = memoryview(bytearray(b"what another client sent" * 3000))
    return RequestReader(limits, budget or Budget(limits.bodies, limits.share), PEER, scratch)


def feed(reader: RequestReader, *pieces: bytes) -> None:
    for piece in pieces:
        left = memoryview(piece)
        while left:
            buffer = reader.buffer()
            count = min(len(buffer), len(left))
            buffer[:count] = left[:count]
            reader.received(count)
            left = left[count:]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def seen(request: Request) -> tuple[str, str, bytes]:
    return request.method, request.path, bytes(request.body)


@pytest.mark.parametrize("framing", BODIES)
@pytest.mark.parametrize("first", [b"", UPGRADE], ids=["plain", "upgrade"])
def test_a_body_is_whole_however_it_is_cut(framing: str, first: bytes) -> None:
    head = b"POST /asked HTTP/1.1\r\n" + (first or b"Host: a\r\n")
    data = head + BODIES[framing] + GET
    body = b"" if framing == "nothing" else b"GET /smuggled HTTP/1.1\r\n"
    for place in range(len(data) + 1):
        reader = reader_of()
        feed(reader, *cut(data, [place]))
        assert [seen(request) for request in reader.requests] == [("POST", "/asked", body), ("GET", "/next", b"")], (
            place
        )
        assert reader.refusal is None


@given(st.lists(st.sampled_from(sorted(BODIES)), min_size=1, max_size=6), st.data())
@settings(max_examples=100)
def test_pipelined_upgrades_are_whole_however_they_are_cut(framings: list[str], draw: st.DataObject) -> None:
    data = b"".join(b"POST /asked HTTP/1.1\r\n" + UPGRADE + BODIES[framing] for framing in framings)
    places = draw.draw(st.sets(st.integers(0, len(data)), max_size=12))
    reader = reader_of()
    feed(reader, *cut(data, places))
    wanted = [b"" if framing == "nothing" else b"GET /smuggled HTTP/1.1\r\n" for framing in framings]
    assert [bytes(request.body) for request in reader.requests] == wanted


@pytest.mark.parametrize("first", [b"Host: a\r\n", UPGRADE], ids=["plain", "upgrade"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_no_request_is_passed_on_before_its_body(first: bytes, framing: str) -> None:
    data = b"POST /asked HTTP/1.1\r\n" + first + BODIES[framing]
    for end in range(len(data)):
        reader = reader_of()
        feed(reader, data[:end])
        assert not reader.requests, end
        reader.drop()
        assert not reader.requests


def test_upgrades_without_end_need_no_stack() -> None:
    reader = reader_of(Limits(waiting=2000))
    one = b"GET / HTTP/1.1\r\nHost:\r\nConnection:upgrade\r\nUpgrade:a\r\n\r\n"
    feed(reader, b"POST / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n0", b"\r\n\r\n" + one * 1120)
    assert len(reader.requests) == 1121


def test_few_requests_wait_in_memory_however_many_come_at_once() -> None:
    reader = reader_of()
    assert len(reader.buffer()) <= 4096
    feed(reader, b"POST / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n0", b"\r\n\r\n" + GET * 1000)
    assert len(reader.requests) == 256
    assert reader.refusal is not None
    assert reader.refusal.status == 503
    assert len(reader.buffer()) <= 4096


def test_an_upgraded_body_is_bounded_too() -> None:
    reader = reader_of(Limits(body=10))
    feed(reader, b"POST / HTTP/1.1\r\n" + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n")
    assert reader.refusal is not None
    assert reader.refusal.status == 413
    assert not reader.requests


@pytest.mark.parametrize("length", [1, 100, 5 * MEBIBYTE])
@pytest.mark.parametrize("head", range(0, 130, 7))
def test_tensors_behind_the_json_are_aligned(head: int, length: int) -> None:
    reader = reader_of()
    head = min(head, length)
    text = f"POST / HTTP/1.1\r\nHost: a\r\nInference-Header-Content-Length: {head}\r\nContent-Length: {length}\r\n\r\n"
    feed(reader, text.encode(), bytes(length))
    body = np.frombuffer(reader.requests[0].body, np.uint8)
    assert (body.ctypes.data + head) % 64 == 0


def test_bytes_alone_buy_no_time() -> None:
    limits = Limits(stall=2.0, rate=50)
    reader = reader_of(limits)
    idle = reader.deadline
    feed(reader, *[b"\r\n"] * 20)
    assert reader.deadline == idle, "blank lines are no request"
    feed(reader, b"P")
    head = reader.deadline
    assert head < time.monotonic() + limits.head_time
    text = b"OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
    feed(reader, *cut(text, range(1, len(text))))
    assert (reader.phase, reader.deadline) == (Phase.HEAD, head), "a dripped header must not put its deadline off"
    feed(reader, b"\r\n")
    body = reader.deadline
    assert reader.phase is Phase.BODY
    feed(reader, *[b"."] * 99)
    assert reader.deadline == body, "a dripped body must not put its deadline off"
    feed(reader, b".")
    again = reader.deadline
    assert again > body, "100 bytes in 2 seconds are fast enough"
    feed(reader, *[b"."] * 99)
    assert reader.deadline == again, "the next 100 bytes count anew"


def test_chunk_headers_and_trailers_buy_no_time() -> None:
    reader = reader_of()
    feed(reader, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    body = reader.deadline
    feed(reader, *[b"1\r\n.\r\n"] * 20, b"0\r\n", *[b"Trailer: a\r\n"] * 20)
    assert (reader.phase, reader.deadline) == (Phase.BODY, body)


def test_memory_is_reserved_as_it_comes() -> None:
    budget = Budget(256 * MEBIBYTE, 128 * MEBIBYTE)
    readers = [reader_of(budget=budget) for _ in range(8)]
    for reader in readers:
        feed(reader, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n")
    assert budget.left == 256 * MEBIBYTE, "what was only announced takes nothing"
    for reader in readers:
        feed(reader, b"{")
    assert budget.left >= 240 * MEBIBYTE
    feed(readers[0], bytes(10 * MEBIBYTE))
    assert 228 * MEBIBYTE <= budget.left <= 230 * MEBIBYTE
    for reader in readers:
        reader.drop()
    assert budget.left == 256 * MEBIBYTE


@pytest.mark.parametrize("framing", ["Content-Length: 3000000", "Transfer-Encoding: chunked"])
def test_a_body_beyond_the_budget_is_refused_where_it_is(framing: str) -> None:
    budget = Budget(2 * MEBIBYTE, 2 * MEBIBYTE)
    reader = reader_of(budget=budget)
    feed(reader, f"POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode())
    feed(reader, b"2dc6c0\r\n" if "chunked" in framing else b"", bytes(2_500_000))
    assert reader.refusal is not None
    assert reader.refusal.status == 503
    assert (budget.left, len(reader.requests)) == (2 * MEBIBYTE, 0)


def test_a_peer_holds_its_share_and_no_more() -> None:
    budget = Budget(100, 50)
    assert budget.reserve(b"a", 50)
    assert not budget.reserve(b"a", 1)
    assert budget.reserve(b"b", 50)
    assert not budget.reserve(b"c", 1)
    budget.release(b"a", 20)
    assert budget.reserve(b"c", 20)
    assert not budget.reserve(b"b", 1)
    for peer, count in ((b"a", 30), (b"b", 50), (b"c", 20)):
        budget.release(peer, count)
    assert (budget.left, budget._held) == (100, {})


def test_the_share_is_one_body_at_least_and_all_at_most() -> None:
    assert Limits(body=64, bodies=256).share == 128
    assert Limits(body=64, bodies=100).share == 64
    assert Limits(body=64, bodies=10).share == 10


def test_who_a_peer_is() -> None:
    assert peer_of(("10.0.0.1", 1)) == peer_of(("10.0.0.1", 2)) == peer_of(("::ffff:10.0.0.1", 1, 0, 0))
    assert peer_of(("10.0.0.1", 1)) != peer_of(("10.0.0.2", 1))
    assert peer_of(("2001:db8:0:1::1", 1, 0, 0)) == peer_of(("2001:db8:0:1:ffff::2", 1, 0, 0))
    assert peer_of(("2001:db8:0:1::1", 1, 0, 0)) != peer_of(("2001:db8:0:2::1", 1, 0, 0))
    assert peer_of(("fe80::1%eth0", 1, 0, 2)) == peer_of(("fe80::2", 1, 0, 2))
    assert peer_of("") == peer_of(None) == b""


@given(st.integers(0, 253402300799))
def test_a_response_says_when_it_was_written(second: int) -> None:
    head = response_head(Response(HTTPStatus.OK, []), keep_alive=True, old=False, now=second + 0.5)
    assert f"\r\nDate: {formatdate(second, usegmt=True)}\r\n".encode() in head
