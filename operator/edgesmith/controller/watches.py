"""The watches: kopf keeps `Objects` as the cluster is, and every change asks for the passes it concerns.

Everything is listed first, by our own client in pages, and watched after that. kopf lists a second time when it begins
to watch, and what that brings is not newer than what is known; what was deleted between the two listings is found by
`Resync`, which every listing of kopf's starts.

Only kopf's lowest handlers are used, one event handler for each kind. They add no finalizer and no annotation to any
object, and they hold no state that a restart would lose. kopf's indices are not used: before the first handler is
called, each object that was listed waits for each other one, and the time that takes grows with the square of their
number.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any

import kopf

from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import Transient
from edgesmith.cluster.fields import text
from edgesmith.cluster.kinds import LEASE, Kind
from edgesmith.cluster.listing import load
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.table import ObjectChange
from edgesmith.cluster.unreadable import Unreadable
from edgesmith.controller.concerns import concerned
from edgesmith.controller.connections import Connections
from edgesmith.controller.logs import fields
from edgesmith.controller.queue import Key
from edgesmith.controller.watch_settings import NoMemories, watch_settings

log = logging.getLogger(__name__)

LOAD_AGAIN_SECONDS = 2.0
"""Between two tries to list everything."""
STOP_TRIES = 5
"""How often kopf's tasks are cancelled, a second apart, before they are left."""


