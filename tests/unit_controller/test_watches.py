"""kopf's watches and our listing against an API server in memory: what they know, and how much work that takes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import fake_api
import pytest
from fake_api import FakeApi, fleet
from fleet_objects import NAMESPACE, edge_model, node

from edgesmith.cluster.client import Client
from edgesmith.cluster.kinds import EDGE_MODEL, LEASE, NODE, POD
from edgesmith.cluster.lease import NAME
from edgesmith.cluster.objects import WATCHED, Objects
from edgesmith.cluster.table import ObjectChange
from edgesmith.controller import metrics
from edgesmith.controller.metrics import Numbers
from edgesmith.controller.queue import Key
from edgesmith.controller.resync import Resync
from edgesmith.controller.watches import Watches
from tests.patience import PATIENCE

HOLDER = "me"


class World:
    """An operator's watches on an API server in memory."""

    def __init__(self, api: FakeApi, client: Client, namespaces: tuple[str, ...]) -> None:
        self.api = api
        self.objects, self.numbers = Objects(), Numbers()
        self.asked: list[Key] = []
        self.noticed: list[ObjectChange] = []
        self.loaded = 0
        clock = asyncio.get_running_loop().time
        self.watches = Watches(
            client,
            self.objects,
            ask=self.asked.append,
            noticed=self.noticed.append,
            loaded=self._loaded,
            namespace="system",
            namespaces=namespaces,
            holder=HOLDER,
            clock=clock,
        )
        self.resync = Resync(
            client,
            self.objects,
            changed=self.watches.changed,
            restored=self.restored,
            everybody=lambda: None,
            numbers=self.numbers,
            clock=clock,
        )

    def _loaded(self) -> None:
        self.loaded += 1

    def restored(self, _why: str) -> None:
        self.numbers.count(metrics.RESTORES)
        self.watches.start_anew()

    def count(self, name: str) -> int:
        (line,) = [line for line in self.numbers.render().splitlines() if line.startswith(name + " ")]
        return int(line.split()[1])


@asynccontextmanager
async def running(api: FakeApi, namespaces: tuple[str, ...] = ()) -> AsyncIterator[World]:
    """The watches of an operator that holds the Lease, until the block ends."""
    api.put(LEASE, {"metadata": {"name": NAME, "namespace": "system"}, "spec": {"holderIdentity": HOLDER}})
    async with fake_api.serving(api) as port, Client(api.connection(port), namespaces=namespaces) as client:
        world = World(api, client, namespaces)
        tasks = [
            asyncio.create_task(world.watches.run(lambda: None, world.resync.listed)),
            asyncio.create_task(world.resync.run()),
        ]
        try:
            await until(world.watches.synced.is_set, *tasks)
            yield world
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts what the loop runs, but for the waiting of `until`: a slow machine waits longer and does no more."""

    steps = 0

    if not TYPE_CHECKING:  # its type is written with variadic generics, and nothing here depends on it

        def call_soon(self, *given: Any, **more: Any) -> asyncio.Handle:
            self.steps += 1
            return super().call_soon(*given, **more)


async def until(holds: Callable[[], object], *tasks: asyncio.Task[None]) -> None:
    """Wait until something holds; what a task raises ends the wait."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)
            loop = asyncio.get_running_loop()
            if isinstance(loop, CountingLoop):
                loop.steps -= 1


async def settled(world: World) -> None:
    """Wait until everything was listed by us, by kopf and to look for what is stale, and is watched."""
    asked = world.api.requests
    await until(lambda: all(asked["list", kind.plural] >= 3 and asked["watch", kind.plural] for kind in WATCHED))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesmith.controller.resync.SETTLE_SECONDS", 0.05)
    monkeypatch.setattr("edgesmith.controller.resync.SAME_LISTING_SECONDS", 0.0)


async def test_everything_is_known_before_anything_is_done_and_changes_follow() -> None:
    async with running(fleet(nodes=3, pods=2, models=1)) as world:
        assert (len(world.objects.nodes), len(world.objects.pods), len(world.objects.models)) == (3, 2, 1)
        assert all(world.objects.complete(kind) for kind in WATCHED)
        assert world.loaded == 1
        await until(lambda: world.watches.dead() == [])
        world.api.put(NODE, node("node-9"))
        world.api.delete(POD, NAMESPACE, "model-0-1")
        await until(lambda: len(world.objects.nodes) == 4 and len(world.objects.pods) == 1)
        assert set(world.asked) == {(NAMESPACE, "model-0")}
        assert [one.key for one in world.noticed if one.new is None] == [(NAMESPACE, "model-0-1")]


async def test_kopf_keeps_nothing_of_an_object() -> None:
    """Some 900 bytes of each would be the greater part of what a large fleet takes."""
    async with running(fleet(nodes=30, pods=20, models=1)) as world:
        await settled(world)
        world.api.put(NODE, node("node-9"))
        await until(lambda: world.objects.nodes.get("", "node-9") and world.watches.dead() == [])
        await until(lambda: _memories() <= 1)


def _memories() -> int:
    return sum(type(found).__name__ == "ResourceMemory" for found in gc.get_objects())


