"""HTTP/2 by hand (RFC 9113): frames that no gRPC library would send."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9


def call(path: bytes, *more: tuple[bytes, bytes], ends: bool = True, settings: bytes = b"") -> bytes:
    """A connection's first call, without a message (names and values as literals of RFC 7541).

    Args:
        path: The method.
        more: Further headers.
        ends: Whether no message will come.
        settings: The client's settings.
    """
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"x"),
        (b"te", b"trailers"),
    ]
    fields += [(b"content-type", b"application/grpc"), *more]
    block = b"".join(b"\0" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in fields)
    return PREFACE + frame(SETTINGS, 0, 0, settings) + frame(HEADERS, 5 if ends else 4, 1, block)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def frames(connection: socket.socket) -> Generator[tuple[int, int, bytes], None, None]:
    """Every frame that comes: its kind, flags and payload."""
    with connection.makefile("rb") as stream:
        while len(head := stream.read(9)) == 9:
            yield head[3], head[4], stream.read(int.from_bytes(head[:3], "big"))
