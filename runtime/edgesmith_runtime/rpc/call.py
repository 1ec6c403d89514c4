"""One call: how it begins, what it asks for, and how it ends."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

from edgesmith_runtime.http.encodings import ENCODINGS
from edgesmith_runtime.http2.hpack import Field, encode
from edgesmith_runtime.rpc.codes import Status

if TYPE_CHECKING:
    from edgesmith_runtime.http2.leave import Leave
    from edgesmith_runtime.rpc.content import Content
    from edgesmith_runtime.rpc.message import Message, MessageReader

__all__ = [
    "OPENING",
    "Answer",
    "Call",
    "Head",
    "Later",
    "Malformed",
    "Method",
    "Side",
    "read_head",
    "refused",
    "trailers",
]

OPENING: Final = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
"""The headers that an answer begins with."""
_SAFE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
"""What stands in ``grpc-message`` as it is."""
_COMPRESSIONS: Final = ("identity", *ENCODINGS)
"""How a message may be compressed."""
_FORBIDDEN: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
"""Headers that are about a connection, which HTTP/2 has no place for (RFC 9113 §8.2.2)."""
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})


Answer = Callable[["bytes | memoryview", "Call"], "bytes | asyncio.Future[bytes] | None"]
"""Answers one message: at once, or later; None: the call is answered by whom it was given to."""

Later = Callable[["Content"], "asyncio.Future[bytes]"]
"""Answers one message later, and reads it only then."""


@dataclass(frozen=True, slots=True)
class Method:
    """What can be called.

    Attributes:
        operation: What it is counted as.
        answer: Answers one message; None where `later` does.
        streams: Whether a call may have many messages, each with its answer; of other calls the first one counts.
        most: How many messages a call may have where it may have many; 0: as many as come.
        later: Answers one message in the place of `answer`, and reads it where the model is run: inflated, or as an
            object, it may have many times the bytes that came, and many may wait.
    """

    operation: str
    answer: Answer | None
    streams: bool = False
    most: int = 0
    later: Later | None = None


class Malformed(ValueError):  # noqa: N818 - RFC 9113's word
    """Headers are none of HTTP/2's, and their stream ends."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a call's headers say.

    Attributes:
        method: The HTTP method.
        path: The method called.
        content_type: What is sent.
        encoding: How messages may be compressed.
    """

    method: bytes
    path: bytes
    content_type: bytes
    encoding: str


def read_head(fields: list[Field]) -> Head:
    """Read the headers that a stream begins with (RFC 9113 §8.2 and §8.3).

    Raises:
        Malformed: They are no request's.
    """
    found: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        if name[:1] == b":":
            if regular or name not in _PSEUDO or name in found:
                raise Malformed("a pseudo-header is not one of a request's, comes twice, or comes late")
        else:
            regular = True
            if not name or name != name.lower() or name in _FORBIDDEN or (name == b"te" and value != b"trailers"):
                raise Malformed("a header has capitals, or is about the connection")
        found[name] = value
    if not (found.get(b":method") and found.get(b":path") and found.get(b":scheme")):
        raise Malformed("a request lacks its method, its scheme or its path")
    encoding = found.get(b"grpc-encoding", b"identity").decode("latin-1")
    return Head(found[b":method"], found[b":path"], found.get(b"content-type", b""), encoding)


def trailers(status: Status, sentence: str = "", *, alone: bool = False) -> bytes:
    """Write how a call ends.

    Args:
        status: How.
        sentence: Why, for errors.
        alone: Whether no answer precedes it.
    """
    fields = [(b":status", b"200"), (b"content-type", b"application/grpc")] if alone else []
    fields.append((b"grpc-status", str(int(status)).encode()))
    if sentence:
        fields.append((b"grpc-message", quote(sentence, safe=_SAFE).encode()))
    if status is Status.UNIMPLEMENTED:
        fields.append((b"grpc-accept-encoding", ",".join(_COMPRESSIONS).encode()))
    return encode(fields)


class Side(Protocol):
    """Sends to a call's client."""

    def send(self, call: Call, message: bytes | memoryview, *, last: bool) -> None:
        """Send a message, and with the last one the call's end."""

    def finish(self, call: Call, status: Status, sentence: str = "") -> None:
        """End a call with a status."""

    def cancel(self, call: Call, sentence: str) -> None:
        """End a call whose client takes too long."""

    def cut(self, call: Call) -> None:
        """End a call without one, since its client takes too little."""

    def stuck(self, call: Call, now: float) -> float:
        """For how many seconds its client has taken nothing of what waits for it."""

    def late(self, call: Call, now: float) -> bool:
        """Whether its client takes what waits for it too slowly."""

    def settle(self, call: Call, future: asyncio.Future[bytes]) -> None:
        """Send the answer that has been made."""


