"""What a server has read of a connection, as the kernel counts it (proc_pid_net(5))."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.patience import PATIENCE

if TYPE_CHECKING:
    import socket

_TCP: Final = Path("/proc/net/tcp")


def wait_until_read(connection: socket.socket) -> None:
    """Wait until the program at the other end, on this machine, has read all that was sent over IPv4."""
    here, there = f"{connection.getsockname()[1]:04X}", f"{connection.getpeername()[1]:04X}"
    end = time.monotonic() + PATIENCE
    # In this order: what has left one queue is in the other, or read.
    while _queues(here, there)[0] or _queues(there, here)[1]:
        assert time.monotonic() < end, "not all is read"
        time.sleep(0.01)


def _queues(here: str, there: str) -> tuple[int, int]:
    """Of one end: the bytes that it sent and that are not acknowledged, and those that came and are not read."""
    for line in _TCP.read_text().splitlines()[1:]:
        _, own, other, _, queues, *_ = line.split()
        if (own[-4:], other[-4:]) == (here, there):
            sent, came = queues.split(":")
            return int(sent, 16), int(came, 16)
    raise AssertionError("the connection has ended")
