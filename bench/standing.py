"""What the server takes while it does little: to its first answer, at rest, and of memory under load.

    python bench/standing.py                # prints a JSON list of {name, value, unit, against, ratio}

The model is that of serving.py, once alone and once with all that watches switched on (soaked.py). Memory is resident
memory, read while sixteen clients ask over both protocols in turn.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from clients import grpc_request, http_request, over_grpc, over_http, timed
from mobilenet import SHAPE
from peer_servers import ours, running
from process_tree import memory
from row import Row
from serving import MANY, Served, make_bundle, served
from soaked import options, watched_bundle

STARTS = 5
ANSWER_SECONDS, IDLE_PERCENT, MEGABYTES = 0.5, 0.5, 110.0
"""The aims."""
_IDLE_SECONDS = 20.0
_LOAD_SECONDS = 4.0
_LOOK_SECONDS = 0.02


def measure_standing(*, threads: int | None = None) -> list[Row]:
    """Measure the time to the first answer, processor time at rest and memory under load; and with all switched on."""
    threads = threads or len(os.sched_getaffinity(0))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        plain, watched = Path(folder) / "plain", Path(folder) / "watched"
        for place in (plain, watched):
            place.mkdir()
        rows += _measured(make_bundle(plain, threads), threads, "", [])
        rows += _measured(watched_bundle(watched, threads), threads, ", all switched on", options(watched))
    return rows


def _measured(bundle: Path, threads: int, how: str, more: list[str]) -> list[Row]:
    first = statistics.median(_first_answer(bundle, threads, more) for _ in range(STARTS))
    with served(bundle, threads, *more) as server:
        idle = _idle(server)
        held = _loaded(server)
    middle, most = statistics.median(held), max(held)
    aim, load = f"{MEGABYTES:g} MB, the aim", f"server memory under load, {MANY} clients{how}"
    start, rest = f"{ANSWER_SECONDS} s, the aim", f"{IDLE_PERCENT} % of a core, the aim"
    return [
        Row(f"first answer after the start{how}", first, "s", start, first / ANSWER_SECONDS, most=1.0),
        Row(f"server CPU at rest{how}", idle, "%", rest, idle / IDLE_PERCENT, most=1.0),
        Row(load, middle, "MB", aim, middle / MEGABYTES, most=1.0),
        Row(f"{load}, at most", most, "MB", aim, most / MEGABYTES, most=1.0),
    ]


def _first_answer(bundle: Path, threads: int, more: list[str]) -> float:
    """Seconds from the start of the process to the answer to a request that was sent as soon as it was ready."""
    request = http_request(np.zeros(SHAPE, np.float32))
    with running(ours(bundle, threads, *more)) as server:
        ready = time.perf_counter()
        over_http(server.http, request)()
        return server.seconds + time.perf_counter() - ready


def _idle(server: Served) -> float:
    """Per cent of a core that a server takes that nobody asks."""
    before = server.processor_seconds()
    time.sleep(_IDLE_SECONDS)
    return (server.processor_seconds() - before) / _IDLE_SECONDS * 100


def _loaded(server: Served) -> list[float]:
    """MB that a server holds, look by look, while it is asked."""
    image = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    held: list[float] = []
    end = threading.Event()

    def look() -> None:
        while not end.wait(_LOOK_SECONDS):
            held.append(memory(server.pid))

    looking = threading.Thread(target=look)
    looking.start()
    timed([over_http(server.http_port, http_request(image)) for _ in range(MANY)], _LOAD_SECONDS)
    timed([over_grpc(server.grpc_port, grpc_request(image)) for _ in range(MANY)], _LOAD_SECONDS)
    end.set()
    looking.join()
    return held


if __name__ == "__main__":
    print(json.dumps([row.as_json() for row in measure_standing()], indent=2))