async def test_with_namespaces_nothing_outside_them_is_listed_watched_or_known() -> None:
    api = fleet(nodes=2, pods=1, models=1)
    api.namespaced_only = True
    api.put(EDGE_MODEL, edge_model("model-0") | {"metadata": {"name": "theirs", "namespace": "other"}})
    async with running(api, ("system", NAMESPACE)) as world:
        assert world.objects.models.keys() == ((NAMESPACE, "model-0"),)
        assert (len(world.objects.nodes), len(world.objects.pods)) == (2, 1)
        await until(lambda: world.watches.dead() == [])
        api.put(EDGE_MODEL, edge_model("model-0") | {"metadata": {"name": "more", "namespace": "other"}})
        api.put(EDGE_MODEL, edge_model("model-0") | {"metadata": {"name": "ours", "namespace": NAMESPACE}})
        await until(lambda: (NAMESPACE, "ours") in world.asked)
        assert {key[0] for key in world.asked} == {NAMESPACE}
        await world.resync.remove_stale()
        assert world.objects.models.keys() == ((NAMESPACE, "model-0"), (NAMESPACE, "ours"))


async def test_a_watch_that_ended_in_one_namespace_is_dead() -> None:
    api = fleet(nodes=1, pods=1, models=1)
    async with running(api, ("system", NAMESPACE)) as world:
        await until(lambda: world.watches.dead() == [])
        (task,) = [
            task
            for task in asyncio.all_tasks()
            if task.get_name().startswith("watcher for pods.") and task.get_name().endswith(f"@{NAMESPACE}")
        ]
        task.cancel()
        await until(lambda: world.watches.dead() == ["pods"])


async def test_what_is_deleted_between_the_listing_and_the_watch_is_found() -> None:
    api = fleet(nodes=3, pods=2, models=1)
    taken = api.objects[NODE]["", "node-1"]
    async with running(api) as world:
        # As if it had been there when everything was listed, and gone when its watch began.
        await settled(world)
        world.objects.put(NODE, {**taken, "metadata": {**taken["metadata"], "name": "node-x", "uid": "x"}})
        world.resync.listed()
        await until(lambda: world.objects.nodes.get("", "node-x") is None)


async def test_a_watch_that_starts_anew_finds_what_was_deleted_meanwhile() -> None:
    async with running(fleet(nodes=3, pods=1, models=1)) as world:
        await settled(world)
        world.api.delete(NODE, "", "node-0", silently=True)
        assert world.objects.nodes.get("", "node-0") is not None
        world.api.cut(NODE)
        await until(lambda: world.objects.nodes.get("", "node-0") is None)
        assert world.count("edgesmith_stale_objects_total") == 1
        assert [one.key for one in world.noticed] == [("", "node-0")]
        assert (NAMESPACE, "model-0") in world.asked


async def test_after_a_restore_of_etcd_everything_is_listed_and_watched_anew() -> None:
    async with running(fleet(nodes=3, pods=1, models=1)) as world:
        await settled(world)
        api = world.api
        api.version = 10
        for kind in (NODE, POD, EDGE_MODEL):
            for raw in api.objects[kind].values():
                raw["metadata"]["resourceVersion"] = "5"
        del api.objects[NODE]["", "node-2"]
        world.restored("the Lease says so")
        await until(lambda: world.loaded == 2 and world.watches.synced.is_set())
        assert world.objects.newest(NODE) == 5
        assert world.objects.nodes.get("", "node-2") is None
        await until(lambda: world.watches.dead() == [])
        api.put(NODE, node("node-0") | {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}})
        await until(lambda: (found := world.objects.nodes.get("", "node-0")) is not None and found.taints)


async def test_a_listing_of_an_older_state_than_is_known_is_a_restore() -> None:
    async with running(fleet(nodes=3, pods=1, models=1)) as world:
        await settled(world)
        world.api.version = 10
        world.resync.listed()
        await until(lambda: world.loaded == 2)
        assert world.count("edgesmith_etcd_restores_total") == 1


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12])
async def test_whenever_the_watches_end_no_task_of_kopf_goes_on(seconds: float) -> None:
    """It asks for several kinds at once while it starts, and ends none of these requests when it is cancelled."""
    api = fleet(nodes=3, pods=1, models=1)
    async with fake_api.serving(api) as port, Client(api.connection(port)) as client:
        watches = World(api, client, ()).watches
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await watches.run(lambda: None, lambda: None)

        def left() -> list[str]:
            files = [str(getattr(task.get_coro(), "cr_code", "")) for task in asyncio.all_tasks()]
            return [file for file in files if "/kopf/" in file]

        await until(lambda: not left())  # a request that goes on is tried again for much longer than this waits


def _steps_of_a_start(objects: int) -> int:
    async def start() -> None:
        async with running(fleet(nodes=objects // 2, pods=objects // 2, models=1)) as world:
            # Every object has been through kopf once its task has ended.
            await settled(world)
            await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name().startswith("worker for")])

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        runner.run(start())
        loop = runner.get_loop()
        assert isinstance(loop, CountingLoop)
        return loop.steps


def test_the_work_of_a_start_grows_with_the_number_of_objects_and_no_faster() -> None:
    few, many = _steps_of_a_start(200), _steps_of_a_start(800)
    assert many < 5 * few
    assert many < 30 * 800
