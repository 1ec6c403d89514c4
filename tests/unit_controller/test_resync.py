"""When what is known is compared with what the API server lists, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import virtual_time
from objects_of import node
from virtual_time import now

from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import Unreachable
from edgesmith.cluster.kinds import NODE, Kind
from edgesmith.cluster.objects import WATCHED, Objects
from edgesmith.controller.metrics import Numbers
from edgesmith.controller.resync import RESYNC_SECONDS, RETRY_SECONDS, Resync


class World:
    """A Resync over one node, and what it was seen to do."""

    def __init__(self) -> None:
        self.objects = Objects()
        self.objects.put(NODE, node("n", version=5))
        self.listings: list[float] = []
        self.passes: list[float] = []
        self.gone: list[str] = []
        self.restores: list[str] = []
        self.down = False
        self.version, self.uids = "10", {"uid-n"}
        self.started = now()
        self.resync = Resync(
            cast("Client", self),
            self.objects,
            changed=lambda changes: self.gone.extend(change.key[1] for change in changes),
            restored=self.restores.append,
            everybody=lambda: self.passes.append(now() - self.started),
            numbers=Numbers(),
            clock=now,
        )

    async def list_uids(self, kind: Kind, *, labels: str = "") -> tuple[set[str], str]:
        assert bool(labels) is (kind in WATCHED[3:])
        if kind is WATCHED[0]:
            self.listings.append(now() - self.started)
        if self.down:
            raise Unreachable("nobody answers")
        return (self.uids if kind is NODE else set()), self.version


def during(seconds: float, check: Callable[[World], Coroutine[Any, Any, None] | None]) -> World:
    """Let it run for some seconds, with what happens meanwhile."""

    async def main() -> World:
        world = World()
        running = asyncio.create_task(world.resync.run())
        happening = check(world)
        if happening is not None:
            await happening
        await asyncio.sleep(world.started + seconds - now())
        running.cancel()
        return world

    return virtual_time.run(main())


def test_everything_is_looked_at_every_ten_minutes() -> None:
    world = during(2.5 * RESYNC_SECONDS, lambda _: None)
    assert world.passes == [RESYNC_SECONDS, 2 * RESYNC_SECONDS]
    assert world.listings == world.passes
    assert world.gone == []


def test_a_watchs_listing_causes_one_look_however_many_objects_it_has() -> None:
    async def listing(world: World) -> None:
        await asyncio.sleep(100)
        world.uids = set()
        for _ in range(5000):
            world.resync.listed()
            await asyncio.sleep(0.001)

    world = during(200, listing)
    assert len(world.listings) == 1
    assert 100 <= world.listings[0] <= 102
    assert world.gone == ["n"]
    assert world.passes == []


def test_a_second_listing_later_on_causes_a_second_look() -> None:
    async def listings(world: World) -> None:
        for _ in range(2):
            await asyncio.sleep(30)
            world.resync.listed()

    assert len(during(100, listings).listings) == 2


def test_a_look_that_fails_is_repeated_and_the_passes_do_not_wait_for_it() -> None:
    async def outage(world: World) -> None:
        world.down = True
        await asyncio.sleep(RESYNC_SECONDS + 3 * RETRY_SECONDS)
        world.down, world.uids = False, set()

    world = during(RESYNC_SECONDS + 10 * RETRY_SECONDS, outage)
    assert world.passes == [RESYNC_SECONDS]
    assert len(world.listings) >= 3
    assert world.gone == ["n"]


def test_a_listing_of_a_lower_version_than_is_known_is_a_restore_and_removes_nothing() -> None:
    async def restore(world: World) -> None:
        world.version, world.uids = "4", set()
        world.resync.listed()

    world = during(10, restore)
    assert world.restores == ["the listing of nodes is of resourceVersion 4, and 5 is known"]
    assert world.gone == []


def test_what_a_write_brings_while_a_listing_is_on_its_way_is_no_restore() -> None:
    class Slow(World):
        async def list_uids(self, kind: Kind, *, labels: str = "") -> tuple[set[str], str]:
            found = await super().list_uids(kind, labels=labels)
            if kind is NODE:
                self.objects.put(NODE, node("young", version=11))
            return found

    async def main() -> World:
        world = Slow()
        await world.resync.remove_stale()
        return world

    world = virtual_time.run(main())
    assert world.restores == []
    assert {found.name for found in world.objects.nodes.all()} == {"n", "young"}
