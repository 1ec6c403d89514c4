"""One client's connection: requests in, responses out in their order, and an end to every wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from edgesmith_runtime.errors import Unavailable
from edgesmith_runtime.http.guard import LastResort
from edgesmith_runtime.http.limits import peer_of
from edgesmith_runtime.http.messages import Request, Response, error_response, response_head
from edgesmith_runtime.http.reader import Phase, RequestReader
from edgesmith_runtime.http.sending import Sending

if TYPE_CHECKING:
    from edgesmith_runtime.http.server import HttpServer

__all__ = ["Connection"]

_log: Final = logging.getLogger(__name__)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_ANSWER: Final = 4
"""The work of an answer, in that of frames over HTTP/2."""
_FAILED: Final = error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log says where")


class Connection(asyncio.BufferedProtocol):
    """A connection. One request is answered at a time; those sent meanwhile wait.

    Every request is answered, or its connection closed: by what it asks for, by a deadline, or, where the server
    itself fails, by a last resort around everything that the event loop calls.

    Args:
        server: The server, which holds the limits, the pages and every other connection.
    """

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._limits = server.limits
        self._guard = LastResort(self.fail)
        self._transport: asyncio.Transport
        self._reader: RequestReader
        self._sending: Sending
        self._peer = b""
        self._answering: Request | None = None
        self._future: asyncio.Future[Response] | None = None
        self._answer_by = math.inf
        self._linger_by = math.inf
        self._starting = False
        self._goes_on = False
        self._reading_paused = False
        self._half_closed = False
        self._lingering = False
        self._closed = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection up, or refuse it where there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        self._peer = peer_of(transport.get_extra_info("peername"))
        self._reader = RequestReader(self._limits, self._server.budget, self._peer, self._server.scratch)
        self._sending = Sending(self._transport, self._limits, self._server.budget, self._peer)
        with self._guard:
            if not self._server.add(self):
                if self._server.crowded:
                    self._transport.abort()
                    return
                self._reader.refuse(error_response(Unavailable("too many connections are open; retry in a moment")))
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and whatever it still waited for."""
        del exc
        self._closed = True
        with self._guard:
            self._forget()
        self._sending.resume()
        self._server.remove(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the next bytes belong."""
        del sizehint
        with self._guard:
            if not self._lingering:
                return self._reader.buffer()
        return self._server.scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Take up received bytes."""
        if self._lingering or self._closed:
            return
        with self._guard:
            self._reader.received(nbytes)
            self._advance()

    def eof_received(self) -> bool:
        """Answer what was asked before the client stopped sending, then close."""
        self._half_closed = True
        with self._guard:
            self._reader.drop()
        return self._answering is not None or bool(self._reader.requests)

    def pause_writing(self) -> None:
        """Answer no further to a client that does not read."""
        self._sending.pause()

    def resume_writing(self) -> None:
        """Go on answering."""
        self._sending.resume()
        with self._guard:
            self._advance()

    # What the server calls.

    @property
    def receiving(self) -> bool:
        """Whether it does nothing but bring a body."""
        return self._answering is None and self._reader.phase is Phase.BODY and not self._lingering

    @property
    def deadline(self) -> float:
        """Until when it may take over what it sends, on `time.monotonic`'s clock."""
        return self._reader.deadline

    def stuck(self, now: float) -> float:
        """How many seconds its client has read nothing of an answer."""
        return self._sending.stuck(now)

    def cut(self) -> None:
        """Cut off an answer that its client does not read."""
        self._server.cut_off()
        self._transport.abort()

    def drain(self) -> None:
        """Close as soon as what was asked is answered."""
        with self._guard:
            self._advance()

    def make_room(self) -> bool:
        """Close for the sake of a new connection, unless an answer would be cut off; say whether it does."""
        if self._sending.unsent():
            return False
        with self._guard:
            if self._reader.phase is Phase.BODY:
                self._reader.refuse(error_response(Unavailable("too many connections are open; retry in a moment")))
                self._advance()
            else:
                self._transport.close()
        return True

    def expire(self, now: float) -> None:
        """End a wait that took too long.

        Args:
            now: The time on `time.monotonic`'s clock.
        """
        with self._guard:
            if not self._closed:
                self._expire(now)

    def fail(self) -> None:
        """Answer with the last resort and close, after an error that nothing else took up."""
        _log.exception("a connection failed unexpectedly")
        if self._closed:
            return
        unanswered = self._answering is not None or self._reader.requests or self._reader.phase is not Phase.IDLE
        self._starting = False
        try:
            self._forget()
            if unanswered and not self._lingering:
                self._refuse(_FAILED)
            else:
                self._transport.close()
        except Exception:  # noqa: BLE001 - nothing may pass the last resort
            _log.exception("a connection could not be ended well")
            self._transport.abort()

    # Its own.

    def _expire(self, now: float) -> None:
        sending = self._sending.look(now)
        if sending is Sending.State.STALLED:
            self.cut()
        elif sending is Sending.State.DONE:
            self._linger_by = now + self._limits.linger
            if self._reader.phase is Phase.IDLE:
                self._reader.renew()
        elif self._lingering:
            if sending is Sending.State.NOTHING and now >= self._linger_by:
                self._transport.abort()
        elif now >= self._answer_by:
            self._forget()
            message = f"the answer took over {self._limits.answer:g} seconds; retry in a moment"
            self._refuse(error_response(Unavailable(message)))
        elif now >= self._reader.deadline and not self._reading_paused:
            if self._reader.phase is not Phase.IDLE:
                message = f"waited too long for {self._reader.phase.value}"
                self._reader.refuse(error_response(HTTPStatus.REQUEST_TIMEOUT, message))
                self._advance()
            elif self._answering is None and sending is Sending.State.NOTHING:
                self._transport.close()

    def _advance(self) -> None:
        """Answer the next request, then do what the state asks for."""
        if self._starting or self._closed or self._lingering:
            return
        self._starting = True
        if self._answering is None and self._reader.requests and not self._sending.paused:
            request = self._answering = self._reader.requests.popleft()
            self._answer_by = time.monotonic() + self._limits.answer
            self._server.turns.spend(_ANSWER)
            result = self._server.api.answer(request)
            if isinstance(result, Response):
                self._respond(request, result)
            else:
                self._future = result
                result.add_done_callback(partial(self._settle, request))
        self._starting = False
        if self._closed or self._lingering:
            return
        if self._answering is None and not self._reader.requests:
            if self._reader.refusal is not None:
                self._refuse(self._reader.refusal)
                return
            if self._half_closed or (self._server.stopping and self._reader.phase is Phase.IDLE):
                self._transport.close()
            elif self._reader.wants_continue:
                self._reader.wants_continue = False
                self._reader.renew()
                self._sending.write([_CONTINUE])
        elif self._answering is None and not self._sending.paused and not self._goes_on:
            self._goes_on = True
            self._server.turns.wait(self._go_on)
        waiting = self._answering is None and not self._reader.requests and self._reader.phase is not Phase.BODY
        self._server.note(self, waiting=waiting)
        self._pace()

    def _go_on(self) -> None:
        """Answer a further request, after those of other connections that waited before."""
        self._goes_on = False
        with self._guard:
            self._advance()

    def _settle(self, request: Request, future: asyncio.Future[Response]) -> None:
        """Take up an answer that came later."""
        if self._answering is not request:  # the client left, or was told that it took too long
            return
        with self._guard:
            self._respond(request, self._server.api.settle(request, future, self._sending.room()))

    def _respond(self, request: Request, response: Response) -> None:
        if self._closed:
            return
        keep_alive = request.keep_alive and not self._server.draining
        self._send(response, keep_alive=keep_alive, request=request)
        self._finish_request()
        if not keep_alive:
            self._linger()
            return
        if self._reader.phase is Phase.IDLE:
            self._reader.renew()
        self._advance()

    def _refuse(self, response: Response) -> None:
        """Say why the connection is read no further."""
        self._server.api.refused(response)
        self._send(response, keep_alive=False)
        self._linger()

    def _send(self, response: Response, *, keep_alive: bool, request: Request | None = None) -> None:
        old = request is not None and request.old
        head = response_head(response, keep_alive=keep_alive, old=old, now=time.time())
        if request is not None and request.method == "HEAD":
            self._sending.write([head])
        else:
            self._sending.write([head, *response.parts])

    def _forget(self) -> None:
        """Drop what was asked and is not answered."""
        future, asked = self._future, self._answering
        self._reader.drop()
        self._finish_request()
        for request in self._reader.requests:
            self._server.budget.release(self._peer, request.reserved)
        self._reader.requests.clear()
        if future is not None:
            future.cancel()
            if self._closed and asked is not None:
                self._server.api.left(asked)

    def _finish_request(self) -> None:
        if self._answering is not None:
            self._server.budget.release(self._peer, self._answering.reserved)
        self._answering = self._future = None
        self._answer_by = math.inf
        self._server.note(self, waiting=False)

    def _linger(self) -> None:
        """Stop sending, but read on for a moment: closing on unread bytes would take the response away again."""
        self._lingering = True
        self._linger_by = time.monotonic() + self._limits.linger
        self._server.note(self, waiting=False)
        if self._half_closed or not self._transport.can_write_eof():
            self._transport.close()
            return
        if self._reading_paused:
            self._transport.resume_reading()
        with contextlib.suppress(OSError):  # the client may be gone already
            self._transport.write_eof()

    def _pace(self) -> None:
        """Read no further while enough requests wait."""
        full = len(self._reader.requests) >= self._limits.pipeline or self._sending.paused
        if full and not self._reading_paused:
            self._transport.pause_reading()
        elif self._reading_paused and not full:
            self._transport.resume_reading()
            self._reader.renew()
        self._reading_paused = full
