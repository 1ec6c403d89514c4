"""The operator's life: connect, hold the Lease, watch, work, stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgesmith.cluster.apply import Applier
from edgesmith.cluster.build_slots import BuildSlots
from edgesmith.cluster.client import Client
from edgesmith.cluster.configuration import SettingsError, installed_settings, settings_from
from edgesmith.cluster.connection import connect
from edgesmith.cluster.errors import ClusterError, not_served
from edgesmith.cluster.gather import Gatherer
from edgesmith.cluster.images import Images, registry_of
from edgesmith.cluster.job_names import JobNames
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL
from edgesmith.cluster.lease import Lease
from edgesmith.cluster.node_turns import NodeTurns
from edgesmith.cluster.objects import WATCHED, WATCHED_WITHOUT_BUILDS, Objects
from edgesmith.cluster.table import ObjectChange
from edgesmith.cluster.unreadable import Unreadable
from edgesmith.controller import fleet_metrics, metrics
from edgesmith.controller.concerns import everybody
from edgesmith.controller.logs import fields
from edgesmith.controller.metrics import Numbers
from edgesmith.controller.options import Options
from edgesmith.controller.passes import Passes
from edgesmith.controller.probes import Probes, probe_server
from edgesmith.controller.queue import Key, WorkQueue
from edgesmith.controller.resync import Resync
from edgesmith.controller.watches import Watches
from edgesmith.decide.settings import Settings
from edgesmith_builder.oci import CredentialsFile, Registry

log = logging.getLogger(__name__)

WORKERS = 8
"""Passes at once. They wait for the API server and the registry, not for the processor."""
STOP_SECONDS = 8.0
"""For everything to end after SIGTERM; the Lease is given back afterwards."""


async def run(options: Options) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        SettingsError: The settings are wrong.
        ClusterError: The cluster cannot be reached or lacks our CRDs, or the Lease was lost.
    """
    stop = asyncio.Event()
    _take_signals(stop)
    connection = await connect(options.kubeconfig, options.context, outside=options.dev)
    async with Client(connection, namespaces=options.namespaces) as client:
        settings = await _settings(client, options)
        await _check_kinds(client)
        async with registry_of(settings, credentials_of(options), attempts=2) as registry:
            await _Operator(options, client, settings, registry).run(stop)


