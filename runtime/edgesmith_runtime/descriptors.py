"""How many files and connections this process may have open at once."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

__all__ = ["RESERVED", "connections_of", "raise_descriptor_limit"]

RESERVED: Final = 96
"""What is open besides connections that were taken up: sockets that listen, files, and connections being refused."""


def raise_descriptor_limit() -> int:
    """Let this process open as many as it is allowed to; returns how many.

    getrlimit(2): the soft limit is what counts, and any process may raise it up to the hard one. Where it is 1,024, as
    systemd hands it on, the connections that both ports take would use it up, and probes would be refused. Where the
    system allows no process as many as the hard limit says (`fs.nr_open`), it refuses, and the limit stays as it is.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft


def connections_of(descriptors: int, most: int) -> int:
    """How many connections each of the two ports may take.

    Where descriptors run out first, whoever comes next is reset, a probe like any other, while idle connections stay.

    Args:
        descriptors: How many files and connections may be open.
        most: The most connections.
    """
    if descriptors == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, (descriptors - RESERVED) // 2))
