"""The watches: kopf keeps `Objects` as the cluster is, and every change asks for the passes it concerns.

Only kopf's low-level handlers are used, an index and an event handler for each kind. They add no finalizer and no
annotation to any object, and they hold no state that a restart would lose. The index handlers write to `Objects`, not
to kopf's own indices: what matters of an index here is that kopf calls no event handler before the first listing of
every indexed kind is through. So the first event of our Lease says that we know everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import kopf

from edgesmith.api.names import MANAGED_BY, MANAGED_BY_LABEL
from edgesmith.cluster import lease
from edgesmith.cluster.connection import Connection
from edgesmith.cluster.fields import text
from edgesmith.cluster.kinds import DAEMON_SET, JOB, LEASE, POD, Kind
from edgesmith.cluster.objects import WATCHED, Objects
from edgesmith.controller.concerns import concerned
from edgesmith.controller.queue import Key

MANAGED = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
CHILDREN = (POD, JOB, DAEMON_SET)
"""Watched by label: everybody else's pods are none of our business, and would fill our memory."""

_INACTIVITY = 70.0
"""Seconds without an event or a bookmark after which a watch is taken for dead. The API server sends bookmarks every
60 s; watches that died in silence are kopf's best known failure (its issues 585, 787 and 955)."""


class Mirror:
    """The watches of one operator."""

    def __init__(
        self,
        connection: Connection,
        objects: Objects,
        *,
        ask: Callable[[Key], None],
        namespace: str,
        holder: str,
        clock: Callable[[], float],
    ) -> None:
        """Make the watches; nothing is sent yet.

        Args:
            connection: The API server.
            objects: What to keep as the cluster is.
            ask: Asks for a pass.
            namespace: Where our Lease is.
            holder: Whose Lease is ours.
            clock: Seconds that only grow.
        """
        self._connection = connection
        self._objects = objects
        self._ask = ask
        self._lease = (namespace, holder)
        self._clock = clock
        self.synced = asyncio.Event()
        """Set once everything that was there at the start is known."""
        self.echo: float | None = None
        """When our own Lease was last seen through the watch."""

    async def run(self, ready: Callable[[], None]) -> None:
        """Watch until cancelled.

        Args:
            ready: Called once kopf has taken the signals, so that they can be taken back.

        Raises:
            Exception: A watch failed for good; the process ends and is started anew.
        """
        # kopf cancels what was started after it when it ends; what runs already is none of its business.
        before = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(), settings=self._settings(), standalone=True, clusterwide=True
        )
        ready()
        await kopf.run_tasks(tasks, ignored=before)

    def dead(self) -> list[str]:
        """The kinds whose watch has ended while the process goes on (kopf's issue 1276)."""
        running = [task.get_name() for task in asyncio.all_tasks() if not task.done()]
        return [
            kind.plural
            for kind in (*WATCHED, LEASE)
            if not any(name.startswith(f"watcher for {kind.plural}.") for name in running)
        ]

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        # Kinds are not looked for later: it would take the right to list CRDs, and the CRDs come with the chart.
        settings.scanning.disabled = True
        settings.watching.inactivity_timeout = _INACTIVITY
        settings.watching.chunk_size = 500
        settings.networking.request_timeout = 30.0
        settings.networking.connect_timeout = 10.0
        settings.queueing.idle_timeout = 1.0
        settings.queueing.exit_timeout = 0.5
        settings.process.ultimate_exiting_timeout = 15.0
        for kind in CHILDREN:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = MANAGED
        settings.watching.field_selectors[LEASE.group, LEASE.version, LEASE.plural] = f"metadata.name={lease.NAME}"
        return settings

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        for kind in WATCHED:
            self._handle(registry, kind)

        @kopf.on.event(LEASE.group, LEASE.version, LEASE.plural, registry=registry)
        async def on_lease(event: Any, **_: Any) -> None:
            self._on_lease(event["object"])

        @kopf.on.login(registry=registry)
        async def on_login(**_: Any) -> kopf.ConnectionInfo:
            identity = await self._connection.identity()
            return kopf.ConnectionInfo(
                server=identity.server,
                ca_path=identity.ca_file,
                insecure=identity.insecure,
                certificate_path=identity.certificate_file,
                private_key_path=identity.key_file,
                token=identity.token,
            )

        return registry

    def _handle(self, registry: kopf.OperatorRegistry, kind: Kind) -> None:
        @kopf.index(kind.group, kind.version, kind.plural, id=f"keep-{kind.plural}", registry=registry)
        async def on_seen(body: kopf.Body, **_: Any) -> None:
            self._tell(self._objects.put(kind, dict(body)))

        @kopf.on.event(kind.group, kind.version, kind.plural, id=f"forget-{kind.plural}", registry=registry)
        async def on_event(event: Any, **_: Any) -> None:
            if event["type"] == "DELETED":
                self._tell(self._objects.remove(kind, event["object"]))

    def _tell(self, change: Any) -> None:
        if change is not None:
            self.tell([change])

    def tell(self, changes: Iterable[Any]) -> None:
        """Ask for the passes that changes concern."""
        for change in changes:
            for key in concerned(change, self._objects):
                self._ask(key)

    def _on_lease(self, raw: Any) -> None:
        namespace, holder = self._lease
        if text(raw, "metadata", "namespace") == namespace and text(raw, "spec", "holderIdentity") == holder:
            self.echo = self._clock()
            self.synced.set()
