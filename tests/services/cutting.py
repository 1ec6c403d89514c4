"""A proxy on loopback that breaks connections half way."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

__all__ = ["CuttingProxy"]


class CuttingProxy:
    """Passes bytes on to a server, and breaks the connection when a budget of bytes towards it, or back, is used up."""

    def __init__(self, address: str, budgets: list[int], back: list[int] | None = None) -> None:
        self.sent = 0
        self.received = 0
        self.cuts = 0
        self._host, _, port = address.partition(":")
        self._port = int(port)
        self._budgets = budgets
        self._back_budgets = back or []
        self._tasks: list[asyncio.Future[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._closing = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        self._closing = True
        # One turn of the loop, in which a connection that has just been accepted gets its task.
        await asyncio.sleep(0)
        for writer in self._writers:
            _abort(writer)
        while waiting := [task for task in self._tasks if not task.done()]:
            await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._tasks.append(task)
        there, out = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, out]
        if self._closing:
            _abort(writer)
            _abort(out)
            return
        back = asyncio.create_task(self._back(there, writer))
        self._tasks.append(back)
        try:
            while data := await reader.read(65536):
                if self._budgets:
                    data = data[: max(0, self._budgets[0])]
                    self._budgets[0] -= len(data)
                self.sent += len(data)
                out.write(data)
                await out.drain()
                if self._budgets and self._budgets[0] <= 0:
                    self._budgets.pop(0)
                    self.cuts += 1
                    break
        except ConnectionError:
            pass
        finally:
            out.close()
            _abort(writer)

    async def _back(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await there.read(65536):
                if self._back_budgets:
                    data = data[: max(0, self._back_budgets[0])]
                    self._back_budgets[0] -= len(data)
                self.received += len(data)
                writer.write(data)
                await writer.drain()
                if self._back_budgets and self._back_budgets[0] <= 0:
                    self._back_budgets.pop(0)
                    self.cuts += 1
                    break
            writer.close()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Break a connection, whatever has become of it."""
    # A transport that has sent its last bytes and closed has no loop any more, and its abort() asks for one.
    with contextlib.suppress(AttributeError):
        writer.transport.abort()
