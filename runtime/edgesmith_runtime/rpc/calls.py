"""One connection's calls: what comes for each of them, and what each is sent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.errors import RequestError
from edgesmith_runtime.http2 import frames
from edgesmith_runtime.http2.frames import Code, Flag, Kind, Violation
from edgesmith_runtime.http2.leave import Leave
from edgesmith_runtime.http2.outbox import Outbox
from edgesmith_runtime.http2.resets import Resets
from edgesmith_runtime.rpc.answering import Answering
from edgesmith_runtime.rpc.call import OPENING, Call, Malformed, Method, read_head, refused, trailers
from edgesmith_runtime.rpc.codes import Crowded, Status
from edgesmith_runtime.rpc.message import MessageReader

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from edgesmith_runtime.http.guard import LastResort
    from edgesmith_runtime.http.sending import Sending
    from edgesmith_runtime.http2.hpack import Field
    from edgesmith_runtime.http2.marks import Marks
    from edgesmith_runtime.rpc.server import GrpcServer

__all__ = ["CONNECTION_WINDOW", "STREAM_WINDOW", "Calls"]

STREAM_WINDOW: Final = 4 * 2**20
"""Bytes that a client may send on a stream before it is given leave for more."""
CONNECTION_WINDOW: Final = 16 * 2**20
_MOST_WAITING: Final = 256
"""Messages of one call that wait; each has its price beside its bytes."""
_FEW_WAITING: Final = 8
"""Messages of one call that wait before its client may send no further ones."""
_NOT_READ: Final = 2**20
"""Bytes of answers that wait on one stream before no further message of its call is looked at."""
_ENDED_WELL: Final = trailers(Status.OK)


class Calls:
    """The calls of one connection, answered side by side.

    Args:
        server: The server, which holds the limits and the methods.
        guard: Stands around what is called when an answer has been made.
        sending: Sends on the connection.
        marks: What the client's program has read of that.
        peer: Who calls.
        none_left: Is called when the last call has ended.
    """

    def __init__(
        self,
        server: GrpcServer,
        guard: LastResort,
        sending: Sending,
        marks: Marks,
        *,
        peer: bytes,
        none_left: Callable[[], None],
    ) -> None:
        self.open: dict[int, Call] = {}
        """Those that have not ended, by their streams."""
        self.outbox = Outbox(sending.write, self._written, marks, limits=server.limits, budget=server.budget, peer=peer)
        self.ending = False
        """Whether the server is stopping."""
        self.last: int | None = None
        """The last stream that may become a call; None: there is no last one yet."""
        self._server = server
        self._guard = guard
        self._sending = sending
        self._peer = peer
        self._none_left = none_left
        self._answering = Answering(server.service, server.budget, peer, server.limits.body)
        self._leave = Leave(CONNECTION_WINDOW)
        self._resets = Resets(time.monotonic())

    # What the reader tells of; see `Streams`.

    def headers(self, stream: int, fields: list[Field], *, begins: bool, ends: bool) -> None:
        """Begin a call, or take its trailers, of which gRPC's clients send none."""
        call = self.open.get(stream)
        if not begins:
            if call is None or not ends or call.closed:
                self._reset(stream, Code.STREAM_CLOSED if call is None else Code.PROTOCOL_ERROR)
            else:
                self.data_ends(stream)
            return
        if (self.last is not None and stream > self.last) or len(self.open) >= self._server.own.streams:
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
        if (call := self.open.get(stream)) is not None and (not call.leave.take(length) or call.closed):
            self._drop(call, Code.STREAM_CLOSED if call.closed else Code.FLOW_CONTROL_ERROR)

    def data(self, stream: int, piece: memoryview) -> int:
        """Take some bytes of messages; say how many they completed."""
        if (call := self._going_on(stream)) is None:
            return 0
        try:
            messages = call.reader.take(piece, _MOST_WAITING + 1)
        except RequestError as error:
            self._answering.fail(call, error)
            return _MOST_WAITING  # as many may have been read before that
        call.waiting.extend(messages)
        self._received(call)
        return len(messages)

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
        if (call := self.open.get(stream)) is not None:
            call.closed = True
            self._look_at(call)

    def reset(self, stream: int) -> None:
        """End a call whose client wants no answer."""
        if (call := self.open.get(stream)) is not None:
            self._part(call)
            self._count_reset()

    def window(self, stream: int, increment: int) -> None:
        """Send what there is leave for now."""
        if not self.outbox.grow(stream, increment):
            self._drop(self.open[stream], Code.FLOW_CONTROL_ERROR)
        elif not stream:
            self.look()  # what waited on any of them may be gone
        elif (call := self.open.get(stream)) is not None:
            self._look_at(call)

    # What the connection calls.

    def settings(self, values: dict[int, int]) -> None:
        """Do as the client asks, and send what there is leave for then."""
        self.outbox.settings(values)
        self.look()

    def look(self) -> None:
        """Look at every call: it may go on."""
        for call in tuple(self.open.values()):
            self._look_at(call)

    def part(self) -> None:
        """Forget all calls: their client is gone, or broke a rule."""
        for call in tuple(self.open.values()):
            self._part(call)

    # What answers call; see `Side`.

    def send(self, call: Call, message: bytes | memoryview, *, last: bool) -> None:
        """Send a message, and with the last one the call's end."""
        head = b"" if call.opened else frames.frame(Kind.HEADERS, Flag.END_HEADERS, call.stream, OPENING)
        call.opened = True
        if last:
            call.reader.drop()
        end = self._end(call, _ENDED_WELL) if last else None
        self.outbox.send(call.stream, head, [b"\0" + len(message).to_bytes(4, "big"), message], end)

    def finish(self, call: Call, status: Status, sentence: str = "") -> None:
        """End a call with a status, behind what it has been sent so far."""
        call.done = True
        call.reader.drop()
        block = trailers(status, sentence, alone=not call.opened)
        call.opened = True
        self.outbox.send(call.stream, b"", [], self._end(call, block))

    def cancel(self, call: Call, sentence: str) -> None:
        """End a call whose client takes too long."""
        self._answering.cancel(call, sentence)

    def cut(self, call: Call) -> None:
        """End a call without a status, since its client takes too little."""
        self._sending.write([frames.reset(call.stream, Code.CANCEL)])
        self._part(call)

    def settle(self, call: Call, future: asyncio.Future[bytes]) -> None:
        """Send the answer that has been made, and look at what came meanwhile."""
        with self._guard:
            self._answering.settle(call, future)
            if call.stream in self.open:
                self._look_at(call)

    def stuck(self, call: Call, now: float) -> float:
        """For how many seconds a call's client has taken nothing of what waits for it."""
        return self.outbox.stuck(call.stream, now)

    def late(self, call: Call, now: float) -> bool:
        """Whether a call's client takes what waits for it too slowly."""
        return self.outbox.late(call.stream, now)

    # Its own.

    def _begin(self, stream: int, method: Method, encoding: str, *, ends: bool) -> None:
        reader = MessageReader(self._server.budget, self._peer, self._server.limits.body)
        call = Call(stream, method, encoding, reader, self, Leave(STREAM_WINDOW), since=time.monotonic())
        self.open[stream] = call
        self.outbox.open(stream)
        self._server.calls += 1
        if ends:
            self.data_ends(stream)

    def _going_on(self, stream: int) -> Call | None:
        """The call of a stream, unless its status is known, whose answer may still wait: what comes then is dropped."""
        call = self.open.get(stream)
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
        while self.outbox.waiting(call.stream) <= _NOT_READ and self._answering.step(call, ending=self.ending):
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
        """End a stream because of what its client sent."""
        self._sending.write([frames.reset(stream, code)])
        self._count_reset()

    def _drop(self, call: Call, code: Code) -> None:
        """End a call in the same way."""
        self._part(call)
        self._reset(call.stream, code)

    def _count_reset(self) -> None:
        if not self._resets.reset(time.monotonic()):
            raise Violation(Code.ENHANCE_YOUR_CALM, "more calls were given up than answered; expected fewer")

    def _written(self, stream: int) -> None:
        """Forget a call whose end is on its way."""
        self._resets.answered()
        if (call := self.open.get(stream)) is not None:
            self._forget(call)

    def _part(self, call: Call) -> None:
        """Forget a call whose client wants no answer, or takes none."""
        self.outbox.close(call.stream)
        self._answering.left(call)
        self._forget(call)

    def _forget(self, call: Call) -> None:
        del self.open[call.stream]
        self._answering.drop(call)
        self._server.calls -= 1
        if not self.open:
            self._none_left()
