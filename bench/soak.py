"""Ask a server everything that clients ask, right and wrong, for an hour, and see whether it grows; see `soaked`.

    python bench/soak.py --minutes 60        # make soak: SOAK_MINUTES=60; in minutes memory moves by more than it grows

Memory, threads and file descriptors are read once a second. The first fifth is the warm-up. Of the rest the slope of
resident memory is the median of the slopes between all pairs of its samples (Theil and Sen), which single peaks do not
move; the run fails where it comes to more than TOLERANCE over the time measured, or where threads or descriptors are
more at the end than at the beginning. The figures are written to bench/soak.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import grpc
import numpy as np
from clients import grpc_request, http_request, over_grpc, over_http
from mobilenet import SHAPE
from serving import Served, served
from soaked import further, options, watched, watched_bundle

RESULTS = Path(__file__).with_name("soak.json")
TOLERANCE = 4.0
"""MB by which resident memory may have grown over the time measured: what it moves by in a minute at rest."""
_MORE = 2
"""Threads or descriptors by which the end may differ from the beginning: connections come and go."""
_WARM = 5
_CLIENTS = 8
_PAIRS = 200
"""Samples between which slopes are taken; more tell no more."""
_INFER = "/inference.GRPCInferenceService/"


@dataclass(frozen=True)
class Sample:
    """What a server holds at a moment."""

    seconds: float
    memory: float
    """Resident, MB."""
    threads: int
    descriptors: int


@dataclass(frozen=True)
class Verdict:
    """What became of a server.

    Attributes:
        grown: MB by which its resident memory grew over the time measured, by the slope.
        an_hour: The same, an hour.
        threads: How many threads more it had at the end than at the beginning.
        descriptors: How many file descriptors more.
    """

    grown: float
    an_hour: float
    threads: float
    descriptors: float

    @property
    def passed(self) -> bool:
        """Whether it stayed as it was."""
        return self.grown <= TOLERANCE and self.threads <= _MORE and self.descriptors <= _MORE


def judge(samples: Sequence[Sample]) -> Verdict:
    """Judge samples of a whole run, the warm-up among them."""
    after = samples[len(samples) // _WARM :]
    few = after[:: max(1, len(after) // _PAIRS)]
    slopes = [(b.memory - a.memory) / (b.seconds - a.seconds) for a, b in combinations(few, 2)]
    slope = statistics.median(slopes)
    tenth = max(1, len(after) // 10)

    def more(read: Callable[[Sample], float]) -> float:
        return statistics.median(map(read, after[-tenth:])) - statistics.median(map(read, after[:tenth]))

    span = after[-1].seconds - after[0].seconds
    return Verdict(slope * span, slope * 3600, more(lambda one: one.threads), more(lambda one: one.descriptors))


def sample(server: Served, start: float) -> Sample:
    """Read what a server holds (proc(5))."""
    folder = Path(f"/proc/{server.pid}")
    pages = int((folder / "statm").read_text().split()[1])
    return Sample(
        time.monotonic() - start,
        pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        len(list((folder / "task").iterdir())),
        len(list((folder / "fd").iterdir())),
    )


def _asking(server: Served, number: int) -> list[Callable[[], object]]:
    """What one client does, in an order of its own."""
    image = np.random.default_rng(number).normal(size=SHAPE).astype(np.float32)
    request, message = http_request(image), grpc_request(image)
    kept, rpc = over_http(server.http_port, request), over_grpc(server.grpc_port, message)
    channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", [("grpc.use_local_subchannel_pool", 1)])

    def call(method: str, sent: bytes) -> None:
        asked: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        with suppress(grpc.RpcError):
            asked(sent, timeout=20)

    def once(port: int, sent: bytes, *, read: bool) -> None:
        with closing(socket.create_connection(("127.0.0.1", port), 20)) as connection, suppress(ConnectionError):
            connection.sendall(sent)
            while read and connection.recv(65536):
                pass

    def get(path: str) -> None:
        once(server.http_port, f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode(), read=True)

    return [
        kept,
        rpc,
        kept,
        rpc,
        *further(server.http_port, server.grpc_port, number),
        lambda: once(server.http_port, request[: len(request) // 2], read=False),
        lambda: once(server.grpc_port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense and more", read=True),
        lambda: once(server.http_port, b"nonsense\r\n\r\n", read=True),
        lambda: call(_INFER + "ModelInfer", message[: len(message) // 2]),
        lambda: call(_INFER + "ModelMetadata", b"\x0a\x09mobilenet"),
        lambda: call(_INFER + "Nothing", b""),
        lambda: call("/grpc.health.v1.Health/Check", b""),
        lambda: get("/metrics"),
        lambda: get("/v2/health/ready"),
        lambda: get("/v2/models/other"),
    ]


@contextmanager
def asked(server: Served) -> Iterator[list[int]]:
    """Ask while the block runs; how often is in the list.

    Raises:
        SystemExit: A client ended by itself: an answer was not what it should be.
    """
    end, counts, failed = threading.Event(), [0] * _CLIENTS, list[BaseException]()

    def run(number: int) -> None:
        rng = random.Random(number)  # noqa: S311 - the same questions in every run
        does = _asking(server, number)
        try:
            while not end.is_set():
                rng.choice(does)()
                counts[number] += 1
        except BaseException as error:  # noqa: BLE001 - it is told below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    yield counts
    end.set()
    for thread in threads:
        thread.join(30)
    if failed:
        raise SystemExit(f"a client ended: {failed[0]!r}")


def soak(minutes: float) -> tuple[Verdict, list[Sample], int]:
    """Ask for so long; how it went, what was seen, and how much was asked."""
    threads = len(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory() as name,
        served(watched_bundle(Path(name), threads), threads, *options(Path(name))) as server,
    ):
        start, samples = time.monotonic(), []
        with asked(server) as counts:
            while time.monotonic() < start + minutes * 60:
                samples.append(sample(server, start))
                time.sleep(1)
            if not all(counts):
                raise SystemExit("a client had no answer")
            watched(server.http_port)
        return judge(samples), samples, sum(counts)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: %(default)g)")
    minutes = parser.parse_args().minutes
    verdict, samples, requests = soak(minutes)
    after = [one.memory for one in samples[len(samples) // _WARM :]]
    found = {
        "minutes": minutes,
        "requests": requests,
        "memory": {"least": round(min(after), 1), "most": round(max(after), 1), "unit": "MB"},
        "grown": {"measured": round(verdict.grown, 2), "an hour": round(verdict.an_hour, 2), "unit": "MB"},
        "more threads": verdict.threads,
        "more descriptors": verdict.descriptors,
        "passed": verdict.passed,
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 0 if verdict.passed else 1


if __name__ == "__main__":
    sys.exit(main())
