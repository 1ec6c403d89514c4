"""The server's life: listen at once, load and check the model beside that, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import uvloop

from edgesmith_runtime.background import in_background
from edgesmith_runtime.batching import Batching, together
from edgesmith_runtime.descriptors import connections_of, raise_descriptor_limit
from edgesmith_runtime.device import trim_heap
from edgesmith_runtime.dispatcher import Dispatcher
from edgesmith_runtime.engine import engine_version
from edgesmith_runtime.feedback.arguments import Feedback, Privacy
from edgesmith_runtime.health import Health, Patience
from edgesmith_runtime.housekeeping import Housekeeping
from edgesmith_runtime.http.api import HttpApi
from edgesmith_runtime.http.limits import Limits
from edgesmith_runtime.http.server import HttpServer, listening_socket
from edgesmith_runtime.judging.arguments import Judging
from edgesmith_runtime.judging.making import judge_of
from edgesmith_runtime.loading import Loaded, LoadFailed, load
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.rpc.catalogue import catalogue
from edgesmith_runtime.rpc.server import GrpcLimits, GrpcServer
from edgesmith_runtime.service import Service
from edgesmith_runtime.termination import Finding, write_termination

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgesmith_runtime.judging.judge import Judge

__all__ = ["Settings", "serve"]

_log: Final = logging.getLogger(__name__)
_SPARE_CALLS: Final = 64
"""gRPC calls admitted beyond the queue's length, so that the queue refuses and probes still get through."""
_CLOSE: Final = 2.0
"""Seconds that observers have to keep what they keep."""
_LOOK: Final = 0.5
"""Seconds between two looks at what nobody asks for: each wakes an idle server."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve.

    Attributes:
        bundle: The bundle's folder.
        name: What clients call the model.
        host: The address to listen on; empty for all.
        http_port: The HTTP port; 0 for any free one.
        grpc_port: The gRPC port; 0 for any free one.
        threads: How many cores to compute with.
        accept_seconds: How long new requests are taken after SIGTERM: the cluster's endpoints lag behind.
        linger_seconds: How long the server goes on after SIGTERM at most, as long as requests come within
            `accept_seconds` of each other: its successor may still start. 0 for a server that has none.
        drain_seconds: How long requests in flight may take after that.
        queue: How many inference requests may wait or run at once.
        termination_log: Where a failed start, or a server that did not keep a gate, leaves its reason, where that
            file exists.
        limits: Bounds on HTTP clients.
        patience: How long a run may take before the server is not ready, and before it is not live.
        judging: How it is judged while it serves.
        feedback: What may be seen of its requests.
        batching: Whether requests are run together.
    """

    bundle: Path
    name: str
    host: str
    http_port: int
    grpc_port: int
    threads: int
    accept_seconds: float
    drain_seconds: float
    queue: int
    termination_log: Path
    linger_seconds: float = 0.0
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    judging: Judging = field(default_factory=Judging)
    feedback: Feedback = field(default_factory=Feedback)
    batching: Batching = field(default_factory=Batching)


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: How to serve.

    Returns:
        The exit status: 0 after a stop, 1 when the server could not start, did not keep a gate, or requests were cut
        off.
    """
    connections = connections_of(raise_descriptor_limit(), settings.limits.connections)
    settings = replace(settings, limits=replace(settings.limits, connections=connections))
    try:
        listener = listening_socket(settings.host, settings.http_port)
    except OSError as error:
        return _failed(settings, Finding("ListenFailed", f"HTTP cannot listen on port {settings.http_port}: {error}"))
    return uvloop.run(_serve(settings, listener))


async def _serve(settings: Settings, listener: socket.socket) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    dispatcher = Dispatcher(workers=settings.threads, limit=settings.queue, metrics=metrics)
    health = Health(dispatcher, settings.patience)
    service = Service(dispatcher=dispatcher, health=health, metrics=metrics)
    http = HttpServer(
        HttpApi(service, body_limit=settings.limits.body, pixel_limit=settings.limits.pixels), settings.limits
    )
    await http.start(listener)
    grpc_server = _grpc_beside(http, service, settings)
    try:
        grpc_listener = listening_socket(settings.host, settings.grpc_port)
    except OSError as error:
        return _failed(settings, Finding("ListenFailed", f"gRPC cannot listen on port {settings.grpc_port}: {error}"))
    await grpc_server.start(grpc_listener)
    chores: list[Callable[[], None]] = [grpc_server.look, _HealthLog(service, health).look]
    watching = asyncio.ensure_future(_watch(chores))
    ports = {"http_port": listener.getsockname()[1], "grpc_port": grpc_listener.getsockname()[1]}
    _log.info("listening", extra=ports | {"threads": settings.threads})
    loading = in_background(lambda: _load(settings, service, dispatcher))
    stopping = asyncio.ensure_future(stop.wait())
    awaited: list[asyncio.Future[Any]] = [loading, stopping]
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    status = 0
    if not stop.is_set():
        try:
            loaded, service.judge = loading.result()
            _observe(settings, loaded, service)
            await in_background(trim_heap)  # of what loading took
            _become_ready(service, loaded)
            chores.append(Housekeeping(dispatcher, loaded.model.engine).look)
        except LoadFailed as failure:
            stopping.cancel()
            return _failed(settings, failure.finding)
        if (found := await _judged(service.judge, stopping)) is not None:
            status = _failed(settings, found)
            settings = replace(settings, linger_seconds=0.0)  # another server is to be asked, or none
    status = max(status, await _drain(settings, service, dispatcher, http, grpc_server))
    if service.observers is not None:
        service.observers.close(_CLOSE)
    watching.cancel()
    return status


def _grpc_beside(http: HttpServer, service: Service, settings: Settings) -> GrpcServer:
    """The server over gRPC, which shares the memory and the turns of the one over HTTP."""
    methods, watchers = catalogue(service)
    return GrpcServer(
        service,
        methods,
        watchers,
        budget=http.budget,
        turns=http.turns,
        limits=settings.limits,
        calls=settings.queue + _SPARE_CALLS,
        own=GrpcLimits(connections=settings.limits.connections),
    )


def _load(settings: Settings, service: Service, dispatcher: Dispatcher) -> tuple[Loaded, Judge]:
    """All that a device may take its time for, or hang in, before the model is served."""
    size = settings.batching.size if settings.batching.seconds else 1
    limits = settings.limits
    loaded = load(settings.bundle, threads=settings.threads, max_batch=limits.batch, name=settings.name, together=size)
    dispatcher.together = together(loaded, settings.batching)
    judge = judge_of(loaded, settings.judging, name=settings.name, dispatcher=dispatcher, metrics=service.metrics)
    return loaded, judge


def _observe(settings: Settings, loaded: Loaded, service: Service) -> None:
    if settings.feedback.privacy is Privacy.NONE:
        return
    # Imported here: a server that observes nothing is a megabyte smaller without.
    from edgesmith_runtime.feedback.making import observers_of  # noqa: PLC0415 - see above

    observed = observers_of(loaded, settings.feedback, service.metrics, name=settings.name)
    service.observers, service.drift = observed.observers, observed.drift
    if service.observers is not None:
        service.observers.start()


async def _judged(judge: Judge, stopping: asyncio.Future[Any]) -> Finding | None:
    """Serve until the server is told to stop, or something is found against it."""
    judging = asyncio.ensure_future(judge.run())
    await asyncio.wait((stopping, judging), return_when=asyncio.FIRST_COMPLETED)
    if not judging.done():
        judging.cancel()
        return None
    if (error := judging.exception()) is not None:
        _log.error("requests are judged no further", exc_info=error)
        await stopping
        return None
    return judging.result()


def _become_ready(service: Service, loaded: Loaded) -> None:
    bundle = loaded.bundle
    engine = engine_version(bundle.engine)
    labels = (bundle.model, bundle.precision, engine, bundle.model_digest)
    service.metrics.put("edgesmith_model_info", *labels, value=1)
    service.start(loaded.model)
    facts = {"model": bundle.model, "precision": bundle.precision, "engine": engine, "golden": loaded.parity.message}
    _log.info("ready", extra=facts)
    if (warning := loaded.model.engine.warning) is not None:
        _log.warning("the model %s", warning)


class _HealthLog:
    """Logs when the server's health changes.

    Args:
        service: Whether it drains, which is no fault.
        health: What is known.
    """

    def __init__(self, service: Service, health: Health) -> None:
        self._service = service
        self._health = health
        self._told: str | None = None

    def look(self) -> None:
        """Log a change since the last look."""
        fault = None if self._service.draining else self._health.unready
        if fault is not None and self._told is None:
            _log.error("not ready: %s", fault)
        elif self._told is not None and fault is None:
            _log.info("works again", extra={"ready": self._service.ready})
        self._told = fault


async def _watch(chores: Sequence[Callable[[], None]]) -> None:
    """Do what nobody asks for, all of it at once: an idle server is woken as rarely as may be."""
    while True:
        for chore in chores:
            try:
                chore()
            except Exception:  # noqa: BLE001 - the others are to go on
                _log.exception("what is done from time to time failed")
        await asyncio.sleep(_LOOK)


async def _drain(
    settings: Settings, service: Service, dispatcher: Dispatcher, http: HttpServer, grpc: GrpcServer
) -> int:
    """Refuse new work, let what is in flight end, and return the exit status."""
    known = service.ready
    http.start_draining()
    lingered = known and settings.linger_seconds > 0
    if lingered:
        await _linger(settings, service)
    service.drain()
    _log.info("draining", extra={"in_flight": dispatcher.pending, "drain_seconds": settings.drain_seconds})
    if known and not lingered:  # before that nobody was sent here
        await asyncio.sleep(settings.accept_seconds)
    status = 0
    try:
        async with asyncio.timeout(settings.drain_seconds):
            await asyncio.gather(http.drain(), grpc.drain())
    except TimeoutError:
        _log.warning("drain ended with requests in flight", extra={"in_flight": dispatcher.pending})
        status = 1
    if http.cut:
        _log.warning("answers were cut off", extra={"answers": http.cut})
        status = 1
    dispatcher.close()
    _log.info("stopped")
    return status


async def _linger(settings: Settings, service: Service) -> None:
    """Serve as before until nobody asks any more: a Service sends requests to a pod that ends until another is ready.

    It must be ready meanwhile. Where it says that it is not, its endpoint goes, whether there is another or not.
    """
    began = time.monotonic()
    _log.info("lingering", extra={"linger_seconds": settings.linger_seconds})
    while (now := time.monotonic()) < began + settings.linger_seconds:
        quiet = max(began, service.asked) + settings.accept_seconds - now
        if quiet <= 0:
            return
        await asyncio.sleep(min(quiet, began + settings.linger_seconds - now))


def _failed(settings: Settings, finding: Finding) -> int:
    """Say why the server cannot start, or go on, in the log and in the termination message."""
    _log.error("cannot serve: %s", finding.message, extra={"reason": finding.reason})
    with contextlib.suppress(OSError):  # the log has it; a read-only root may keep the message from being left
        write_termination(settings.termination_log, finding, create=False)
    return 1
