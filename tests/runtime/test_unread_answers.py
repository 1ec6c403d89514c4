"""Answers that nobody reads: they count against the budget over both ports, and no more are kept than may be."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from edgesmith_runtime.http.api import HttpApi
from edgesmith_runtime.http.limits import Budget
from edgesmith_runtime.http.messages import Request, Response, json_response
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.rpc.call import Method
from tests.runtime.calls import METHODS, Client, calling
from tests.runtime.http2 import DATA, PREFACE, frame
from tests.runtime.pages import GET, connect, serving, slow_client, until
from tests.runtime.test_slow_readers import LARGE, LEAVE, SIZE, Reader, began

if TYPE_CHECKING:
    from edgesmith_runtime.rpc.server import GrpcServer

ONE, OTHER = b"\x7f\0\0\1", b"\x7f\0\0\2"
BUDGET = 40_000_000
CLIENTS = 12
ASKED = began(1, LARGE) + frame(DATA, 1, 1, bytes(5))
WITH_LARGE = METHODS | {LARGE: Method("health", lambda *_: bytes(SIZE))}


def kept(server: GrpcServer) -> int:
    """Bytes of answers that wait in this process."""
    return sum(
        connection._transport.get_write_buffer_size() + sum(map(connection._calls.outbox.waiting, connection.calls))
        for connection in server._connections
    )


async def test_an_answer_that_waits_counts_until_it_is_read() -> None:
    async with calling(methods=WITH_LARGE, bodies=BUDGET, body=SIZE) as (server, other):
        port = other.writer.get_extra_info("peername")[1]
        async with slow_client(port) as (client, _):
            reader = Reader(client)
            await reader.send(PREFACE + LEAVE + ASKED)
            await until(lambda: kept(server) > 0)
            assert BUDGET - server.budget.left == SIZE, "it is in memory as a whole until its last byte has gone"
            waiting = next(one for one in server._connections if one.calls or one._sending.paused)
            assert waiting._transport.get_write_buffer_limits()[0] == 0, "it is told once the last of it has gone"
            while reader.sizes[1] < SIZE + 5:
                assert await reader._come(2**14)
                assert BUDGET - server.budget.left == SIZE or not kept(server)
            await until(lambda: server.budget.left == BUDGET)


async def test_clients_that_read_nothing_hold_their_share_and_others_are_answered() -> None:
    async with calling(methods=WITH_LARGE, bodies=BUDGET, body=1_000_000) as (server, one), AsyncExitStack() as stack:
        port = one.writer.get_extra_info("peername")[1]
        readers = []
        for _ in range(CLIENTS):
            client, _ = await stack.enter_async_context(slow_client(port))
            readers.append(Reader(client))
            await readers[-1].send(PREFACE + LEAVE + ASKED)
        await until(lambda: server.budget.room(ONE) < SIZE)
        one.begin(1, changes={b":path": LARGE})
        one.send(1, bytes(5), ends=True)
        assert (await one.status(1)).startswith("14 too many bytes of requests and answers are in memory")
        assert kept(server) <= BUDGET // 2 + SIZE
        assert BUDGET - server.budget.left <= BUDGET // 2 + SIZE
        assert server.budget.room(OTHER) == sys.maxsize
        another = Client(*await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)))
        another.write(LEAVE)
        another.begin(1, changes={b":path": LARGE})
        another.send(1, b"\0" + (500_000).to_bytes(4, "big") + bytes(500_000), ends=True)
        assert await another.status(1) == "0"
        assert sum(len(data) for kind, _, _, data in another.frames if kind == DATA) == SIZE + 5
        another.reading.cancel()
        another.writer.close()


def test_a_peer_over_its_share_has_room_for_short_answers_alone() -> None:
    budget = Budget(100, 50)
    budget.take(ONE, 50)
    assert budget.room(ONE) == sys.maxsize, "it holds what it may"
    budget.take(ONE, 1)
    assert budget.room(ONE) == 65_536
    assert budget.room(OTHER) == sys.maxsize
    budget.take(OTHER, 50)
    assert budget.room(OTHER) == 65_536, "nothing is left for anybody"
    budget.release(ONE, 51)
    assert budget.room(ONE) == budget.room(OTHER) == sys.maxsize


async def test_over_http_an_answer_that_comes_later_has_the_room_that_is_left() -> None:
    async with serving(bodies=1_000_000, body=1_000_000) as (server, port):
        pages = cast("Any", server.api)
        slow_reader, slow = await connect(port)
        reader, writer = await connect(port)
        for wanted in (sys.maxsize, 65_536):
            pages.asked.clear()
            writer.write(GET.replace(b"/", b"/never", 1))
            await pages.asked.wait()
            pages.later.set_result(json_response(""))
            await reader.readuntil(b'""')
            assert pages.room.pop() == wanted
            if wanted > 65_536:
                slow.write(GET.replace(b"/", b"/20000000", 1))
                await until(lambda: server.budget.left < 0)
        await slow_reader.readuntil(b"\r\n\r\n")
        await slow_reader.readexactly(20_000_000)
        for each in (slow, writer):
            each.close()


async def test_an_answer_without_room_is_a_503_and_counted_as_one() -> None:
    service = cast("Any", type("Service", (), {"metrics": Metrics(), "name": "digits"}))
    api = HttpApi(service, body_limit=1000)
    future = asyncio.get_running_loop().create_future()
    future.set_result(Response(HTTPStatus.OK, [bytes(100)]))
    request = Request("POST", "/v2/models/digits/infer", {}, keep_alive=True, old=False)
    assert api.settle(request, future, 100).status is HTTPStatus.OK
    refused = api.settle(request, future, 99)
    assert refused.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert ("Retry-After", "1") in refused.headers
    assert 'operation="infer",code="503"} 1\n' in service.metrics.text()
