"""A spool and its bucket while a server takes samples: taken, refused or not answered; full, or on a full disk."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.spool import Spool

OBJECTS = 20_000
"""So many small objects wait in a spool that is full."""
_BLOCK = 4096
_DISK = "2m"


class Bucket:
    """A bucket on loopback that answers each PUT with one status, or none at all.

    Args:
        status: The status; None: it takes a request and never answers, as behind a link that is cut.
    """

    def __init__(self, status: int | None) -> None:
        self.arrived: list[int] = []
        """The sizes of what it was sent."""
        self._over = threading.Event()
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                bucket.arrived.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
                if status is None:
                    bucket._over.wait()
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """End."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


@dataclass(frozen=True)
class SpoolState:
    """How it is while a server is measured.

    Attributes:
        words: How a row calls it: "while ...".
        status: What the bucket answers; None: nothing.
        spool: Makes the spool's folder, for as long as it is used.
        bytes: The spool's limit; None: the usual one.
    """

    words: str
    status: int | None
    spool: Callable[[Path], Any]
    bytes: int | None = None


@contextmanager
def _empty(folder: Path) -> Iterator[None]:
    folder.mkdir()
    yield


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Objects that are worth the least, so that each sample takes the place of some."""
    folder.mkdir()
    spool = Spool(_Unsynced(), folder, OBJECTS * _BLOCK)
    for number in range(OBJECTS):
        spool.put(f"{number:06}".encode(), value=0)
    yield


@contextmanager
def _no_disk_left(folder: Path) -> Iterator[None]:
    """A file system of its own whose last byte is taken; this needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "edgesmith-bench", str(folder)], check=True)
    try:
        with (folder / "others").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(_BLOCK))
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class _Unsynced(RealDisk):
    """Filling it is no part of what is measured."""

    def sync(self, handle: int) -> None:
        del handle

    def sync_folder(self, folder: Path) -> None:
        del folder


STATES = (
    SpoolState("samples are taken and sent", 200, _empty),
    SpoolState("the bucket refuses them", 503, _empty),
    SpoolState("the bucket does not answer", None, _empty),
    SpoolState(f"the spool is full, of {OBJECTS:,} objects that the bucket refuses", 503, _full, OBJECTS * _BLOCK),
    SpoolState("the disk is full", 503, _no_disk_left),
)
