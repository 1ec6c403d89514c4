"""How much a client may ask of the HTTP server, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MEBIBYTE", "Budget", "Limits"]

MEBIBYTE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on clients. Sizes are bytes, times are seconds.

    Attributes:
        body: The longest body, as sent and inflated.
        bodies: The most bytes of bodies in memory over all connections; 503 above it.
        head: The longest request line with all headers.
        headers: The most headers.
        connections: The most connections at once.
        pipeline: The most requests that wait on one connection before it is read no further.
        idle: How long a connection may stay open between requests.
        head_time: How long a request's headers may take in all.
        stall: How long a body may bring no byte, or a response wait for its client to read on.
        linger: How long a connection that is refused is still read, so that its client can read why.
    """

    body: int = 64 * MEBIBYTE
    bodies: int = 256 * MEBIBYTE
    head: int = 32 * 1024
    headers: int = 100
    connections: int = 1024
    pipeline: int = 8
    idle: float = 75.0
    head_time: float = 15.0
    stall: float = 30.0
    linger: float = 2.0


class Budget:
    """A number of bytes that many share.

    Args:
        total: How many there are.
    """

    def __init__(self, total: int) -> None:
        self._left = total

    def reserve(self, count: int) -> bool:
        """Take bytes where as many are left; say whether they were."""
        if count > self._left:
            return False
        self._left -= count
        return True

    def release(self, count: int) -> None:
        """Give bytes back."""
        self._left += count