class _Operator:
    """The parts, put together."""

    def __init__(self, options: Options, client: Client, settings: Settings, registry: Registry) -> None:
        clock = time.monotonic
        self._options = options
        self._client = client
        self._objects = Objects(WATCHED if settings.builds else WATCHED_WITHOUT_BUILDS)
        self._numbers = Numbers()
        self._lease = Lease(client, options.namespace, options.holder, clock, restored=self._restored)
        images = Images(registry, clock, settings.signed_by)
        gatherer = Gatherer(self._objects, images, settings, client, self._changed)
        names = JobNames(clock)
        applier = Applier(client, self._objects, names, changed=self._changed, instance=options.holder, clock=clock)
        passes = Passes(
            gatherer,
            applier,
            self._numbers,
            client=client,
            slots=BuildSlots(self._objects, settings.max_concurrent_builds),
            turns=NodeTurns(),
            ask=self._ask,
            rest=self._rest,
            clock=clock,
            now=lambda: datetime.now(UTC),
            namespaces=options.namespaces,
        )
        self._queue = WorkQueue(passes.run, workers=WORKERS, clock=clock)
        self._watches = Watches(
            client,
            self._objects,
            ask=self._queue.add,
            noticed=names.changed,
            loaded=self._loaded,
            namespace=options.namespace,
            namespaces=options.namespaces,
            holder=options.holder,
            clock=clock,
        )
        self._resync = Resync(
            client,
            self._objects,
            changed=self._watches.changed,
            restored=self._restored,
            everybody=self._everybody,
            numbers=self._numbers,
            clock=clock,
        )
        self._gauges()

    async def run(self, stop: asyncio.Event) -> None:
        """Answer probes at once; work once the Lease is ours; stop when asked to."""
        probes = Probes(
            watch_age=lambda: self._watches.age,
            lease_age=lambda: self._lease.age,
            dead_watches=self._watches.dead,
            synced=self._watches.synced.is_set,
            held=lambda: self._lease.held,
        )
        async with probe_server(probes, self._numbers, self._options.probe_port):
            try:
                await _first(stop, self._lease.acquire())
                if not stop.is_set():
                    watch = self._watches.run(lambda: _take_signals(stop), self._resync.listed)
                    await _first(stop, self._lease.keep(), watch, self._work(), self._resync.run())
            finally:
                # Whatever ended us: the next operator need not wait for the Lease to run out.
                with contextlib.suppress(ClusterError, TimeoutError):
                    await self._lease.release()

    def _ask(self, key: Key) -> None:
        self._queue.add(key)

    def _changed(self, changes: Iterable[ObjectChange]) -> None:
        self._watches.changed(changes)

    def _rest(self, planned: float) -> None:
        self._queue.rest(planned)

    async def _work(self) -> None:
        """Run passes once everything is known."""
        await self._watches.synced.wait()
        await self._queue.run()

    def _loaded(self) -> None:
        """Everything has been listed: look at every EdgeModel, and name what cannot be read."""
        log.info("%d EdgeModels and %d nodes are known", len(self._objects.models), len(self._objects.nodes))
        for found in self._unreadable():
            log.warning("%s", found.message, extra=fields(namespace=found.namespace, name=found.name))
        for key in everybody(self._objects):
            self._queue.add(key)

    def _everybody(self) -> None:
        """Ask for a pass of every EdgeModel, spread over a minute: the next change must not wait for them all."""
        keys = sorted(everybody(self._objects))
        for number, key in enumerate(keys):
            self._queue.add(key, 60.0 * number / len(keys))

    def _restored(self, why: str) -> None:
        """Start again from a full listing after etcd was restored: what is known is not what is there."""
        log.warning("etcd was restored from a backup: %s; everything is listed and watched anew", why)
        self._numbers.count(metrics.RESTORES)
        self._watches.start_anew()

    def _unreadable(self) -> list[Unreadable]:
        return [found for kind in (EDGE_MODEL, DEVICE_PROFILE) for found in self._objects.unreadable(kind).values()]

    def _gauges(self) -> None:
        self._numbers.gauges(
            {
                metrics.QUEUE_DEPTH: lambda: float(self._queue.depth),
                metrics.QUEUE_LONGEST: lambda: self._queue.longest,
                metrics.EDGE_MODELS: lambda: float(len(self._objects.models)),
                metrics.NODES: lambda: float(len(self._objects.nodes)),
                metrics.UNREADABLE: lambda: float(len(self._unreadable())),
                metrics.WATCH_AGE: lambda: self._watches.age or 0.0,
                metrics.LEASE_HELD: lambda: float(self._lease.held),
            }
        )
        self._numbers.families(
            {
                metrics.MODEL_NODES: lambda: fleet_metrics.nodes(self._objects.models.all()),
                metrics.MODEL_CONDITION: lambda: fleet_metrics.conditions(self._objects.models.all()),
                metrics.MODEL_VARIANT: lambda: fleet_metrics.variants(self._objects.models.all()),
            }
        )


async def _first(stop: asyncio.Event, *work: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends or we are asked to stop; then end the others.

    Raises:
        Exception: What the one that ended first raised.
    """
    stopping = asyncio.create_task(stop.wait(), name="stop")
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        pending = [task for task in (stopping, *tasks) if not task.done()]
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=STOP_SECONDS)
    for task in done - {stopping}:
        task.result()


async def _settings(client: Client, options: Options) -> Settings:
    """The settings: in the cluster from the environment; for development, those installed with ours over them."""
    environment = dict(os.environ)
    if options.dev:
        environment = await installed_settings(client, options.namespace) | environment
    return settings_from(environment)


def credentials_of(options: Options) -> CredentialsFile | None:
    """The login to the registry; None where no file is named.

    Raises:
        SettingsError: The file is none or cannot be read; without its path.
    """
    if options.registry_credentials is None:
        return None
    try:
        return CredentialsFile(Path(options.registry_credentials), "EDGESMITH_REGISTRY_CREDENTIALS")
    except ValueError as error:
        raise SettingsError(str(error)) from error


async def _check_kinds(client: Client) -> None:
    """See that the CRDs are there: kopf would wait for them without a log line."""
    for kind in (EDGE_MODEL, DEVICE_PROFILE):
        if not await client.serves(kind):
            raise not_served(kind.kind, kind.api_version)


def _take_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
