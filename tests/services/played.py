"""A server on loopback that answers as a test wants it to, over HTTP or TLS."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self


@dataclass
class Answer:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Bytes of the body after which the line breaks."""


def refused(status: int, code: str, **headers: str) -> Answer:
    """A bucket's refusal."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>Not you.</Message></Error>".encode(), headers)


Answering = Callable[[BaseHTTPRequestHandler], Answer]


@dataclass
class Played:
    """What it is asked is kept as `METHOD PATH`, with the headers beside."""

    answering: Answering
    certificate: tuple[Path, Path] | None = None
    """A certificate and its key, for TLS."""
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.port = self._server.server_address[1]
        self.endpoint = f"{'http' if self.certificate is None else 'https'}://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that break: tests break them."""


def _handler(played: Played) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def go(self) -> None:
            played.asked.append(f"{self.command} {self.path}")
            played.headers.append(dict(self.headers))
            answer = played.answering(self)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: answer.cut])
            self.close_connection = answer.cut is not None

        do_GET = do_HEAD = do_POST = do_PUT = go  # noqa: N815 - the names that the base class calls

    return Handler
