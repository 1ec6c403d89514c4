"""How much a client may ask of the HTTP server, and for how long."""

from __future__ import annotations

import socket
import sys
import threading
from dataclasses import dataclass
from typing import Final

__all__ = ["CROWDED", "MEBIBYTE", "SMALL_ANSWER", "Budget", "Limits", "peer_of"]

CROWDED: Final = "too many bytes of requests and answers are in memory; retry in a moment"
MEBIBYTE: Final = 2**20
SMALL_ANSWER: Final = 64 * 1024
"""Bytes of an answer that is sent whatever waits: a transport takes as many before it is full."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on clients. Sizes are bytes, times are seconds.

    Attributes:
        body: The longest body, as sent and inflated.
        bodies: The most bytes of bodies in memory over all connections, gRPC's messages and answers that wait for
            their clients to read on among them; a further body is answered 503.
        batch: The largest batch of an inference request.
        head: The longest request line with all headers.
        headers: The most headers.
        connections: The most connections at once.
        pipeline: The most requests that wait on one connection before it is read no further.
        waiting: The most requests that wait on one connection at all; 503 above it.
        idle: How long a connection may stay open between requests.
        head_time: How long a request's headers may take in all.
        stall: How long a body may take to bring the next `rate` times `stall` bytes, or its end.
        unread: How long a client may take to read the next `rate` times `unread` bytes of an answer, or its end.
        rate: The fewest bytes a second.
        stuck: How long a client may read nothing when its place is needed for another.
        answer: How long a request that has arrived may wait for its answer.
        linger: How long a connection is still read after its last answer has arrived, so that closing it on unread
            bytes does not take that answer away.
    """

    body: int = 64 * MEBIBYTE
    bodies: int = 256 * MEBIBYTE
    batch: int = 8
    head: int = 32 * 1024
    headers: int = 100
    connections: int = 1024
    pipeline: int = 8
    waiting: int = 256
    idle: float = 75.0
    head_time: float = 15.0
    stall: float = 30.0
    unread: float = 60.0
    rate: int = 4096
    stuck: float = 5.0
    answer: float = 600.0
    linger: float = 2.0

    @property
    def pixels(self) -> int:
        """The most bytes that a picture's pixels may have, three for each: one body, or a quarter of all where less."""
        return min(self.body, self.bodies // 4)

    @property
    def share(self) -> int:
        """The most bytes of bodies that one peer may hold: half of all, or one body where that is more."""
        return min(self.bodies, max(self.body, self.bodies // 2))


class Budget:
    """A number of bytes that many peers share. Safe to use from several threads.

    Args:
        total: How many there are.
        share: How many of them one peer may hold.
    """

    def __init__(self, total: int, share: int) -> None:
        self._left = total
        self._share = share
        self._held: dict[bytes, int] = {}
        self._lock = threading.RLock()

    @property
    def left(self) -> int:
        """How many bytes nobody holds; below 0 where more were taken than there are."""
        return self._left

    def reserve(self, peer: bytes, count: int) -> bool:
        """Take bytes where as many are left, for all and for this peer; say whether they were."""
        with self._lock:
            held = self._held.get(peer, 0) + count
            if count > self._left or held > self._share:
                return False
            self.take(peer, count)
            return True

    def take(self, peer: bytes, count: int) -> None:
        """Take bytes that are there already: none may be left for others then."""
        if count:
            with self._lock:
                self._left -= count
                self._held[peer] = self._held.get(peer, 0) + count

    def room(self, peer: bytes) -> int:
        """The most bytes that an answer may have: any number, or few where answers that wait are over a bound.

        An answer that has been made is in memory already, so the first one over the bound is sent as others are.
        """
        with self._lock:
            over = self._left < 0 or self._held.get(peer, 0) > self._share
        return SMALL_ANSWER if over else sys.maxsize

    def release(self, peer: bytes, count: int) -> None:
        """Give bytes back."""
        if not count:
            return
        with self._lock:
            self._left += count
            self._held[peer] -= count
            if not self._held[peer]:
                del self._held[peer]


def peer_of(address: object) -> bytes:
    """Name who is at a socket address: an IPv4 address, or the network of 64 bits that an IPv6 address is in.

    Whoever has one IPv6 address usually has 2⁶⁴ of them (RFC 6177).
    """
    host = address[0] if isinstance(address, tuple) and address else ""
    try:
        if ":" not in host:
            return socket.inet_aton(host)
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return b""
    return packed[12:] if packed.startswith(bytes(10) + b"\xff\xff") else packed[:8]
