"""How long a probe waits beside eight clients that flood a server: with frames that ask for nothing, and with requests.

    python bench/floods.py                  # prints a JSON list of {name, value, unit, against, ratio}

A process of its own sends what was prepared over eight connections as fast as they take it, and connects anew where the
server closes one. Meanwhile probes come as a kubelet sends them: each over a connection of its own, over HTTP and gRPC.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import statistics
import struct
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from row import Row
from serving import Served, served
from together import rows_bundle

from edgesmith_runtime.http2.frames import PREFACE, Kind, frame, settings
from edgesmith_runtime.http2.hpack import encode

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

CLIENTS, SECONDS, PAUSE = 8, 4.0, 0.02
STREAMS = 30_000
PATIENCE = 60.0
_END_STREAM, _END_HEADERS = 1, 4
_CALL = encode(
    [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/inference.GRPCInferenceService/ServerReady"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
)
_START = PREFACE + settings({})
_HTTP = b"GET /v2/health/ready HTTP/1.1\r\nHost: probe\r\n\r\n"


def _streams(last: bytes, kind: Kind, flags: int) -> bytes:
    """Calls, each with one frame behind its headers."""
    numbers = range(1, 2 * STREAMS, 2)
    return _START + b"".join(
        frame(Kind.HEADERS, _END_HEADERS, number, _CALL) + frame(kind, flags, number, last) for number in numbers
    )


def _floods() -> dict[str, bytes]:
    """What each kind of client sends; the last one over HTTP, the others over gRPC."""
    return {
        "reset streams": _streams(struct.pack(">I", 8), Kind.RST_STREAM, 0),
        "pings": _START + frame(Kind.PING, 0, 0, bytes(8)) * 2 * STREAMS,
        "settings": _START + settings({}) * 2 * STREAMS,
        "calls": _streams(bytes(5), Kind.DATA, _END_STREAM),
        "requests sent ahead": _HTTP * STREAMS,
    }


def measure_floods() -> list[Row]:
    """Measure the wait of probes beside each flood, and beside none."""
    with tempfile.TemporaryDirectory() as folder:
        threads = len(os.sched_getaffinity(0))
        with served(rows_bundle(Path(folder), threads), threads) as server:
            alone = _probe(server)
            found = []
            for name, sent in _floods().items():
                over_http = name == "requests sent ahead"
                with closing(_Flood(server.http_port if over_http else server.grpc_port, sent)):
                    waits = _probe(server)
                found += [_row(name, protocol, waits[protocol], alone[protocol]) for protocol in waits]
    return found


def _row(name: str, protocol: str, waits: list[float], alone: list[float]) -> Row:
    usual = statistics.median(alone)
    against = f"nobody else, {usual:.3g} ms in the middle"
    return Row(f"longest wait of a probe over {protocol} beside {name}", max(waits), "ms", against, max(waits) / usual)


def _probe(server: Served) -> dict[str, list[float]]:
    """Milliseconds that each probe took."""
    waits: dict[str, list[float]] = {"HTTP": [], "gRPC": []}
    call = _START + frame(Kind.HEADERS, _END_HEADERS, 1, _CALL) + frame(Kind.DATA, _END_STREAM, 1, bytes(5))
    asked = {"HTTP": (server.http_port, _HTTP, b"HTTP/1.1 200"), "gRPC": (server.grpc_port, call, b"\x02\x08\x01")}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for protocol, (port, sent, answer) in asked.items():
            began = time.perf_counter()
            _ask(port, sent, answer)
            waits[protocol].append((time.perf_counter() - began) * 1000)
        time.sleep(PAUSE)
    return waits


def _ask(port: int, sent: bytes, answer: bytes) -> None:
    """Connect, ask, and read until the answer is there."""
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as connection:
        connection.sendall(sent)
        received = b""
        while answer not in received:
            if not (more := connection.recv(4096)):
                raise SystemExit("a probe had no answer")
            received += more


class _Flood:
    """Eight clients in a process of their own, until it is closed.

    Args:
        port: Where they connect.
        sent: What each of them sends.
    """

    def __init__(self, port: int, sent: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop, began = context.Event(), context.Event()
        self._process = context.Process(target=_send_all, args=(port, sent, began, self._stop))
        self._process.start()
        began.wait(PATIENCE)

    def close(self) -> None:
        self._stop.set()
        self._process.join()


def _send_all(port: int, sent: bytes, began: Event, stop: Event) -> None:
    clients = [threading.Thread(target=_send, args=(port, sent, began, stop)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()


def _send(port: int, sent: bytes, began: Event, stop: Event) -> None:
    """Send it over one connection after the other, and read what comes."""
    while not stop.is_set():
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port))) as connection:
            connection.setblocking(False)
            left = memoryview(sent)
            while not stop.is_set():
                with suppress(BlockingIOError):
                    left = left[connection.send(left[: 2**20]) :]
                    began.set()
                with suppress(BlockingIOError):
                    if not connection.recv(2**16):
                        break
                time.sleep(0.001)


if __name__ == "__main__":
    print(json.dumps([row.as_json() for row in measure_floods()], indent=2))
