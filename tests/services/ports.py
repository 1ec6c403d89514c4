"""Ports for programs that cannot be told to bind port 0."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

__all__ = ["free_ports"]

_LEFT = random.SystemRandom().sample(range(20000, 30000), 10000)
"""Below Linux's range of ports for connections, 32768 to 60999, and that of Services, 30000 to 32767."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; none comes twice.

    They are below those that the kernel gives out (`ip_local_port_range`): other tests run beside these, and one of
    their connections would be given such a port before the program listens on it.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = _LEFT.pop()
        with suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            ports.append(port)
    return ports
