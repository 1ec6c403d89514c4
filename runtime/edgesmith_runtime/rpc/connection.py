"""One client's connection to the gRPC port: calls in, answers out, and an end to every wait."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, cast

from edgesmith_runtime.errors import RequestError
from edgesmith_runtime.http.guard import LastResort
from edgesmith_runtime.http.limits import peer_of
from edgesmith_runtime.http.sending import Sending
from edgesmith_runtime.http2 import frames
from edgesmith_runtime.http2.frames import Code, Flag, Kind, Setting, Violation
from edgesmith_runtime.http2.leave import Leave
from edgesmith_runtime.http2.outbox import Outbox
from edgesmith_runtime.http2.reader import MOST_FRAME, MOST_HEADER_BYTES, FrameReader
from edgesmith_runtime.rpc.answering import Answering
from edgesmith_runtime.rpc.call import OPENING, Call, Malformed, Method, read_head, refused, trailers
from edgesmith_runtime.rpc.codes import Crowded, Status
from edgesmith_runtime.rpc.expiry import Expiry
from edgesmith_runtime.rpc.message import MessageReader

if TYPE_CHECKING:
    from edgesmith_runtime.http2.hpack import Field
    from edgesmith_runtime.rpc.server import GrpcServer

__all__ = ["Connection"]

_log: Final = logging.getLogger(__name__)

_STREAM_WINDOW: Final = 4 * 2**20
"""Bytes that a client may send on a stream before it is given leave for more."""
_CONNECTION_WINDOW: Final = 16 * 2**20
_MOST_WAITING: Final = 256
"""Messages of one call that wait; each has its price beside its bytes."""
_FEW_WAITING: Final = 8
"""Messages of one call that wait before its client may send no further ones."""
_NOT_READ: Final = 2**20
"""Bytes of answers that wait on one stream before no further message of its call is looked at."""
_ENDING: Final = b"the end."
"""The ping behind which no call can have been sent in ignorance of the end."""
_ENDED_WELL: Final = trailers(Status.OK)


class Connection(asyncio.BufferedProtocol):
    """A connection, its calls answered side by side.

    Args:
        server: The server, which holds the limits, the methods and every other connection.
    """

    def __init__(self, server: GrpcServer) -> None:
        self.calls: dict[int, Call] = {}
        """Its calls by their streams."""
        self._server = server
        self._guard = LastResort(self.fail)
        self._transport: asyncio.Transport
        self._reader = FrameReader(self, server.scratch)
        self._sending: Sending
        self._expiry: Expiry
        self._outbox: Outbox
        self._answering: Answering
        self._peer = b""
        self._leave = Leave(_CONNECTION_WINDOW)
        self._last: int | None = None
        self._ending = False
        self._closing = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection up, or refuse it where there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        self._peer = peer_of(transport.get_extra_info("peername"))
        self._sending = Sending(self._transport, self._server.limits, self._server.budget, self._peer)
        self._expiry = Expiry(self, self._sending, self._server.limits, self._server.own)
        self._outbox = Outbox(self._sending.write, self._written, self._server.budget, self._peer)
        self._answering = Answering(self._server.service, self._server.budget, self._peer, self._server.limits.body)
        with self._guard:
            if not self._server.add(self):
                self._transport.close()
                return
            own = {
                Setting.MAX_CONCURRENT_STREAMS: self._server.own.streams,
                Setting.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
                Setting.MAX_FRAME_SIZE: MOST_FRAME,
                Setting.MAX_HEADER_LIST_SIZE: MOST_HEADER_BYTES,
            }
            more = _CONNECTION_WINDOW - frames.DEFAULT_WINDOW
            self._sending.write([frames.settings(own), frames.window_update(0, more)])

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its calls."""
        del exc
        self._closing = True
        with self._guard:
            for call in tuple(self.calls.values()):
                self._part(call)
        self._sending.resume()
        self._server.remove(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the next bytes belong."""
        del sizehint
        with self._guard:
            if not self._closing:
                return self._reader.buffer()
        return self._server.scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Take up received bytes."""
        if self._closing:
            return
        self._expiry.came()
        with self._guard:
            try:
                self._reader.received(nbytes)
            except Violation as violation:
                self._violated(violation)
                return
            self._expiry.read(self._reader.begun, unfinished=self._reader.unfinished)

    def eof_received(self) -> bool:
        """Close: who sends nothing more can neither take an answer's window nor acknowledge anything."""
        return False

    def pause_writing(self) -> None:
        """Send no further to a client that does not read, and read no further what it sends."""
        self._outbox.paused = True
        self._sending.pause()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._outbox.paused = False
        self._sending.resume()
        self._transport.resume_reading()
        now = time.monotonic()
        self._expiry.renew(self.calls.values(), now)
        self._outbox.renew(now)
        with self._guard:
            self._outbox.flush()
            for call in tuple(self.calls.values()):
                self._look_at(call)

    # What the reader tells of; see `Receiver`.

    def headers(self, stream: int, fields: list[Field], *, begins: bool, ends: bool) -> None:
        """Begin a call, or take its trailers, of which gRPC's clients send none."""
        call = self.calls.get(stream)
        if not begins:
            if call is None or not ends or call.closed:
                self._reset(stream, Code.STREAM_CLOSED if call is None else Code.PROTOCOL_ERROR)
            else:
                self.data_ends(stream)
            return
        if (self._last is not None and stream > self._last) or len(self.calls) >= self._server.own.streams:
            self._reset(stream, Code.REFUSED_STREAM)
            return
        try:
            head = read_head(fields)
        except Malformed:
            self._reset(stream, Code.PROTOCOL_ERROR)
            return
        method = self._server.methods.get(head.path)
        refusal = refused(head, known=method is not None, room=self._server.admits(), calls=self._server.calls)
        if refusal is not None or method is None:
            last = frames.frame(Kind.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, stream, refusal or b"")
            self._sending.write([last] if ends else [last, frames.reset(stream, Code.NO_ERROR)])
        else:
            self._begin(stream, method, head.encoding, ends=ends)

    def data_begins(self, stream: int, length: int) -> None:
        """Hold a frame against the windows, and give leave for more."""
        if not self._leave.take(length):
            raise Violation(Code.FLOW_CONTROL_ERROR, "more bytes came than there was leave for on the connection")
        if more := self._leave.more():
            self._sending.write([frames.window_update(0, more)])
        if (call := self.calls.get(stream)) is not None and (not call.leave.take(length) or call.closed):
            self._drop(call, Code.STREAM_CLOSED if call.closed else Code.FLOW_CONTROL_ERROR)

    def data(self, stream: int, piece: memoryview) -> None:
        """Take some bytes of a message."""
        if (call := self._going_on(stream)) is None:
            return
        try:
            messages = call.reader.take(piece)
        except RequestError as error:
            self._answering.fail(call, error)
            return
        call.waiting.extend(messages)
        self._received(call)

    def place(self, stream: int, length: int) -> memoryview | None:
        """Say where the next bytes of a message belong."""
        if (call := self._going_on(stream)) is None:
            return None
        try:
            return call.reader.place(length)
        except RequestError as error:
            self._answering.fail(call, error)
            return None

    def placed(self, stream: int, count: int) -> None:
        """Take note of bytes that came where they belong."""
        if (call := self._going_on(stream)) is None:
            return
        if (message := call.reader.placed(count)) is not None:
            call.waiting.append(message)
        self._received(call)

    def data_ends(self, stream: int) -> None:
        """Take note that a call's client sends nothing more."""
        if (call := self.calls.get(stream)) is not None:
            call.closed = True
            self._look_at(call)

    def reset(self, stream: int) -> None:
        """End a call whose client wants no answer."""
        if (call := self.calls.get(stream)) is not None:
            self._part(call)

    def settings(self, values: dict[int, int]) -> None:
        """Do as the client asks."""
        self._sending.write([frames.frame(Kind.SETTINGS, Flag.ACK, 0, b"")])
        self._outbox.settings(values)

    def ping(self, payload: bytes, *, answer: bool) -> None:
        """Answer a ping, or take note of an answer."""
        if not answer:
            self._sending.write([frames.frame(Kind.PING, Flag.ACK, 0, payload)])
        elif payload == _ENDING and self._ending:
            self._last = self._reader.newest
            self._sending.write([frames.goaway(self._last, Code.NO_ERROR)])

    def window(self, stream: int, increment: int) -> None:
        """Send what there is leave for now."""
        if not self._outbox.grow(stream, increment):
            self._drop(self.calls[stream], Code.FLOW_CONTROL_ERROR)
        elif (call := self.calls.get(stream)) is not None:
            self._look_at(call)

    # What the server calls.

    @property
    def quiet_since(self) -> float:
        """Since when it has had no call, on `time.monotonic`'s clock."""
        return self._expiry.quiet_since

    def expire(self, now: float) -> None:
        """End a wait that took too long.

        Args:
            now: The time on `time.monotonic`'s clock.
        """
        with self._guard:
            if not self._closing:
                self._expiry.look(self.calls.values(), now, started=self._reader.started)

    def end(self) -> None:
        """Ask the client to begin no further call, and to close the connection when it has its answers (§6.8)."""
        if self._ending or self._closing:
            return
        with self._guard:
            self._ending = True
            ping = frames.frame(Kind.PING, 0, 0, _ENDING)
            self._sending.write([frames.goaway(frames.LARGEST_WINDOW, Code.NO_ERROR), ping])
            for call in tuple(self.calls.values()):
                self._look_at(call)

    def close(self, code: Code = Code.NO_ERROR, sentence: str = "") -> None:
        """Say that the connection ends, and why, and close it."""
        if not self._closing:
            self._closing = True
            self._sending.write([frames.goaway(self._reader.newest, code, sentence)])
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # What answers call; see `Side`.

    def send(self, call: Call, message: bytes | memoryview, *, last: bool) -> None:
        """Send a message, and with the last one the call's end."""
        head = b"" if call.opened else frames.frame(Kind.HEADERS, Flag.END_HEADERS, call.stream, OPENING)
        call.opened = True
        if last:
            call.reader.drop()
        end = self._end(call, _ENDED_WELL) if last else None
        self._outbox.send(call.stream, head, [b"\0" + len(message).to_bytes(4, "big"), message], end)

    def finish(self, call: Call, status: Status, sentence: str = "") -> None:
        """End a call with a status, behind what it has been sent so far."""
        call.done = True
        call.reader.drop()
        block = trailers(status, sentence, alone=not call.opened)
        call.opened = True
        self._outbox.send(call.stream, b"", [], self._end(call, block))

    def cancel(self, call: Call, sentence: str) -> None:
        """End a call whose client takes too long."""
        self._answering.cancel(call, sentence)

    def cut(self, call: Call) -> None:
        """End a call without a status, since its client takes nothing."""
        self._drop(call, Code.CANCEL)

    def settle(self, call: Call, future: asyncio.Future[bytes]) -> None:
        """Send the answer that has been made, and look at what came meanwhile."""
        with self._guard:
            self._answering.settle(call, future)
            if call.stream in self.calls:
                self._look_at(call)

    def stuck(self, call: Call, now: float) -> float:
        """For how many seconds a call's client has taken nothing of what waits for it."""
        return self._outbox.stuck(call.stream, now)

    def fail(self) -> None:
        """Close after an error that nothing else took up."""
        _log.exception("a connection failed unexpectedly")
        try:
            self.close(Code.INTERNAL_ERROR, "the server failed; its log says where")
        except Exception:  # noqa: BLE001 - nothing may pass the last resort
            _log.exception("a connection could not be ended well")
            self._transport.abort()

    # Its own.

    def _begin(self, stream: int, method: Method, encoding: str, *, ends: bool) -> None:
        reader = MessageReader(self._server.budget, self._peer, self._server.limits.body)
        call = Call(stream, method, encoding, reader, self, Leave(_STREAM_WINDOW), since=time.monotonic())
        self.calls[stream] = call
        self._outbox.open(stream)
        self._server.calls += 1
        if ends:
            self.data_ends(stream)

    def _going_on(self, stream: int) -> Call | None:
        """The call of a stream, unless its status is known, whose answer may still wait: what comes then is dropped."""
        call = self.calls.get(stream)
        return None if call is None or call.done else call

    def _received(self, call: Call) -> None:
        """Look at what has come of a call's messages."""
        if len(call.waiting) > _MOST_WAITING:
            sentence = f"more than {_MOST_WAITING} messages of the call wait; expected fewer at once"
            self._answering.fail(call, Crowded(sentence))
            return
        call.came(self._server.limits.rate * self._server.limits.stall, time.monotonic())
        self._look_at(call)

    def _look_at(self, call: Call) -> None:
        """Answer what has come, and give leave for more."""
        while self._outbox.waiting(call.stream) <= _NOT_READ and self._answering.step(call, ending=self._ending):
            pass
        if call.done:
            return
        call.looked_at(time.monotonic())
        if not call.closed and len(call.waiting) < _FEW_WAITING and (more := call.leave.more()):
            self._sending.write([frames.window_update(call.stream, more)])

    def _end(self, call: Call, block: bytes) -> bytes:
        """Frames that end a stream, also where its client would go on."""
        end = frames.frame(Kind.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, call.stream, block)
        return end if call.closed else end + frames.reset(call.stream, Code.NO_ERROR)

    def _reset(self, stream: int, code: Code) -> None:
        self._sending.write([frames.reset(stream, code)])

    def _drop(self, call: Call, code: Code) -> None:
        """End a call without a status."""
        self._reset(call.stream, code)
        self._part(call)

    def _written(self, stream: int) -> None:
        """Forget a call whose end is on its way."""
        if (call := self.calls.get(stream)) is not None:
            self._forget(call)

    def _part(self, call: Call) -> None:
        """Forget a call whose client wants no answer, or takes none."""
        self._outbox.close(call.stream)
        self._answering.left(call)
        self._forget(call)

    def _forget(self, call: Call) -> None:
        del self.calls[call.stream]
        self._answering.drop(call)
        self._server.calls -= 1
        if not self.calls:
            self._expiry.without_calls()

    def _violated(self, violation: Violation) -> None:
        for call in tuple(self.calls.values()):
            self._part(call)
        self.close(violation.code, str(violation))
