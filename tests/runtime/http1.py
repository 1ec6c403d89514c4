"""HTTP/1.1 by hand: a socket that sends what it is told, and reads one response."""

from __future__ import annotations

import socket
from http.client import HTTPResponse
from typing import TYPE_CHECKING, cast

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from io import BufferedReader


class Client:
    """A socket that sends what it is told."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def receive(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """Read one response: status, headers by lower-case name, body."""
        response = HTTPResponse(self.socket, method=method)
        # One response exactly: a buffered reader would swallow those behind it.
        response.fp.close()
        response.fp = cast("BufferedReader", self.socket.makefile("rb", buffering=0))
        response.begin()
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        response.close()
        return response.status, headers, body

    def ended(self) -> bool:
        """Whether the server has closed."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()


def head(method: str, path: str, *headers: str, length: int | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: test", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
