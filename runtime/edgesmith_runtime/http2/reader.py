"""A client's bytes taken apart into frames (RFC 9113 §4 to §6); what DATA frames carry is received without a copy."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Protocol

from edgesmith_runtime.http2.frames import (
    HEAD,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    PREFACE,
    Code,
    Flag,
    Kind,
    Setting,
    Violation,
)
from edgesmith_runtime.http2.hpack import BlockError, Decoder, Field

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MOST_FRAME", "MOST_HEADERS", "MOST_HEADER_BYTES", "FrameReader", "Receiver", "Streams"]

MOST_FRAME: Final = 2**20
"""The longest frame that a client may send. Long ones spare both sides work; other kinds than DATA are far shorter."""
MOST_HEADERS: Final = 100
MOST_HEADER_BYTES: Final = 16 * 1024
"""Of a call's headers, as sent and as decoded; gRPC's own servers take as much."""
_MOST_CONTROL: Final = 4096
"""Of the payload of a frame that is neither DATA nor headers; the longest that means something is GOAWAY's."""
_WORTH_A_PLACE: Final = 8192
"""With fewer bytes of a DATA frame to come, a copy is cheaper than a read of their own."""
_SMALLEST_FRAME: Final = 2**14
_PRIORITY_BYTES: Final = 5
_WORTH_A_FRAME: Final = 256
"""Bytes of headers, or of another control frame, that take as long as a frame."""
_STREAM: Final = 0x7FFF_FFFF
_LENGTHS: Final[dict[int, int]] = {Kind.PRIORITY: 5, Kind.RST_STREAM: 4, Kind.PING: 8, Kind.WINDOW_UPDATE: 4}
"""Kinds whose payloads have one length."""
_OF_THE_CONNECTION: Final = frozenset({Kind.SETTINGS, Kind.PING, Kind.GOAWAY})
_OF_A_STREAM: Final = frozenset({Kind.DATA, Kind.HEADERS, Kind.PRIORITY, Kind.RST_STREAM, Kind.CONTINUATION})


class Receiver(Protocol):
    """Who is told what came for the connection."""

    def settings(self, values: dict[int, int]) -> None:
        """The client says how it is to be spoken to."""

    def ping(self, payload: bytes, *, answer: bool) -> None:
        """The client asks for a sign of life, or answers."""


class Streams(Protocol):
    """Who is told what came for streams. They are told by their numbers, all of them odd."""

    def headers(self, stream: int, fields: list[Field], *, begins: bool, ends: bool) -> None:
        """Take a whole block of headers: those that a stream begins with, or others."""

    def data_begins(self, stream: int, length: int) -> None:
        """Take note of a DATA frame whose payload, padding included, counts so many bytes."""

    def data(self, stream: int, piece: memoryview) -> int:
        """Take some bytes of it, which are the reader's again afterwards; say how many messages they completed."""

    def place(self, stream: int, length: int) -> memoryview | None:
        """Say where the next bytes belong, `length` at most; None where they have no place of their own yet."""

    def placed(self, stream: int, count: int) -> None:
        """Take note of bytes that were written into `place`."""

    def data_ends(self, stream: int) -> None:
        """Take note of the end of a DATA frame that is the stream's last."""

    def reset(self, stream: int) -> None:
        """The client wants no more of a stream."""

    def window(self, stream: int, increment: int) -> None:
        """The client may be sent more bytes, on a stream or, for 0, on the connection."""


