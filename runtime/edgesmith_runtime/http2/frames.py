"""Frames of HTTP/2 (RFC 9113 §4 and §6): their numbers, how they are written, and what a wrong one is."""

from __future__ import annotations

import enum
import struct
from typing import Final

__all__ = [
    "DEFAULT_FRAME",
    "DEFAULT_WINDOW",
    "HEAD",
    "LARGEST_FRAME",
    "LARGEST_WINDOW",
    "PREFACE",
    "Code",
    "Flag",
    "Kind",
    "Setting",
    "Violation",
    "frame",
    "frame_head",
    "goaway",
    "reset",
    "settings",
    "window_update",
]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (§3.4)."""
HEAD: Final = 9
"""Bytes before a frame's payload."""
DEFAULT_WINDOW: Final = 65_535
LARGEST_WINDOW: Final = 2**31 - 1
DEFAULT_FRAME: Final = 16_384
LARGEST_FRAME: Final = 2**24 - 1


class Kind(enum.IntEnum):
    """What a frame is (§6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag:
    """What is said of a frame; `ACK` and `END_STREAM` are one bit, of different kinds.

    Numbers: each operation with an `enum.Flag` is two calls in Python, and a request has a dozen.
    """

    ACK: Final = 0x1
    END_STREAM: Final = 0x1
    END_HEADERS: Final = 0x4
    PADDED: Final = 0x8
    PRIORITY: Final = 0x20


class Setting(enum.IntEnum):
    """What an endpoint says of itself (§6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(enum.IntEnum):
    """Why a stream or a connection ends (§7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Violation(Exception):  # noqa: N818 - reads as what happened
    """A client broke a rule that the whole connection rests on.

    Args:
        code: The rule's code.
        sentence: What was found and what was expected; it repeats nothing that was sent.
    """

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


_HEAD: Final = struct.Struct(">HBBBI")
_NUMBER: Final = struct.Struct(">I")
_PAIR: Final = struct.Struct(">II")
_SETTING: Final = struct.Struct(">HI")


def frame_head(kind: int, flags: int, stream: int, length: int) -> bytes:
    """Write what stands before a payload of so many bytes."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Write a frame."""
    return frame_head(kind, flags, stream, len(payload)) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """Write a SETTINGS frame."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    """Write leave to send as many further bytes, on a stream or, for 0, on the connection."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))


def reset(stream: int, code: Code) -> bytes:
    """Write the end of a stream before its time."""
    return frame(Kind.RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(last: int, code: Code, sentence: str = "") -> bytes:
    """Write the end of a connection: streams above `last` are not looked at."""
    return frame(Kind.GOAWAY, 0, 0, _PAIR.pack(last, code) + sentence.encode())