def refused(head: Head, *, known: bool, room: bool, calls: int) -> bytes | None:
    """Write why a stream does not become a call, as the headers that are its only answer; None where it does.

    Args:
        head: What its headers say.
        known: Whether its method is one of the server's.
        room: Whether the server takes another call.
        calls: How many calls it has.
    """
    if head.method != b"POST":
        return _no_call(b"405", "gRPC calls are made with POST")
    if not head.content_type.startswith(b"application/grpc"):
        return _no_call(b"415", "gRPC calls have a Content-Type of application/grpc")
    if not known:
        sentence = "the method is not one of this server's; reflection tells which are"
        return trailers(Status.UNIMPLEMENTED, sentence, alone=True)
    if head.encoding not in _COMPRESSIONS:
        sentence = f"messages are compressed in a way that is not known; expected {', '.join(_COMPRESSIONS)}"
        return trailers(Status.UNIMPLEMENTED, sentence, alone=True)
    if not room:
        sentence = f"{calls} calls are in flight, which is the limit; retry in a moment"
        return trailers(Status.RESOURCE_EXHAUSTED, sentence, alone=True)
    return None


def _no_call(status: bytes, sentence: str) -> bytes:
    return encode([(b":status", status), (b"content-type", b"text/plain")]) + trailers(Status.INTERNAL, sentence)


@dataclass(eq=False, slots=True)
class Call:
    """A call that has begun and not ended.

    Attributes:
        stream: Its stream.
        method: What is called.
        encoding: How its messages may be compressed.
        reader: Puts its messages together.
        side: What sends to its client.
        waiting: Messages that came and were not looked at.
        seen: How many messages were looked at.
        answering: The answer that is being made; None: none is.
        held: Bytes of the budget that the message holds which is being answered.
        closed: Whether its client sends no further message.
        done: Whether its status is known; what comes still is dropped.
        opened: Whether the headers of its answer were sent.
        left: What is called when it ends, however it does.
        leave: How many bytes its client may send.
        since: From when on it has waited for more of a message (`time.monotonic`); infinity where it does not.
        mark: Bytes that had come then.
    """

    stream: int
    method: Method
    encoding: str
    reader: MessageReader
    side: Side
    leave: Leave
    since: float = math.inf
    waiting: deque[Message] = field(default_factory=deque)
    seen: int = 0
    answering: asyncio.Future[bytes] | None = None
    held: int = 0
    closed: bool = False
    done: bool = False
    opened: bool = False
    left: Callable[[], None] | None = None
    mark: int = 0

    @property
    def expected(self) -> bool:
        """Whether it waits for a message that it owes: its first, or the rest of one."""
        return self.since < math.inf and (self.reader.begun or not self.seen)

    def came(self, least: float, now: float) -> None:
        """Wait anew for the rest of its messages where enough of them has come since it last did.

        Args:
            least: How many bytes are enough.
            now: The time.
        """
        if self.reader.received - self.mark >= least:
            self.mark, self.since = self.reader.received, now

    def looked_at(self, now: float) -> None:
        """Take note whether it waits for more of a message, since now where it did not before.

        Args:
            now: The time.
        """
        if self.waiting or self.answering is not None or self.closed or (self.seen and not self.method.streams):
            self.since = math.inf
        elif self.since == math.inf:
            self.since, self.mark = now, self.reader.received
