"""A way to the API server on which connections can fall silent: open for ever, and nothing comes any more."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

_CHUNK = 65536


@dataclass
class _Link:
    """One connection through the proxy."""

    client: socket.socket
    server: socket.socket
    asked: float = field(default_factory=time.monotonic)
    """When the client last sent something."""
    silent: threading.Event = field(default_factory=threading.Event)

    def pump(self, source: socket.socket, target: socket.socket) -> None:
        """Pass bytes on until an end closes or the link falls silent; a silent link drops them."""
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if source is self.client:
                    self.asked = time.monotonic()
                if not self.silent.is_set():
                    target.sendall(data)
        if not self.silent.is_set():
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


class SilentProxy:
    """Passes TCP connections on to one server.

    Args:
        port: The server's, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._links: list[_Link] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where to connect to."""
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def silence(self, unasked: float) -> int:
        """Let every connection fall silent on which the client has asked nothing for so many seconds: the watches.

        Returns:
            How many there were.
        """
        chosen = [link for link in self._links if time.monotonic() - link.asked > unasked]
        for link in chosen:
            link.silent.set()
        return len(chosen)

    def close(self) -> None:
        """Close everything."""
        self._listener.close()
        for link in self._links:
            link.client.close()
            link.server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                link = _Link(client, socket.create_connection(("127.0.0.1", self._server)))
                self._links.append(link)
                for ends in ((link.client, link.server), (link.server, link.client)):
                    threading.Thread(target=link.pump, args=ends, daemon=True).start()


@contextlib.contextmanager
def silent_proxy(port: int) -> Iterator[SilentProxy]:
    """A proxy while the block runs."""
    proxy = SilentProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
