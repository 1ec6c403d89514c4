"""A call's messages on their way in: five bytes that say how long one is, then the message, into memory of its own.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md describes the form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.codec.wire import WireError, fields
from edgesmith_runtime.errors import BadRequest, RequestError, TooLarge, Unavailable
from edgesmith_runtime.http.limits import CROWDED
from edgesmith_runtime.http.messages import Body

if TYPE_CHECKING:
    from edgesmith_runtime.http.limits import Budget

__all__ = ["Message", "MessageReader"]

_PREFIX: Final = 5
_COMPRESSED: Final = 1
_RAW_TAG: Final = 7 << 3 | 2
"""The tag of ``raw_input_contents`` in a ModelInferRequest, a tensor's bytes."""
_MORE: Final = 0x80
_LARGE: Final = 4096
"""Bytes from which a message's tensor is worth its place in memory."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that has come whole.

    Attributes:
        data: Its bytes.
        compressed: Whether they are to be inflated.
        reserved: How many bytes of the server's budget it holds.
    """

    data: memoryview
    compressed: bool
    reserved: int


class MessageReader:
    """Puts one call's messages together.

    Args:
        budget: The memory that all messages and bodies share.
        peer: Who sends.
        limit: The longest message in bytes.
    """

    def __init__(self, budget: Budget, peer: bytes, limit: int) -> None:
        self._budget = budget
        self._peer = peer
        self._limit = limit
        self._prefix = bytearray()
        self._size = 0
        self._body: Body | None = None
        self._reserved = 0
        self.received = 0
        """Bytes that have come in all."""

    @property
    def begun(self) -> bool:
        """Whether a message has begun whose end has not come."""
        return bool(self._prefix)

    def place(self, length: int) -> memoryview | None:
        """Say where the next bytes belong, `length` at most; None before the message has its memory.

        Raises:
            Unavailable: The requests of all clients fill the memory set apart for them.
        """
        body = self._body
        if body is None:
            return None
        end = min(body.received + length, self._size)
        self._afford(body, body.received + 1)
        return body.rest(min(end, self._reserved))

    def placed(self, count: int) -> Message | None:
        """Take note of bytes that were written into `place`; give the message that they complete.

        Raises:
            AssertionError: Nothing has a place.
        """
        assert self._body is not None  # noqa: S101 - `place` said where
        self.received += count
        self._body.advance(count)
        return self._whole(self._body)

    def take(self, piece: memoryview, most: int) -> list[Message]:
        """Take bytes as they come; give the messages that they complete.

        Args:
            piece: The bytes.
            most: After how many messages the rest of them is not looked at any more.

        Raises:
            BadRequest: What precedes a message is not what precedes one.
            TooLarge: A message is over the limit.
            Unavailable: The requests of all clients fill the memory set apart for them.
        """
        self.received += len(piece)
        found: list[Message] = []
        try:
            while len(piece) and len(found) < most:
                piece, message = self._take_some(piece)
                if message is not None:
                    found.append(message)
        except RequestError:
            for message in found:  # nobody will be given them
                self._budget.release(self._peer, message.reserved)
            raise
        return found

    def drop(self) -> None:
        """Forget a message that is not whole."""
        self._budget.release(self._peer, self._reserved)
        self._reserved, self._body = 0, None
        self._prefix.clear()

    def _take_some(self, piece: memoryview) -> tuple[memoryview, Message | None]:
        """Take bytes up to a message's end at most; give the rest of them, and the message that they complete."""
        if len(self._prefix) < _PREFIX:
            wanted = _PREFIX - len(self._prefix)
            self._prefix += piece[:wanted]
            piece = piece[wanted:]
            if len(self._prefix) < _PREFIX:
                return piece, None
            self._begin()
        if self._body is None:
            if self._size and not len(piece):
                return piece, None  # where the tensor begins is told by the message's start
            self._body = Body(self._size, _tensor_at(piece) if self._size >= _LARGE else 0)
        body = self._body
        some = piece[: self._size - body.received]
        if len(some):
            self._afford(body, body.received + len(some))
            body.rest(body.received + len(some))[:] = some
            body.advance(len(some))
        return piece[len(some) :], self._whole(body)

    def _begin(self) -> None:
        flag, self._size = self._prefix[0], int.from_bytes(self._prefix[1:], "big")
        if flag > _COMPRESSED:
            raise BadRequest(f"a message begins with {flag}; expected 0, or 1 for a compressed one")
        if self._size > self._limit:
            raise TooLarge(f"the message has {self._size} bytes; expected at most {self._limit}")

    def _afford(self, body: Body, received: int) -> None:
        """Reserve memory for bytes as they come.

        Raises:
            Unavailable: There is none.
        """
        more = received - self._reserved
        if more <= 0:
            return
        more = min(-(-more // body.step) * body.step, self._size - self._reserved)
        if not self._budget.reserve(self._peer, more):
            raise Unavailable(CROWDED)
        self._reserved += more

    def _whole(self, body: Body) -> Message | None:
        return self._end(body.view()) if body.received == self._size else None

    def _end(self, data: memoryview) -> Message:
        message = Message(data, bool(self._prefix[0]), self._reserved)
        self._reserved, self._body = 0, None
        self._prefix.clear()
        return message


def _tensor_at(start: memoryview) -> int:
    """Where in a message its first raw tensor begins, as far as its start tells; 0 where it does not."""
    at = 0
    try:
        for _, whole, _ in fields(start):
            if whole[0] == _RAW_TAG:
                break
            at += len(whole)
    except WireError:
        pass  # the field that goes on beyond the start is the one
    if at >= len(start) or start[at] != _RAW_TAG:
        return 0
    at += 1
    while at < len(start) and start[at] & _MORE:
        at += 1
    return at + 1
