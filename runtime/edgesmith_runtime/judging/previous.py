"""Asks the server that still serves on this node how its requests went.

Until this server is ready, the EdgeModel's Service leads to the other one, and never to another node
(``internalTrafficPolicy: Local``). The kubelet says in the environment where the Service is, so no name is looked up.
Nothing that comes back is trusted: it is short, of one form, and of another start of a server than this one.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from edgesmith_runtime.judging.figures import LONGEST, Figures, read

__all__ = ["PAGE", "ask"]

PAGE: Final = "/traffic"
_PATIENCE: Final = 2.0
"""Seconds for a whole answer: where no server is ready, the Service's address swallows what is sent to it."""
_HEADERS: Final = 4096


async def ask(host: str, port: int, *, own: str) -> Figures | None:
    """Ask once.

    Args:
        host: The Service's address.
        port: Its port.
        own: This server's `instance`: it may already answer itself.

    Returns:
        The other server's figures; None where it gave none that can be read.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            page = await _page(host, port)
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    found = read(page) if page else None
    return found if found and found.instance != own else None


async def _page(host: str, port: int) -> bytes | None:
    reader, writer = await asyncio.open_connection(host, port, limit=_HEADERS)
    try:
        name = f"[{host}]" if ":" in host else host
        writer.write(f"GET {PAGE} HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        if not head[0].startswith(b"HTTP/1.1 200 "):
            return None
        for line in head[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == b"content-length" and int(value) <= LONGEST:
                return await reader.readexactly(int(value))
        return None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