class Watches:
    """The watches of one operator."""

    def __init__(
        self,
        client: Client,
        objects: Objects,
        *,
        ask: Callable[[Key], None],
        noticed: Callable[[ObjectChange], None],
        loaded: Callable[[], None],
        namespace: str,
        namespaces: Collection[str] = (),
        holder: str,
        clock: Callable[[], float],
    ) -> None:
        """Make the watches; nothing is sent yet.

        Args:
            client: The API server.
            objects: What to keep as the cluster is.
            ask: Asks for a pass.
            noticed: Told of every change, before the passes that it asks for.
            loaded: Called after everything has been listed, the first time and whenever the watches start anew.
            namespace: Where our Lease is.
            namespaces: What to watch, that of the Lease among them; empty for every namespace.
            holder: Whose Lease is ours.
            clock: Seconds that only grow.
        """
        self._client = client
        self._objects = objects
        self._ask = ask
        self._noticed = noticed
        self._loaded = loaded
        self._listed: Callable[[], None] = lambda: None
        self._lease = (namespace, holder)
        self._namespaces = tuple(namespaces)
        self._clock = clock
        self._again = asyncio.Event()
        self._since: float | None = None
        self.synced = asyncio.Event()
        """Set once everything that was there at the start is known and the watches show what happens."""

    @property
    def age(self) -> float | None:
        """Seconds since our own Lease was last seen through the watch; None where nothing is watched yet."""
        return None if self._since is None else self._clock() - self._since

    def start_anew(self) -> None:
        """List everything again and watch from there, whatever the resourceVersions that are known."""
        self._again.set()

    async def run(self, ready: Callable[[], None], listed: Callable[[], None]) -> None:
        """Watch until cancelled.

        Args:
            ready: Called once kopf handles the signals, so that ours can be set again.
            listed: Called for every object of a listing that a watch begins with, the first time and later.

        Raises:
            ClusterError: Something cannot be listed, and trying again does not help.
            Exception: A watch failed for good; the process ends and is started anew.
        """
        self._listed = listed
        while True:
            await self._load()
            self._again.clear()
            await self._watch(ready)
            self._since = None
            self.synced.clear()

    def dead(self) -> list[str]:
        """The kinds whose watch has ended while the process goes on (kopf's issue 1276)."""
        running = [task.get_name() for task in asyncio.all_tasks() if not task.done()]
        return [
            kind.plural
            for kind in (*self._objects.kinds, LEASE)
            if not all(_watched(kind, place, running) for place in self._places(kind))
        ]

    def _places(self, kind: Kind) -> tuple[str, ...]:
        """Where kopf watches a kind, each place by a task of its own, in the words of the task's name."""
        return self._namespaces if self._namespaces and kind.namespaced else ("None",)

    def changed(self, changes: Iterable[ObjectChange]) -> None:
        """Ask for the passes that changes concern."""
        for change in changes:
            self._noticed(change)
            if isinstance(change.new, Unreadable):
                log.warning("%s", change.new.message, extra=fields(namespace=change.key[0], name=change.key[1]))
            for key in concerned(change, self._objects):
                self._ask(key)

    def take(self, kind: Kind, event: Any) -> None:
        """Take in an event of a watch: `type` is DELETED, or None for an object of the listing it began with."""
        if event["type"] is None:
            self._listed()
        deleted = event["type"] == "DELETED"
        change = (self._objects.remove if deleted else self._objects.put)(kind, event["object"])
        if change is not None:
            self.changed([change])

    async def _load(self) -> None:
        """List everything; the API server may be away for a while."""
        while True:
            try:
                fresh = await load(self._client, "", self._objects.kinds)
            except Transient as error:
                log.warning("everything is listed again in %g s: %s", LOAD_AGAIN_SECONDS, error)
                await asyncio.sleep(LOAD_AGAIN_SECONDS)
            else:
                self._objects.replace(fresh)
                self._loaded()
                return

    async def _watch(self, ready: Callable[[], None]) -> None:
        """Watch until `start_anew` is called."""
        self._since = self._clock()
        # kopf kills the process some seconds after its end was asked for, except where it was asked for by this flag.
        stop = asyncio.Event()
        connections = Connections()
        spawning = asyncio.create_task(
            kopf.spawn_tasks(
                registry=self._registry(),
                settings=watch_settings(),
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=stop,
                vault=connections,
                memories=NoMemories(),
            )
        )
        again = asyncio.create_task(self._again.wait(), name="start the watches anew")
        try:
            # Where we are cancelled meanwhile, what was started must be known, or nobody would end it.
            tasks = set(await asyncio.shield(spawning))
            ready()
            done, _ = await asyncio.wait({*tasks, again}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {again}:
                task.result()
            if not done & {again}:
                raise RuntimeError("the watches ended")
            stop.set()
        finally:
            try:
                await _end({*await spawning, again})
            finally:
                await connections.close()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        for kind in self._objects.kinds:
            self._handle(registry, kind)

        @kopf.on.event(LEASE.group, LEASE.version, LEASE.plural, registry=registry)
        async def on_lease(event: Any, **_: Any) -> None:
            self._on_lease(event["object"])

        @kopf.on.login(registry=registry)
        async def on_login(**_: Any) -> kopf.ConnectionInfo:
            identity = await self._client.connection.identity()
            return kopf.ConnectionInfo(
                server=identity.server,
                ca_path=identity.ca_file,
                insecure=identity.insecure,
                certificate_path=identity.certificate_file,
                private_key_path=identity.key_file,
                token=identity.token,
                proxy_url=identity.proxy,
            )

        return registry

    def _handle(self, registry: kopf.OperatorRegistry, kind: Kind) -> None:
        @kopf.on.event(kind.group, kind.version, kind.plural, id=f"take-{kind.plural}", registry=registry)
        async def on_event(event: Any, **_: Any) -> None:
            self.take(kind, event)

    def _on_lease(self, raw: Any) -> None:
        namespace, holder = self._lease
        if text(raw, "metadata", "namespace") == namespace and text(raw, "spec", "holderIdentity") == holder:
            self._since = self._clock()
            self.synced.set()


def _watched(kind: Kind, place: str, running: Collection[str]) -> bool:
    """Whether kopf's task for a kind in a place runs."""
    return any(name.startswith(f"watcher for {kind.plural}.") and name.endswith(f"@{place}") for name in running)


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """End tasks, and every other one that runs kopf's code.

    kopf does not end what it asks the API server for all at once, while it looks for our kinds; and a task of it that
    is cancelled while it starts can go on, so one that is still there after a second is cancelled again.
    """
    for _ in range(STOP_TRIES):
        running = {task for task in {*tasks, *_tasks_of_kopf()} if not task.done()}
        if not running:
            return
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=1.0)


def _tasks_of_kopf() -> set[asyncio.Task[Any]]:
    """Every task that runs kopf's code."""
    frames = [(task, getattr(task.get_coro(), "cr_frame", None)) for task in asyncio.all_tasks()]
    return {task for task, frame in frames if frame and str(frame.f_globals.get("__name__")).startswith("kopf.")}
