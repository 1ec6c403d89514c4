"""A web server over TLS that gives the files of a folder to whoever has its token: `tls_files.py FOLDER HOST PORT`.

The folder has `server.crt`, `server.key` and `token` beside `files/`. What was asked is written to stdout, a line each:
`METHOD PATH STATUS`.
"""

from __future__ import annotations

import hmac
import ssl
import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Files(SimpleHTTPRequestHandler):
    """Answers with a file, or 401."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: object, token: str, **more: object) -> None:
        self._token = token
        super().__init__(*args, **more)  # type: ignore[arg-type]  # whatever the server hands on

    def do_GET(self) -> None:
        """A file."""
        if self._known():
            super().do_GET()

    def do_HEAD(self) -> None:
        """What a file's headers would be."""
        if self._known():
            super().do_HEAD()

    def _known(self) -> bool:
        if hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {self._token}"):
            return True
        self.send_error(HTTPStatus.UNAUTHORIZED)
        return False

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Nothing but what `log_request` says."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 - likewise
        """One line on stdout."""
        status = code.value if isinstance(code, HTTPStatus) else code
        sys.stdout.write(f"{self.command} {self.path} {status}\n")
        sys.stdout.flush()


def main(folder: Path, host: str, port: int) -> None:
    """Serve until killed."""
    token = (folder / "token").read_text()
    server = ThreadingHTTPServer((host, port), partial(Files, token=token, directory=str(folder / "files")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
