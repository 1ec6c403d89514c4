"""A line to a server on loopback that can be cut, at any byte, and mended."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

_PIECE = 65536


class Line:
    """Passes TCP connections on to one server.

    Args:
        address: The server's, `HOST:PORT`.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut = False
        """Whether new connections are refused and bytes are dropped with the connection."""
        self.left: int | None = None
        """Bytes that still pass to the server until the line is cut; None: any number."""
        self.deaf = False
        """Whether the server's answers are lost, with the connection, though it was reached."""
        self.passed = 0
        """Bytes that reached the server."""
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.cut:
                    client.close()
                    continue
                server = socket.create_connection(self._server)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_PIECE):
                if self.left is not None:
                    data, self.left = data[: self.left], self.left - len(data[: self.left])
                if not self.cut:
                    self.passed += len(data)
                    server.sendall(data)
                if self.cut or self.left == 0:
                    self.cut = True
                    break
        _end(client, server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(_PIECE):
                if self.deaf or self.cut:
                    break
                client.sendall(data)
        _end(client, server)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
