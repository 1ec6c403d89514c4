"""Requests run together against each alone, one client and sixteen, for a small network over rows of numbers.

    python bench/together.py                # prints a JSON list of {name, value, unit, against, ratio}

The network has three layers of 1,024 units over 64 numbers: alone, a run reads all weights for one row. Two servers of
it, one with `--batch-latency-ms 2`, are asked in turns over HTTP.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
from clients import http_request, over_http, timed
from onnx import TensorProto, helper, numpy_helper
from row import Row
from serving import MANY, Round, bundle_of, served

NUMBERS, UNITS, LAYERS = 64, 1024, 3
ROUNDS, SECONDS = 7, 1.0
SLOWER = 1.05
"""The aim: what one client waits, as a share of the same without. No slower, as far as such short rounds can tell."""


def measure_together(*, threads: int | None = None) -> list[Row]:
    """Measure throughput of sixteen clients and p50 of one, with and without."""
    threads = threads or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bundle = rows_bundle(Path(folder), threads)
        servers = {
            "together": stack.enter_context(served(bundle, threads, "--batch-latency-ms", "2", "--batch-size", "8")),
            "alone": stack.enter_context(served(bundle, threads)),
        }
        row = np.random.default_rng(3).normal(size=(1, NUMBERS)).astype(np.float32)
        calls = {
            name: [over_http(server.http_port, http_request(row, bundle.name)) for _ in range(MANY)]
            for name, server in servers.items()
        }
        measured: dict[tuple[str, int], list[Round]] = {(name, count): [] for name in servers for count in (1, MANY)}
        for _ in range(ROUNDS):
            for (name, count), rounds in measured.items():
                before = servers[name].processor_seconds()
                times = timed(calls[name][:count], SECONDS)
                spent = servers[name].processor_seconds() - before
                rounds.append(Round(times, spent, SECONDS))
    many, one = (list(zip(measured["together", count], measured["alone", count], strict=True)) for count in (MANY, 1))
    return [
        _row(f"requests run together, throughput, {MANY} clients", "1/s", [(a.rate, b.rate) for a, b in many]),
        _row(f"the same, server CPU a request, {MANY} clients", "ms", [(a.cost, b.cost) for a, b in many]),
        _row("the same, p50, 1 client", "ms", [(a.p50, b.p50) for a, b in one], most=SLOWER),
    ]


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
