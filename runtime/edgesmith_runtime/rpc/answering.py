"""What a call's messages are answered with, and how a call ends; knows nothing of how that travels."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.errors import BadRequest, RequestError, Unavailable
from edgesmith_runtime.http.limits import CROWDED
from edgesmith_runtime.rpc.codes import Status, code_of, counted_as, sentence_of
from edgesmith_runtime.rpc.content import content_of

if TYPE_CHECKING:
    from edgesmith_runtime.http.limits import Budget
    from edgesmith_runtime.rpc.call import Answer, Call
    from edgesmith_runtime.rpc.content import Content
    from edgesmith_runtime.rpc.message import Message
    from edgesmith_runtime.service import Service

__all__ = ["Answering"]

_log: Final = logging.getLogger(__name__)

_STOPPING: Final = "the server is stopping; ask another"
_FAILED: Final = "the server failed; its log says where"


class Answering:
    """Answers the calls of one connection.

    Args:
        service: The model and the server's state.
        budget: The memory that all requests and answers share.
        peer: Who calls.
        limit: The most bytes that a message may have once inflated.
    """

    def __init__(self, service: Service, budget: Budget, peer: bytes, limit: int) -> None:
        self._service = service
        self._budget = budget
        self._peer = peer
        self._limit = limit

    def step(self, call: Call, *, ending: bool = False) -> bool:
        """Look at a call's next message, or at its end; say whether another look is worth it.

        Args:
            call: The call.
            ending: Whether the server is stopping: a call of many messages ends with the answer under way.
        """
        if call.done or call.answering is not None:
            return False
        if ending and call.method.streams:
            self.fail(call, Unavailable(_STOPPING))
            return False
        if call.waiting:
            self._take(call, call.waiting.popleft())
            return True
        if call.closed and (call.method.streams or not call.seen):
            if call.reader.begun:
                self.fail(call, BadRequest("the call ends within a message; expected all of it"))
            elif call.method.streams:
                self._end(call, Status.OK)
            else:
                self.fail(call, BadRequest("the call has no message; expected one"))
        return False

    def settle(self, call: Call, future: asyncio.Future[bytes]) -> None:
        """Send what was answered later, unless nobody waits for it any more."""
        if call.answering is not future:
            return
        call.answering = None
        if future.cancelled():
            self._end(call, Status.UNAVAILABLE, _STOPPING)
        elif (error := future.exception()) is None:
            self._reply(call, future.result())
        else:
            self.fail(call, error)

    def fail(self, call: Call, error: BaseException) -> None:
        """End a call because of an error."""
        if not isinstance(error, RequestError):
            # Whatever it is, the caller gets a status and the log the place.
            _log.error("call failed unexpectedly", exc_info=error)
            self._end(call, Status.INTERNAL, _FAILED)
            return
        status = code_of(error)
        if status is Status.INTERNAL:
            _log.warning("inference failed: %s", error)
        self._end(call, status, sentence_of(error), counted_as(error))

    def left(self, call: Call) -> None:
        """Take note that a call's client wants no answer."""
        if not call.done:
            self._count(call, Status.CANCELLED.name)

    def drop(self, call: Call) -> None:
        """Let go of all that a call holds."""
        if call.answering is not None:
            future, call.answering = call.answering, None
            future.cancel()  # a request that waits goes; one that runs keeps its place to the end
        call.reader.drop()
        self._release(call)
        while call.waiting:
            self._budget.release(self._peer, call.waiting.popleft().reserved)
        if call.left is not None:
            call.left()

    def cancel(self, call: Call, sentence: str) -> None:
        """End a call whose client takes too long."""
        self._end(call, Status.CANCELLED, sentence)

    def _take(self, call: Call, message: Message) -> None:
        call.held = message.reserved
        call.seen += 1
        if not call.method.streams and call.seen > 1:
            self._release(call)
            return
        if call.method.most and call.seen > call.method.most:
            self.fail(call, BadRequest(f"the call has more than {call.method.most} messages; begin another call"))
            return
        try:
            result = self._answer(call, content_of(message, call.encoding, self._limit))
        except Exception as error:  # noqa: BLE001 - `fail` tells what it was
            self.fail(call, error)
            return
        if isinstance(result, asyncio.Future):
            call.answering = result
            result.add_done_callback(lambda future: call.side.settle(call, future))
        elif result is None:
            self._release(call)
        else:
            self._reply(call, result)

    def _answer(self, call: Call, content: Content) -> bytes | asyncio.Future[bytes] | None:
        method = call.method
        if method.later is not None:
            return method.later(content)
        assert method.answer is not None  # noqa: S101 - a method has one of the two
        if content.size is None:
            return asyncio.ensure_future(self._inflated(call, content, method.answer))
        return method.answer(content.data, call)

    async def _inflated(self, call: Call, content: Content, answer: Answer) -> bytes:
        """Answer a compressed message; inflating may take as long as a run of the model, and waits its turn as one.

        Raises:
            BadRequest: It is not compressed as the call says.
        """
        result = answer(await self._service.submit(lambda _: content.read()), call)
        if isinstance(result, asyncio.Future):
            return await result
        if result is None:
            raise BadRequest("the message is compressed; expected it as it is")
        return result

    def _reply(self, call: Call, message: bytes) -> None:
        self._release(call)
        if len(message) > self._budget.room(self._peer):
            self.fail(call, Unavailable(CROWDED))
            return
        last = not call.method.streams
        if last:
            call.done = True
            self._count(call, Status.OK.name)
        call.side.send(call, message, last=last)

    def _end(self, call: Call, status: Status, sentence: str = "", counted: str | None = None) -> None:
        if call.done:
            return  # its answer, or another status, is on its way
        call.done = True
        self._count(call, counted or status.name)
        call.side.finish(call, status, sentence)

    def _release(self, call: Call) -> None:
        self._budget.release(self._peer, call.held)
        call.held = 0

    def _count(self, call: Call, code: str) -> None:
        self._service.metrics.add("edgesmith_requests_total", "grpc", call.method.operation, code)
