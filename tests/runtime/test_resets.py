"""Calls that are given up: so many of one connection, and more with time and with answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgesmith_runtime.http2.resets import MOST, Resets
from tests.runtime.calls import Client, Clock, calling
from tests.runtime.http2 import RST_STREAM, WINDOW_UPDATE, frame
from tests.runtime.pages import until

if TYPE_CHECKING:
    from collections.abc import Callable


def test_so_many_at_once_and_some_each_second() -> None:
    resets = Resets(0.0)
    assert all(resets.reset(0.0) for _ in range(MOST))
    assert not resets.reset(0.0)
    resets = Resets(0.0)
    assert all(resets.reset(second / 30) for second in range(10 * MOST))
    assert all(resets.reset(10**6) for _ in range(MOST)), "and no more for having been quiet"
    assert not resets.reset(10**6)


def test_who_waits_as_often_as_not_may_go_on() -> None:
    resets = Resets(0.0)
    for _ in range(10 * MOST):
        assert resets.reset(0.0)
        resets.answered()
    for _ in range(10 * MOST):
        resets.answered()
    assert all(resets.reset(0.0) for _ in range(MOST)), "and no more for its answers"
    assert not resets.reset(0.0)


def give_up(client: Client, stream: int) -> None:
    client.begin(stream)
    client.write(frame(RST_STREAM, 0, stream, bytes(4)))


def no_request(client: Client, stream: int) -> None:
    client.begin(stream, changes={b":scheme": b""})


def no_leave(client: Client, stream: int) -> None:
    client.begin(stream)
    client.write(frame(WINDOW_UPDATE, 0, stream, bytes(4)))


@pytest.mark.parametrize("ending", [give_up, no_request, no_leave], ids=lambda ending: ending.__name__)
async def test_a_connection_that_gives_up_too_often_is_closed(
    ending: Callable[[Client, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    async with calling() as (server, client):
        for stream in range(1, 2 * MOST, 2):
            ending(client, stream)
        await answered(client, 2 * MOST + 1)
        assert server._connections
        ending(client, 2 * MOST + 3)
        ending(client, 2 * MOST + 5)
        assert (await client.goaway())[4:8] == bytes([0, 0, 0, 11]), "ENHANCE_YOUR_CALM"
        await until(lambda: not server._connections)


async def test_a_client_that_waits_as_often_as_not_is_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    async with calling() as (server, client):
        for stream in range(1, 6 * MOST, 4):
            give_up(client, stream)
            await answered(client, stream + 2)
        assert server._connections


async def answered(client: Client, stream: int) -> None:
    client.begin(stream)
    client.send(stream, bytes(5), ends=True)
    assert await client.status(stream) == "0"


async def test_calls_that_the_server_cuts_off_are_not_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    async with calling() as (server, client):
        await until(lambda: bool(server._connections))
        (connection,) = server._connections
        for first in range(1, 2 * MOST + 100, 100):
            for stream in range(first, first + 100, 2):
                client.begin(stream)
            await until(lambda: server.calls == 50)
            for call in tuple(connection.calls.values()):
                connection._calls.cut(call)
        await answered(client, 2 * MOST + 201)
