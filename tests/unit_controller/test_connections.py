"""Every connection that kopf makes is closed, also one that it has replaced."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf
import pytest
from kopf._cogs.structs.credentials import VaultKey

from edgesmith.controller.connections import Connections


class Played:
    """A connection that is only open or closed."""

    made: list[Played]

    def __init__(self, _info: Any) -> None:
        self.closed = False
        self.made.append(self)

    async def close(self) -> None:
        self.closed = True


async def test_a_connection_that_was_replaced_is_closed_too() -> None:
    Played.made = []
    connections = Connections()
    for server in ("http://one", "http://two"):
        await connections.populate({VaultKey("login"): kopf.ConnectionInfo(server=server)})
        for _ in range(2):
            async for _key, info, _connection in connections.extended(Played):
                assert info.server == server
                break
    assert [one.closed for one in Played.made] == [False, False], "one per login"
    await connections.close()
    assert [one.closed for one in Played.made] == [True, True]


async def test_none_is_made_after_the_end() -> None:
    """A task of kopf that outlives the others is cancelled when it asks for one."""
    Played.made = []
    connections = Connections()
    await connections.populate({VaultKey("login"): kopf.ConnectionInfo(server="http://one")})
    await connections.close()
    with pytest.raises(asyncio.CancelledError):
        await anext(aiter(connections.extended(Played)))
    assert Played.made == []
