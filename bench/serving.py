"""Measure the served model against a bare ``InferenceSession.run`` loop, client and server on the same cores.

    python bench/serving.py                 # prints a JSON list of {name, value, unit, against, ratio}

The model has MobileNetV2's layers at 224x224 with random weights, quantised statically with unsigned activations and
signed weights; a request carries its 600 kB input as a binary tensor over HTTP, or raw over gRPC. One process serves
with as many threads as there are cores and one process holds the clients, which send what was prepared. The rounds of
all parts take turns, so that a slow moment of the machine meets every part. A bare loop has all cores to itself, where
a server shares them with its clients and the kernel carries the bytes; what those take alone is measured beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from bare import bare
from clients import grpc_request, http_request, over_grpc, over_http, timed
from loopback import loopback
from mobilenet import SHAPE, mobilenet
from row import Row

from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize import Quantization, quantize
from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

MANY = 16
ANSWER = 4300
"""Bytes of an answer: a thousand scores, and what stands before them."""
OVER = {"HTTP": 0.3, "gRPC": 0.8}
"""The aims: milliseconds that one client waits longer than for a bare run."""
KEPT = {"HTTP": 0.85, "gRPC": 0.7}
"""The aims: what many clients get of the requests a second of bare runs."""


PICTURES = np.random.default_rng(1).normal(size=(4, *SHAPE[1:])).astype(np.float32)
"""A few random images to calibrate with."""


def make_bundle(folder: Path, threads: int, rows: int | str = 1) -> Path:
    """Make the quantised model's bundle, for so many pictures at once as `mobilenet` has them."""
    mobilenet(folder / "fp32.onnx", rows)
    (folder / "work").mkdir()
    pictures = Samples({"input": PICTURES}, {"input": 4}, batches=False)
    model = quantize(folder / "fp32.onnx", pictures, Quantization(), folder / "work", threads)
    image = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    return bundle_of(folder / "mobilenet", model, image, "int8", threads)


def bundle_of(folder: Path, model: Path, samples: NDArray[np.float32], precision: str, threads: int) -> Path:
    """Make the bundle of a model whose one input is `input`, with golden answers to samples."""
    engine = load_engine("onnxruntime", model, threads=threads)
    bundle = write_bundle(
        folder,
        engine="onnxruntime",
        precision=precision,
        model_file=model,
        inputs=engine.inputs,
        outputs=engine.outputs,
        labels=None,
        golden=Golden.of({"input": samples}, engine.infer({"input": samples}), 0.05),
    )
    return bundle.folder


