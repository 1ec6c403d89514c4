"""What the kubelet and Prometheus ask: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from edgesmith.controller.metrics import CONTENT_TYPE, Numbers

ECHO_SECONDS = 60.0
"""The Lease is renewed every 5 s; unseen for this long, the watches are dead."""
STUCK_SECONDS = 180.0
"""Two passes' time limit: a key that waits longer than this waits for ever."""


@dataclass
class Health:
    """How we are. Pure but for the functions it is given, so that every sentence can be tested."""

    watch_age: Callable[[], float | None]
    """Seconds since our Lease was last seen by the watch; None before we watch at all."""
    dead_watches: Callable[[], list[str]]
    longest: Callable[[], float]
    """Seconds for which the most neglected key waits."""
    synced: Callable[[], bool]
    held: Callable[[], bool]
    """Whether the Lease is ours."""

    def sick(self) -> str | None:
        """Why we had better be started anew, in one sentence; None where we are well.

        Waiting for the Lease is well: somebody else is at work.
        """
        age = self.watch_age()
        if age is None:
            return None
        if age > ECHO_SECONDS:
            return f"The watch has not shown our own Lease for {age:.0f} s; it is renewed every 5 s."
        dead = self.dead_watches() if self.synced() else []
        if dead:
            return f"Nobody watches {', '.join(dead)} any more."
        longest = self.longest()
        if longest > STUCK_SECONDS:
            return f"An EdgeModel has been waiting for {longest:.0f} s."
        return None

    def unready(self) -> str | None:
        """Why nothing is done yet, in one sentence; None where we are at work."""
        if not self.held():
            return "Another operator holds the Lease."
        if not self.synced():
            return "The cluster has not been read yet."
        return None


@asynccontextmanager
async def serving(health: Health, numbers: Numbers, port: int) -> AsyncIterator[None]:
    """Answer probes while the block runs.

    Args:
        health: Asked at every probe.
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
        return answer(health.sick())

    async def readyz(_: web.Request) -> web.Response:
        return answer(health.unready())

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
