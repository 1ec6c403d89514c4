"""One client's connection: requests in, responses out in their order, and an end to every wait."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from edgesmith_runtime.errors import Unavailable
from edgesmith_runtime.http.messages import Request, Response, error_response, response_head
from edgesmith_runtime.http.reader import Phase, RequestReader

if TYPE_CHECKING:
    from edgesmith_runtime.http.server import HttpServer

__all__ = ["Connection"]

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.BufferedProtocol):
    """A connection. One request is answered at a time; those sent meanwhile wait.

    Args:
        server: The server, which holds the limits, the pages and every other connection.
    """

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._limits = server.limits
        self._reader = RequestReader(server.limits, server.budget, server.scratch)
        self._transport: asyncio.Transport
        self._answering: Request | None = None
        self._future: asyncio.Future[Response] | None = None
        self._starting = False
        self._writing_paused = False
        self._reading_paused = False
        self._half_closed = False
        self._lingering = False
        self._closed = False
        self._deadline = time.monotonic() + self._limits.idle

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection up, or refuse it where there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.add(self):
            self._reader.refuse(error_response(Unavailable("too many connections are open; retry in a moment")))
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and whatever it still waited for."""
        del exc
        self._closed = True
        if self._future is not None:
            self._future.cancel()
        self._reader.drop()
        self._finish_request()
        for request in self._reader.requests:
            self._server.budget.release(request.reserved)
        self._reader.requests.clear()
        self._server.remove(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the next bytes belong."""
        del sizehint
        return self._server.scratch if self._lingering else self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Take up received bytes."""
        if self._lingering or self._closed:
            return
        before = self._reader.phase
        self._reader.received(nbytes)
        # Headers have a time in all; everything else starts anew with each byte.
        if not self._writing_paused and not (before is self._reader.phase is Phase.HEAD):
            self._deadline = time.monotonic() + self._patience()
        self._advance()

    def eof_received(self) -> bool:
        """Answer what was asked before the client stopped sending, then close."""
        self._half_closed = True
        self._reader.drop()
        return self._answering is not None or bool(self._reader.requests)

    def pause_writing(self) -> None:
        """Answer no further to a client that does not read."""
        self._writing_paused = True
        self._deadline = time.monotonic() + self._limits.stall

    def resume_writing(self) -> None:
        """Go on answering."""
        self._writing_paused = False
        self._deadline = time.monotonic() + self._patience()
        self._advance()

    # What the server calls.

    def drain(self) -> None:
        """Close as soon as what was asked is answered."""
        self._advance()

    def expire(self, now: float) -> None:
        """End a wait that took too long.

        Args:
            now: The time on `time.monotonic`'s clock.
        """
        if now < self._deadline:
            return
        if self._lingering or self._writing_paused:
            self._transport.abort()
        elif self._reader.phase is not Phase.IDLE:
            message = f"waited too long for {self._reader.phase.value}"
            self._reader.refuse(error_response(HTTPStatus.REQUEST_TIMEOUT, message))
            self._advance()
        elif self._answering is None and not self._reader.requests:
            self._transport.close()

    # Its own.

    def _advance(self) -> None:
        """Answer what can be answered now, then do what the state asks for."""
        if self._starting or self._closed or self._lingering:
            return
        self._starting = True
        while self._answering is None and self._reader.requests and not self._writing_paused:
            request = self._answering = self._reader.requests.popleft()
            self._deadline = math.inf
            self._future = self._server.api.answer(request, partial(self._respond, request))
        self._starting = False
        if self._closed or self._lingering:
            return
        if self._answering is None and not self._reader.requests:
            if self._reader.refusal is not None:
                self._server.api.refused(self._reader.refusal)
                self._send(self._reader.refusal, keep_alive=False)
                self._linger()
            elif self._half_closed or (self._server.draining and self._reader.phase is Phase.IDLE):
                self._transport.close()
            elif self._reader.wants_continue:
                self._reader.wants_continue = False
                self._transport.write(_CONTINUE)
        self._pace()

    def _patience(self) -> float:
        """How long the client may take over what the reader waits for, in seconds."""
        match self._reader.phase:
            case Phase.HEAD:
                return self._limits.head_time
            case Phase.BODY:
                return self._limits.stall
        return self._limits.idle

    def _respond(self, request: Request, response: Response) -> None:
        if self._closed:
            return
        keep_alive = request.keep_alive and not self._server.draining
        self._send(response, keep_alive=keep_alive, request=request)
        self._finish_request()
        if not keep_alive:
            self._linger()
            return
        if not self._writing_paused:
            self._deadline = time.monotonic() + self._patience()
        self._advance()

    def _send(self, response: Response, *, keep_alive: bool, request: Request | None = None) -> None:
        old = request is not None and request.old
        head = response_head(response, keep_alive=keep_alive, old=old, now=time.time())
        if request is not None and request.method == "HEAD":
            self._transport.write(head)
        else:
            self._transport.writelines([head, *response.parts])

    def _finish_request(self) -> None:
        if self._answering is not None:
            self._server.budget.release(self._answering.reserved)
        self._answering = self._future = None

    def _linger(self) -> None:
        """Stop sending, but read on for a moment: closing on unread bytes would take the response away again."""
        self._lingering = True
        self._deadline = time.monotonic() + self._limits.linger
        if self._half_closed or not self._transport.can_write_eof():
            self._transport.close()
            return
        if self._reading_paused:
            self._transport.resume_reading()
        with contextlib.suppress(OSError):  # the client may be gone already
            self._transport.write_eof()

    def _pace(self) -> None:
        """Read no further while enough requests wait."""
        full = len(self._reader.requests) >= self._limits.pipeline or self._writing_paused
        if full and not self._reading_paused:
            self._transport.pause_reading()
        elif self._reading_paused and not full:
            self._transport.resume_reading()
        self._reading_paused = full