class FrameReader:
    """Reads one connection.

    Args:
        receiver: Who is told of the connection.
        streams: Who is told of streams.
        scratch: Memory for what is read; may be shared, because nothing stays in it.
    """

    def __init__(self, receiver: Receiver, streams: Streams, scratch: memoryview) -> None:
        self.started = False
        """Whether the client began as HTTP/2 begins, its settings included."""
        self.newest = 0
        """The newest stream that the client began."""
        self.begun = 0
        """How many frames have begun, without those that go on with a block of headers."""
        self.more = False
        """Whether bytes have come that wait until more work may be done."""
        self._work = 0
        self._receiver = receiver
        self._streams = streams
        self._scratch = scratch
        self._decoder = Decoder(fields=MOST_HEADERS, size=MOST_HEADER_BYTES)
        self._held = bytearray()
        self._need = len(PREFACE)
        self._preface = False
        self._direct = False
        self._block: bytearray | None = None
        self._block_stream = 0
        self._block_ends = False
        # Of the DATA frame that is being read: its stream, bytes and padding to come, and whether it is the last.
        self._stream = 0
        self._left = self._padding = 0
        self._ends = False
        self._kinds: dict[int, Callable[[int, int, memoryview], None]] = {
            Kind.HEADERS: self._headers,
            Kind.RST_STREAM: self._reset,
            Kind.SETTINGS: self._settings,
            Kind.PING: self._ping,
            Kind.WINDOW_UPDATE: self._window,
            Kind.CONTINUATION: self._continuation,
            Kind.PUSH_PROMISE: self._push,
        }

    @property
    def unfinished(self) -> bool:
        """Whether a frame or a block of headers has begun and its end has not come."""
        return bool(self._held) or self._block is not None

    def buffer(self) -> memoryview:
        """The memory that the next bytes belong in."""
        if self._left >= _WORTH_A_PLACE and not self._held:
            place = self._streams.place(self._stream, self._left)
            if place is not None:
                self._direct = True
                return place
        self._direct = False
        return self._scratch

    @property
    def held(self) -> int:
        """How many bytes have come that are not taken up yet."""
        return len(self._held)

    def received(self, count: int, most: int) -> int:
        """Take up `count` bytes that were written into `buffer`.

        Args:
            count: How many they are.
            most: The most work to be done for them. A frame is one, a message another, and long headers are as many
                frames; long data are none. The last frame may be over it.

        Returns:
            The work that was done. What is left waits: see `more`, and `go_on`.

        Raises:
            Violation: They break a rule.
        """
        if self._direct:
            self._left -= count
            self._streams.placed(self._stream, count)
            self._end_data()
            return 0
        data = self._scratch[:count]
        if self._held:
            self._held += data
            return self.go_on(most) if len(self._held) >= self._need else 0
        return self._take_up(data, most)

    def go_on(self, most: int) -> int:
        """Take up bytes that wait; see `received`."""
        data, self._held = memoryview(self._held), bytearray()
        return self._take_up(data, most)

    def _take_up(self, data: memoryview, most: int) -> int:
        self._work, self.more = 0, False
        at = self._walk(data, most)
        if at < len(data):
            self._held = bytearray(data[at:])
        return self._work

    def _walk(self, data: memoryview, most: int) -> int:
        """Take up whole frames, and whatever has come of a DATA frame; say where the rest begins."""
        at, end = 0, len(data)
        while at < end:
            if self._work >= most:
                self.more = True
                break
            if self._left or self._padding:
                at = self._payload(data, at, end)
                continue
            if not self._preface:
                if not self._begins(data):
                    break
                at = len(PREFACE)
                continue
            self._need = HEAD
            if end - at < HEAD:
                break
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            kind, flags = data[at + 3], data[at + 4]
            stream = int.from_bytes(data[at + 5 : at + HEAD], "big") & _STREAM
            self._check(kind, stream, length)
            self.begun += kind != Kind.CONTINUATION
            padded = bool(flags & Flag.PADDED)
            self._need = HEAD + (padded if kind == Kind.DATA else length)
            if end - at < self._need:
                break
            at += self._need
            if kind == Kind.DATA:
                self._work += length < _WORTH_A_PLACE  # a longer one is bytes, which are cheap
                self._begin_data(stream, flags, length, data[at - 1] + 1 if padded else 0)
                continue
            self._work += 1 + length // _WORTH_A_FRAME
            if found := self._kinds.get(kind):
                found(stream, flags, data[at - length : at])
        return at

    def _begins(self, data: memoryview) -> bool:
        """Hold a connection's first bytes against the preface; say whether it is whole."""
        if data[: len(PREFACE)] != PREFACE[: len(data)]:
            raise Violation(Code.PROTOCOL_ERROR, "the connection does not begin as HTTP/2; expected its preface")
        self._preface = len(data) >= len(PREFACE)
        return self._preface

    def _check(self, kind: int, stream: int, length: int) -> None:
        """Hold a frame's head against the rules for all."""
        if not self.started and kind != Kind.SETTINGS:
            raise Violation(Code.PROTOCOL_ERROR, f"the first frame is of kind {kind}; expected SETTINGS")
        if self._block is not None and (kind != Kind.CONTINUATION or stream != self._block_stream):
            raise Violation(Code.PROTOCOL_ERROR, "a frame stands within a block of headers; expected the block's rest")
        if kind in (Kind.HEADERS, Kind.CONTINUATION):
            if length > MOST_HEADER_BYTES:
                raise Violation(Code.ENHANCE_YOUR_CALM, f"headers have {length} bytes; expected {MOST_HEADER_BYTES}")
        elif length > (MOST_FRAME if kind == Kind.DATA else _MOST_CONTROL):
            raise Violation(Code.FRAME_SIZE_ERROR, f"a frame of kind {kind} has {length} bytes; expected fewer")
        only = _LENGTHS.get(kind)
        if only is not None and length != only:
            raise Violation(Code.FRAME_SIZE_ERROR, f"a frame of kind {kind} has {length} bytes; expected {only}")
        if (stream and kind in _OF_THE_CONNECTION) or (not stream and kind in _OF_A_STREAM):
            raise Violation(Code.PROTOCOL_ERROR, f"a frame of kind {kind} is on stream {stream}; expected another")
        if kind in (Kind.DATA, Kind.RST_STREAM, Kind.WINDOW_UPDATE) and stream and not self._known(stream):
            raise Violation(Code.PROTOCOL_ERROR, f"a frame of kind {kind} is on a stream that has not begun")

    def _known(self, stream: int) -> bool:
        return stream % 2 == 1 and stream <= self.newest

    # DATA.

    def _begin_data(self, stream: int, flags: int, length: int, padding: int) -> None:
        if padding > length:
            raise Violation(Code.PROTOCOL_ERROR, "a frame is padded beyond its end")
        self._streams.data_begins(stream, length)
        self._stream, self._ends = stream, bool(flags & Flag.END_STREAM)
        self._padding = max(0, padding - 1)  # without the byte that says how much there is
        self._left = length - padding
        if not self._left and not self._padding:
            self._end_data()

    def _payload(self, data: memoryview, at: int, end: int) -> int:
        """Take up what has come of a DATA frame's payload; say where that ends."""
        count = min(self._left, end - at)
        if count:
            self._left -= count
            self._work += self._streams.data(self._stream, data[at : at + count])
            at += count
        skipped = min(self._padding, end - at) if not self._left else 0
        self._padding -= skipped
        self._end_data()
        return at + skipped

    def _end_data(self) -> None:
        if not self._left and not self._padding and self._ends:
            self._ends = False
            self._streams.data_ends(self._stream)

    # Headers.

    def _headers(self, stream: int, flags: int, payload: memoryview) -> None:
        start = padding = 0
        if flags & Flag.PADDED:
            padding, start = (payload[0] if payload else 0), 1
        start += _PRIORITY_BYTES if flags & Flag.PRIORITY else 0
        if start + padding > len(payload):
            raise Violation(Code.PROTOCOL_ERROR, "a frame is padded beyond its end")
        if stream % 2 == 0:
            raise Violation(Code.PROTOCOL_ERROR, f"a client began stream {stream}; expected an odd one")
        self._block, self._block_stream = bytearray(payload[start : len(payload) - padding]), stream
        self._block_ends = bool(flags & Flag.END_STREAM)
        self._end_block(flags)

    def _continuation(self, stream: int, flags: int, payload: memoryview) -> None:
        if self._block is None:
            raise Violation(Code.PROTOCOL_ERROR, f"a block of headers goes on, on stream {stream}, that has not begun")
        if not payload and not flags & Flag.END_HEADERS:
            raise Violation(Code.ENHANCE_YOUR_CALM, "a block of headers goes on with nothing; expected its rest")
        if len(self._block) + len(payload) > MOST_HEADER_BYTES:
            raise Violation(Code.ENHANCE_YOUR_CALM, f"headers are over {MOST_HEADER_BYTES} bytes; expected fewer")
        self._block += payload
        self._end_block(flags)

    def _end_block(self, flags: int) -> None:
        if not flags & Flag.END_HEADERS or self._block is None:
            return
        block, self._block = bytes(self._block), None
        try:
            fields = self._decoder.decode(block)
        except BlockError as error:
            raise Violation(Code.COMPRESSION_ERROR, str(error)) from error
        begins = self._block_stream > self.newest
        self.newest = max(self.newest, self._block_stream)
        self._streams.headers(self._block_stream, fields, begins=begins, ends=self._block_ends)

    # The rest.

    def _reset(self, stream: int, _flags: int, _payload: memoryview) -> None:
        self._streams.reset(stream)

    def _settings(self, _stream: int, flags: int, payload: memoryview) -> None:
        self.started = True
        if flags & Flag.ACK:
            if payload:
                raise Violation(Code.FRAME_SIZE_ERROR, "settings are acknowledged with a payload; expected none")
            return
        if len(payload) % 6:
            raise Violation(Code.FRAME_SIZE_ERROR, f"settings have {len(payload)} bytes; expected a multiple of 6")
        pairs = list(struct.iter_unpack(">HI", payload))
        for (
            setting,
            value,
        ) in pairs:  # One may come twice in a frame: the last counts, and all must be right (RFC 9113, 6.5).
            if setting == Setting.INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
                raise Violation(Code.FLOW_CONTROL_ERROR, "a window is over 2³¹ - 1 bytes; expected fewer")
            if setting == Setting.MAX_FRAME_SIZE and not _SMALLEST_FRAME <= value <= LARGEST_FRAME:
                raise Violation(
                    Code.PROTOCOL_ERROR, "the longest frame is out of bounds; expected 2¹⁴ to 2²⁴ - 1 bytes"
                )
            if setting == Setting.ENABLE_PUSH and value > 1:
                raise Violation(Code.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
        self._receiver.settings(dict(pairs))

    def _ping(self, _stream: int, flags: int, payload: memoryview) -> None:
        self._receiver.ping(bytes(payload), answer=bool(flags & Flag.ACK))

    def _window(self, stream: int, _flags: int, payload: memoryview) -> None:
        self._streams.window(stream, int.from_bytes(payload, "big") & _STREAM)

    def _push(self, _stream: int, _flags: int, _payload: memoryview) -> None:
        raise Violation(Code.PROTOCOL_ERROR, "a client cannot push")
