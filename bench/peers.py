"""Measure our server beside Triton and MLServer, all with the same model file, clients, threads and session settings.

    python bench/peers.py                   # prints a JSON list of {name, value, unit, against, ratio}

`value` is ours, and `ratio` ours over the other's. Triton runs in two arrangements: one instance on all threads, as our
server does for a lone client, and an instance on each, as it does for many. All servers run at once and idle while
another is asked; they take turns part by part. The first run installs the other servers into environments of their own
(environments.py); what cannot be had is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from clients import grpc_request, grpc_scores, http_request, http_scores, over_grpc, over_http, timed
from mobilenet import SHAPE
from peer_servers import Peer, Running, mlservers, ours, running, tritons
from process_tree import memory, processor_seconds
from row import Row
from serving import Round, make_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CLIENTS = (1, 4, 16)
STARTS = 3
TIMES = {"Triton": 1.3, "MLServer": 6.0}
"""The aims: how many times the throughput of another server, by the first word of its name."""
SCORES = 1000
_SAME = 1e-4
"""How far scores may be apart, as a part of their range: runs on one thread add up in another order."""
Part = tuple[str, int]
"""A protocol and a number of clients."""


@dataclass
class Measured:
    """What was found of one server.

    Attributes:
        rounds: The rounds of each part.
        starts: Seconds of each start until the model was ready.
        memory: MB of all its processes after the last round.
    """

    rounds: dict[Part, list[Round]] = field(default_factory=dict)
    starts: list[float] = field(default_factory=list)
    memory: float = 0.0


def measure_peers(*, threads: int | None = None, seconds: float = 1.5, rounds: int = 5) -> list[Row]:
    """Measure throughput, latency, processor time and memory of each server, and how long it takes to start.

    Args:
        threads: How many cores each server computes with; all when ``None``.
        seconds: The length of one part of a round.
        rounds: How often every part is measured.
    """
    threads = threads or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bundle = make_bundle(folder, threads)
        model = bundle / "model.onnx"
        peers = [ours(bundle, threads), *tritons(model, folder, threads), *mlservers(model, folder, threads)]
        measured = {peer.name: Measured(starts=_starts(peer)) for peer in peers}
        with ExitStack() as stack:
            servers = {peer.name: (peer, stack.enter_context(running(peer))) for peer in peers}
            _ask(servers, measured, seconds, rounds)
            for name, (_, server) in servers.items():
                measured[name].memory = memory(server.pid)
    own, *others = peers
    return [row for other in others for row in _rows(measured[own.name], other.name, measured[other.name])]


def _starts(peer: Peer) -> list[float]:
    found = []
    for _ in range(STARTS):
        with running(peer) as server:
            found.append(server.seconds)
    return found


def _ask(servers: dict[str, tuple[Peer, Running]], measured: dict[str, Measured], seconds: float, rounds: int) -> None:
    image = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    over_both = {"HTTP": http_request(image), "gRPC": grpc_request(image)}
    parts: list[tuple[Part, str, int, list[Callable[[], bytes]]]] = []
    answers = {}
    for protocol, request in over_both.items():
        for name, (peer, server) in servers.items():
            if protocol in peer.protocols:
                http = protocol == "HTTP"
                connect, port = (over_http, server.http) if http else (over_grpc, server.grpc)
                calls = [connect(port, request) for _ in range(max(CLIENTS))]
                answers[name, protocol] = (http_scores if http else grpc_scores)(calls[0]())
                parts += [((protocol, count), name, server.pid, calls[:count]) for count in CLIENTS]
    _check_same(answers)
    parts.sort(key=lambda part: part[0])  # so that servers of one row are asked within seconds
    for _, _, _, calls in parts:
        timed(calls, 0.5)
    for _ in range(rounds):
        for part, name, pid, calls in parts:
            before = processor_seconds(pid)
            times = timed(calls, seconds)
            measured[name].rounds.setdefault(part, []).append(Round(times, processor_seconds(pid) - before, seconds))


def _check_same(answers: dict[tuple[str, str], NDArray[np.float32]]) -> None:
    """End the program where a server is fast because it answers something else than ours, or nothing."""
    first = next(iter(answers.values()))
    for (name, protocol), scores in answers.items():
        if scores.size != SCORES or not np.allclose(scores, first, rtol=0, atol=_SAME * np.ptp(first)):
            raise SystemExit(f"{name} over {protocol}: other scores than ours: {scores[:5]} and {first[:5]}")


def _rows(own: Measured, name: str, other: Measured) -> list[Row]:
    """Our figures against another server's."""
    found = []
    for part, theirs in other.rounds.items():
        protocol, count = part
        clients = f"{count} {protocol} client{'s' * (count > 1)}"
        for what, unit, read in (
            ("throughput", "1/s", attrgetter("rate")),
            ("p50", "ms", attrgetter("p50")),
            ("server CPU a request", "ms", attrgetter("cost")),
        ):
            row = _row(f"{what}, {clients}", unit, list(map(read, own.rounds[part])), name, list(map(read, theirs)))
            times = next((times for peer, times in TIMES.items() if name.startswith(peer)), None)
            found.append(replace(row, least=times) if what == "throughput" else row)
    found.append(_row("start until the model is ready", "s", own.starts, name, other.starts))
    found.append(_row("memory of all processes", "MB", [own.memory], name, [other.memory]))
    return found


def _row(what: str, unit: str, values: list[float], name: str, others: list[float]) -> Row:
    ratio = statistics.median(mine / theirs for mine, theirs in zip(values, others, strict=True))
    return Row(what, statistics.median(values), unit, f"{name}, {statistics.median(others):.4g} {unit}", ratio)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one part (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often every part is measured (default: %(default)s)")
    options = parser.parse_args()
    rows = measure_peers(seconds=options.seconds, rounds=options.rounds)
    json.dump([row.as_json() for row in rows], sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
