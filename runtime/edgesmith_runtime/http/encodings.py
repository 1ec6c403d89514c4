"""Compressed bodies: gzip and deflate, both ways."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.errors import BadRequest, TooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ENCODINGS", "accepted_encoding", "deflate", "inflate"]

ENCODINGS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""The encodings there are, with zlib's number for each (RFC 9110 §8.4.1: ``deflate`` is the zlib format)."""

_FASTEST: Final = 1


def inflate(body: memoryview, encoding: str, limit: int) -> memoryview:
    """Undo a body's encoding.

    Args:
        body: The body as it came.
        encoding: One of `ENCODINGS`.
        limit: The most bytes that may come out.

    Raises:
        BadRequest: The body is not of that encoding, ends early, or has bytes after its end.
        TooLarge: More than `limit` bytes would come out; no more than that are ever held.
    """
    decoder = zlib.decompressobj(ENCODINGS[encoding])
    try:
        inflated = decoder.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"the body cannot be inflated as {encoding}: {error}") from error
    if len(inflated) > limit:
        raise TooLarge(f"the body is over {limit} bytes inflated; expected at most that")
    if not decoder.eof or decoder.unused_data:
        raise BadRequest(f"the body is not one whole {encoding} stream; expected its end where the body ends")
    return memoryview(inflated)


def deflate(parts: Sequence[bytes | memoryview], encoding: str) -> list[bytes | memoryview]:
    """Encode a body; the same body gives the same bytes."""
    encoder = zlib.compressobj(_FASTEST, zlib.DEFLATED, ENCODINGS[encoding])
    return [*(encoder.compress(part) for part in parts), encoder.flush()]


def accepted_encoding(header: str) -> str | None:
    """Choose an encoding from an ``Accept-Encoding`` header: the first known one that is not refused with ``q=0``."""
    for item in header.lower().split(","):
        name, _, parameters = item.strip().partition(";")
        refused = parameters.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
        if name.strip() in ENCODINGS and not refused:
            return name.strip()
    return None
