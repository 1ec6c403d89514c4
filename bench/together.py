"""Requests run together against each alone, one client and sixteen: a small network over rows of numbers, MobileNetV2.

    python bench/together.py                # prints a JSON list of {name, value, unit, against, ratio}

The small network has three layers of 1,024 units over 64 numbers: alone, a run reads all weights for one row. Two
servers of each, one with `--batch-latency-ms 2`, are asked in turns over HTTP and over gRPC.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from clients import grpc_request, http_request, over_grpc, over_http, timed
from mobilenet import SHAPE
from onnx import TensorProto, helper, numpy_helper
from row import Row
from serving import MANY, Round, bundle_of, make_bundle, served

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBERS, UNITS, LAYERS = 64, 1024, 3
ROUNDS, SECONDS = 7, 1.0
SLOWER = 1.05
"""The aim: what one client waits, as a share of the same without. No slower, as far as such short rounds can tell."""


def measure_together(*, threads: int | None = None) -> list[Row]:
    """Measure throughput of sixteen clients and p50 of one, with and without, of both networks over both protocols."""
    threads = threads or len(os.sched_getaffinity(0))
    random = np.random.default_rng(3)
    row = random.normal(size=(1, NUMBERS)).astype(np.float32)
    image = random.normal(size=SHAPE).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        rows, pictures = Path(folder) / "of-rows", Path(folder) / "of-pictures"
        rows.mkdir()
        pictures.mkdir()
        return [
            *_measured(f"{LAYERS} layers of {UNITS:,} units", rows_bundle(rows, threads), row, threads),
            *_measured("MobileNetV2 in int8", make_bundle(pictures, threads, "n"), image, threads),
        ]


def _measured(network: str, bundle: Path, sample: NDArray[np.float32], threads: int) -> list[Row]:
    """The rows of one network."""
    with ExitStack() as stack:
        servers = {
            "together": stack.enter_context(served(bundle, threads, "--batch-latency-ms", "2", "--batch-size", "8")),
            "alone": stack.enter_context(served(bundle, threads)),
        }
        asked = http_request(sample, bundle.name), grpc_request(sample, bundle.name)
        calls = {
            (name, protocol): [connect(port, request) for _ in range(MANY)]
            for name, server in servers.items()
            for protocol, connect, port, request in (
                ("HTTP", over_http, server.http_port, asked[0]),
                ("gRPC", over_grpc, server.grpc_port, asked[1]),
            )
        }
        measured: dict[tuple[str, str, int], list[Round]] = {(*key, count): [] for key in calls for count in (1, MANY)}
        for _ in range(ROUNDS):
            for (name, protocol, count), rounds in measured.items():
                before = servers[name].processor_seconds()
                times = timed(calls[name, protocol][:count], SECONDS)
                spent = servers[name].processor_seconds() - before
                rounds.append(Round(times, spent, SECONDS))
    found = []
    for protocol in ("HTTP", "gRPC"):
        many, one = (
            list(zip(measured["together", protocol, count], measured["alone", protocol, count], strict=True))
            for count in (MANY, 1)
        )
        what = f"{network}, run together over {protocol}"
        found += [
            _row(f"{what}: throughput, {MANY} clients", "1/s", [(a.rate, b.rate) for a, b in many]),
            _row(f"{what}: server CPU a request, {MANY} clients", "ms", [(a.cost, b.cost) for a, b in many]),
            _row(f"{what}: p50, 1 client", "ms", [(a.p50, b.p50) for a, b in one], most=SLOWER),
        ]
    return found


def _row(name: str, unit: str, pairs: list[tuple[float, float]], *, most: float | None = None) -> Row:
    against = statistics.median(alone for _, alone in pairs)
    ratio = statistics.median(together / alone for together, alone in pairs)
    return Row(
        name,
        statistics.median(first for first, _ in pairs),
        unit,
        f"each alone, {against:.4g} {unit}",
        ratio,
        most=most,
    )


def rows_bundle(folder: Path, threads: int) -> Path:
    """Make the bundle of a small network over rows of numbers."""
    rng = np.random.default_rng(0)
    nodes, weights, x, into = [], [], "input", NUMBERS
    for layer in range(LAYERS):
        matrix = rng.normal(0, (2 / into) ** 0.5, (into, UNITS)).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        nodes += [helper.make_node("MatMul", [x, f"w{layer}"], [f"m{layer}"])]
        x, into = (f"r{layer}" if layer < LAYERS - 1 else "output"), UNITS
        nodes += [helper.make_node("Relu", [f"m{layer}"], [x])]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", NUMBERS])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", UNITS])]
    graph = helper.make_graph(nodes, "rows", inputs, outputs, weights)
    model = folder / "rows.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), model)
    samples = rng.normal(size=(16, NUMBERS)).astype(np.float32)
    return bundle_of(folder / "rows", model, samples, "fp32", threads)


if __name__ == "__main__":
    print(json.dumps([row.as_json() for row in measure_together()], indent=2))