@contextmanager
def served(bundle: Path, threads: int, *more: str) -> Iterator[Served]:
    """Serve while the block runs, with further arguments; wait until it is ready."""
    command = [sys.executable, "-m", "edgesmith_runtime", "serve", "--bundle", str(bundle), "--name", bundle.name]
    options = ["--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0", "--threads", str(threads)]
    process = subprocess.Popen([*command, *options, *more], stderr=subprocess.PIPE, text=True)
    ports: dict[str, int] = {}
    try:
        for line in process.stderr or ():
            entry = json.loads(line)
            ports |= {name: entry[name] for name in ("http_port", "grpc_port") if name in entry}
            if entry["message"] == "ready":
                break
        else:
            raise SystemExit("the server did not become ready")
        yield Served(process.pid, ports["http_port"], ports["grpc_port"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        if process.stderr is not None:
            process.stderr.close()


@dataclass(frozen=True)
class Served:
    """A server that is ready."""

    pid: int
    http_port: int
    grpc_port: int

    def processor_seconds(self) -> float:
        """User and system time of the process so far (proc(5))."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Round:
    """One part of one round."""

    times: list[float]
    """Seconds of each call."""
    processor: float
    """Seconds of processor time of the process that computes."""
    seconds: float
    clients: float = 0.0
    """Seconds of processor time of the process that asks."""

    @property
    def p50(self) -> float:
        """Milliseconds of a call in the middle."""
        return statistics.median(self.times) * 1000

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.times) / self.seconds

    @property
    def cost(self) -> float:
        """Milliseconds of processor time for one call: what a busy machine does not blur."""
        return self.processor * 1000 / len(self.times)

    @property
    def own(self) -> float:
        """Milliseconds of processor time that asking once takes of the client."""
        return self.clients * 1000 / len(self.times)


def rows(measured: dict[str, list[Round]]) -> list[Row]:
    """Turn rounds into results: medians, and medians of ratios within a round, which share the same moment."""
    wide, narrow = measured["bare wide"], measured["bare narrow"]
    best = [max(pair) for pair in zip(_rates(wide), _rates(narrow), strict=True)]
    wide_p50 = [part.p50 for part in wide]
    found = []
    for protocol in ("HTTP", "gRPC"):
        one, many = measured[f"{protocol} 1"], measured[f"{protocol} many"]
        over = statistics.median(served.p50 - alone.p50 for served, alone in zip(one, wide, strict=True))
        found += [
            _row(f"runtime p50, 1 {protocol} client", "ms", [part.p50 for part in one], wide_p50),
            Row(
                f"runtime p50 over bare, 1 {protocol} client",
                over,
                "ms",
                f"{OVER[protocol]} ms, the aim",
                over / OVER[protocol],
                most=1.0,
            ),
            replace(
                _row(f"runtime throughput, {MANY} {protocol} clients", "1/s", _rates(many), best), least=KEPT[protocol]
            ),
            _row(f"server CPU a request, 1 {protocol} client", "ms", _costs(one), _costs(wide)),
            _row(f"server CPU a request, {MANY} {protocol} clients", "ms", _costs(many), _costs(narrow)),
            _row(f"client's own CPU a request, 1 {protocol} client", "ms", [part.own for part in one], _costs(wide)),
        ]
    names = {
        "bytes alone": "p50 of the same bytes there and back",
        "bytes and run": "p50 of those bytes and a bare run",
    }
    found += [_row(name, "ms", [one.p50 for one in measured[part]], wide_p50) for part, name in names.items()]
    return found


def _rates(parts: list[Round]) -> list[float]:
    return [part.rate for part in parts]


def _costs(parts: list[Round]) -> list[float]:
    return [part.cost for part in parts]


def _row(name: str, unit: str, values: list[float], bare_values: list[float]) -> Row:
    ratio = statistics.median(value / alone for value, alone in zip(values, bare_values, strict=True))
    against = f"bare session.run, {statistics.median(bare_values):.4g} {unit}"
    return Row(name, statistics.median(values), unit, against, ratio)


def measure_serving(*, threads: int | None = None, seconds: float = 1.5, rounds: int = 7) -> list[Row]:
    """Measure one client's latency, many clients' throughput, and what a request costs, over HTTP and over gRPC.

    Args:
        threads: How many cores server and bare loop compute with; all when ``None``.
        seconds: The length of one part of a round.
        rounds: How often every part is measured.
    """
    threads = threads or len(os.sched_getaffinity(0))
    image = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder), threads)
        model = bundle / "model.onnx"
        request = http_request(image)
        with (
            served(bundle, threads) as server,
            loopback(len(request), ANSWER) as bytes_alone,
            loopback(len(request), ANSWER, model, threads) as bytes_and_run,
        ):
            http = [over_http(server.http_port, request) for _ in range(MANY)]
            rpc = [over_grpc(server.grpc_port, grpc_request(image)) for _ in range(MANY)]
            ours, theirs = time.process_time, server.processor_seconds
            parts: dict[str, tuple[Callable[[], float], Sequence[Callable[[], object]]]] = {
                "bare wide": (ours, [bare(model, threads, image)]),
                "bytes alone": (ours, [bytes_alone]),
                "bytes and run": (ours, [bytes_and_run]),
                "HTTP 1": (theirs, http[:1]),
                "gRPC 1": (theirs, rpc[:1]),
                "bare narrow": (ours, [bare(model, 1, image)] * threads),
                "HTTP many": (theirs, http),
                "gRPC many": (theirs, rpc),
            }
            for _, calls in parts.values():
                timed(calls, 0.5)
            measured: dict[str, list[Round]] = {name: [] for name in parts}
            for _ in range(rounds):
                for name, (processor, calls) in parts.items():
                    before, asked = processor(), ours()
                    times = timed(calls, seconds)
                    measured[name].append(Round(times, processor() - before, seconds, ours() - asked))
    return rows(measured)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=None, help="cores to compute with (default: all)")
    parser.add_argument(
        "--seconds", type=float, default=1.5, help="length of one part of a round (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="how often every part is measured (default: %(default)s)")
    options = parser.parse_args()
    measured = measure_serving(threads=options.threads, seconds=options.seconds, rounds=options.rounds)
    print(json.dumps([row.as_json() for row in measured], indent=2))


if __name__ == "__main__":
    main()
