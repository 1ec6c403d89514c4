"""Measure the served model against a bare ``InferenceSession.run`` loop, client and server on the same cores.

    python bench/serving.py                 # prints a JSON list of {name, value, unit, against, ratio}

The model has MobileNetV2's layers at 224x224 with random weights, quantised statically with unsigned activations and
signed weights; a request carries its 600 kB input as a binary tensor over HTTP. One process serves with as many threads
as there are cores and one process holds the clients, blocking sockets that send what was prepared. The rounds of all
parts take turns, so that a slow moment of the machine meets every part.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from mobilenet import SHAPE, mobilenet
from row import Row

from edgesmith_builder.contract import Quantization
from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize import quantize
from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.engine.onnx import session_options
from edgesmith_runtime.golden import Golden

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MANY = 16


PICTURES = np.random.default_rng(1).normal(size=(4, *SHAPE[1:])).astype(np.float32)
"""A few random images to calibrate with."""


def make_bundle(folder: Path, threads: int) -> Path:
    """Make the quantised model's bundle."""
    mobilenet(folder / "fp32.onnx")
    (folder / "work").mkdir()
    pictures = Samples({"input": PICTURES}, {"input": 4}, batches=False)
    model = quantize(folder / "fp32.onnx", pictures, Quantization(), folder / "work", threads)
    engine = load_engine("onnxruntime", model, threads=threads)
    image = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    golden = Golden({"input": image}, engine.infer({"input": image}))
    bundle = write_bundle(
        folder / "model",
        model="mobilenet",
        engine="onnxruntime",
        precision="int8",
        model_file=model,
        inputs=engine.inputs,
        outputs=engine.outputs,
        labels=None,
        golden=golden,
        tolerance=0.05,
    )
    return bundle.folder


def start_server(bundle: Path, threads: int) -> tuple[subprocess.Popen[str], int]:
    """Start a server and wait until it is ready."""
    command = [sys.executable, "-m", "edgesmith_runtime", "serve", "--bundle", str(bundle), "--host", "127.0.0.1"]
    options = ["--http-port", "0", "--grpc-port", "0", "--threads", str(threads)]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    port = 0
    for line in process.stderr or ():
        entry = json.loads(line)
        port = entry.get("http_port", port)
        if entry["message"] == "ready":
            return process, port
    raise SystemExit("the server did not become ready")


def request_bytes(image: NDArray[Any]) -> bytes:
    """Prepare one whole request."""
    tensor = {"name": "input", "datatype": "FP32", "shape": SHAPE, "parameters": {"binary_data_size": image.nbytes}}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    head = (
        "POST /v2/models/mobilenet/infer HTTP/1.1\r\nHost: bench\r\n"
        f"Inference-Header-Content-Length: {len(text)}\r\nContent-Length: {len(text) + image.nbytes}\r\n\r\n"
    )
    return head.encode() + text + image.tobytes()


def asking(port: int, request: bytes) -> Callable[[], None]:
    """Connect a client; what is returned asks once and reads the whole answer."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = memoryview(bytearray(65536))

    def ask() -> None:
        connection.sendall(request)
        filled, wanted = 0, len(buffer)
        while filled < wanted:
            count = connection.recv_into(buffer[filled:])
            if not count:
                raise SystemExit("the server closed the connection")
            filled += count
            if wanted == len(buffer):
                head, _, _ = bytes(buffer[:filled]).partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
                wanted = len(head) + 4 + length
        if bytes(buffer[:12]) != b"HTTP/1.1 200":
            raise SystemExit(bytes(buffer[:filled]).decode(errors="replace"))

    return ask


def timed(calls: list[Callable[[], None]], seconds: float) -> list[float]:
    """Call from one thread each, over and over; return how long every call took, in seconds."""
    taken: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds

    def loop(call: Callable[[], None], times: list[float]) -> None:
        start = time.perf_counter()
        while start < end:
            call()
            now = time.perf_counter()
            times.append(now - start)
            start = now

    threads = [threading.Thread(target=loop, args=pair) for pair in zip(calls, taken, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for times in taken for one in times]


def bare(model: Path, threads: int, image: NDArray[Any]) -> Callable[[], None]:
    """A bare session with the engine's own settings; what is returned runs it once."""
    session = ort.InferenceSession(str(model), session_options(threads), providers=["CPUExecutionProvider"])

    def call() -> None:
        session.run(None, {"input": image})

    return call


def rows(measured: dict[str, list[list[float]]], seconds: float) -> list[Row]:
    """Turn times into results: medians of the rounds, and of ratios within a round, which share the same moment."""

    def p50(name: str) -> list[float]:
        return [statistics.median(times) * 1000 for times in measured[name]]

    def rate(name: str) -> list[float]:
        return [len(times) / seconds for times in measured[name]]

    def median_of(combine: Callable[[float, float], float], left: list[float], right: list[float]) -> float:
        return statistics.median(map(combine, left, right))

    one, served_one = p50("bare wide"), p50("served 1")
    best = [max(rates) for rates in zip(rate("bare wide"), rate("bare narrow"), strict=True)]
    served_many = rate("served many")
    alone = f"bare session.run, {statistics.median(one):.2f} ms"
    over = median_of(operator.sub, served_one, one)
    return [
        Row(
            "runtime p50, 1 HTTP client",
            statistics.median(served_one),
            "ms",
            alone,
            median_of(operator.truediv, served_one, one),
        ),
        Row("runtime p50 over bare, 1 HTTP client", over, "ms", "1 ms, the aim", over),
        Row(
            f"runtime throughput, {MANY} HTTP clients",
            statistics.median(served_many),
            "1/s",
            f"best bare session.run, {statistics.median(best):.0f}/s (aim 0.75)",
            median_of(operator.truediv, served_many, best),
        ),
    ]


def measure_serving(*, threads: int | None = None, seconds: float = 2.0, rounds: int = 7) -> list[Row]:
    """Measure one client's latency and many clients' throughput.

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
        process, port = start_server(bundle, threads)
        try:
            clients = [asking(port, request_bytes(image)) for _ in range(MANY)]
            parts = {
                "bare wide": [bare(model, threads, image)],
                "served 1": clients[:1],
                "bare narrow": [bare(model, 1, image)] * threads,
                "served many": clients,
            }
            for calls in parts.values():
                timed(calls, 0.5)
            measured: dict[str, list[list[float]]] = {name: [] for name in parts}
            for _ in range(rounds):
                for name, calls in parts.items():
                    measured[name].append(timed(calls, seconds))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            if process.stderr is not None:
                process.stderr.close()
    return rows(measured, seconds)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=None, help="cores to compute with (default: all)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="length of one part of a round (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="how often every part is measured (default: %(default)s)")
    options = parser.parse_args()
    measured = measure_serving(threads=options.threads, seconds=options.seconds, rounds=options.rounds)
    print(json.dumps([row.as_json() for row in measured], indent=2))


if __name__ == "__main__":
    main()
