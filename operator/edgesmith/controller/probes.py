"""What the kubelet and Prometheus ask: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from edgesmith.controller.metrics import CONTENT_TYPE, Numbers

SILENT_SECONDS = 60.0
"""The Lease is renewed every 5 s; not shown by the watch for this long, the watch is dead."""
RENEWED_SECONDS = 15.0
"""A Lease renewed less long ago than this says that the API server answers."""


@dataclass
class Probes:
    """How the operator is. Pure but for the functions it is given, so that every sentence can be tested.

    Liveness depends on this process alone: that the event loop answers, and that the watches live. An API server that
    is down, a registry that does not answer and a pass that takes long are not fixed by starting the operator anew.
    """

    watch_age: Callable[[], float | None]
    """Seconds since our Lease was last seen by the watch; None before we watch at all."""
    lease_age: Callable[[], float | None]
    """Seconds since our Lease was last renewed; None before it ever was ours."""
    dead_watches: Callable[[], list[str]]
    synced: Callable[[], bool]
    held: Callable[[], bool]
    """Whether the Lease is ours."""

    def unhealthy(self) -> str | None:
        """Why the operator should be restarted, in one sentence; None where it is healthy.

        Waiting for the Lease is healthy: somebody else is at work.
        """
        age, renewed = self.watch_age(), self.lease_age()
        if age is None:
            return None
        if age > SILENT_SECONDS and renewed is not None and renewed < RENEWED_SECONDS:
            return f"The watch has not shown our own Lease for {age:.0f} s; it was renewed {renewed:.0f} s ago."
        dead = self.dead_watches() if self.synced() else []
        if dead:
            return f"The watch of {', '.join(dead)} has ended."
        return None

    def unready(self) -> str | None:
        """Why nothing is done yet, in one sentence; None where the operator is at work."""
        if not self.held():
            return "Another operator holds the Lease."
        if not self.synced():
            return "The cluster has not been read yet."
        return None


@asynccontextmanager
async def probe_server(probes: Probes, numbers: Numbers, port: int) -> AsyncIterator[None]:
    """Answer probes while the block runs.

    Args:
        probes: Asked at every probe.
        numbers: Written out for Prometheus.
        port: Where to listen; 0 answers nobody.

    Raises:
        OSError: The port is taken.
    """
    if not port:
        yield
        return

    def answer(problem: str | None) -> web.Response:
        return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)

    async def healthz(_: web.Request) -> web.Response:
        return answer(probes.unhealthy())

    async def readyz(_: web.Request) -> web.Response:
        return answer(probes.unready())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=numbers.render().encode(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()
