"""int8 with ranges taken at run time against fp32: recurrences, an encoder of tokens and the pump's GRU."""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from clients import timed
from row import Row
from sequences import encoder, recurrent, series, texts

from edgesmith_builder.quantize import Quantization, quantize_at_run_time
from edgesmith_runtime.engine import load_engine
from edgesmith_stage.shell import ROOT

if TYPE_CHECKING:
    from numpy.typing import NDArray

SECONDS = 0.4
ROUNDS = 5
TRAINING, EVALUATION = 600, 400

Sets = Callable[[int, int], "tuple[dict[str, NDArray[Any]], NDArray[np.int64]]"]


def measure_at_run_time() -> list[Row]:
    """Size, milliseconds of one inference on one thread, and accuracy of each form; a quarter of a minute."""
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser advises to preprocess, which is done already
    rows = []
    networks: dict[str, tuple[Any, Sets]] = {
        "LSTM of 256 units, 32 steps": (recurrent("LSTM", 256), lambda count, seed: series(count, 32, seed)),
        "GRU of 256 units, 32 steps": (recurrent("GRU", 256), lambda count, seed: series(count, 32, seed)),
        "encoder of 256 values, 48 tokens": (encoder(256), lambda count, seed: texts(count, 48, seed)),
    }
    with tempfile.TemporaryDirectory() as name:
        for number, (what, (network, sets)) in enumerate(networks.items()):
            folder = Path(name) / str(number)
            folder.mkdir()
            (folder / "source.onnx").write_bytes(network.taught(*sets(TRAINING, 1)).SerializeToString())
            rows += _rows(what, folder / "source.onnx", folder / "made", *sets(EVALUATION, 2))
        pump = ROOT / "examples/predictive-maintenance"
        with np.load(pump / "evaluation.npz") as archive:
            rows += _rows("the pump's GRU", pump / "gru.onnx", Path(name) / "pump", {"window": archive["window"]},
                          archive["labels"])  # fmt: skip
    return rows


def _rows(what: str, source: Path, work: Path, samples: dict[str, Any], labels: NDArray[np.int64]) -> list[Row]:
    work.mkdir()
    made = quantize_at_run_time(source, None, Quantization(), work).file
    engines = {file: load_engine("onnxruntime", file, threads=1) for file in (source, made)}
    feeds = [{name: array[index : index + 1] for name, array in samples.items()} for index in range(len(labels))]
    right: dict[Path, float] = {}
    taken: dict[Path, list[float]] = {file: [] for file in engines}
    for file, engine in engines.items():
        said = [int(engine.infer(feed)["probabilities"].argmax()) for feed in feeds]
        right[file] = float((np.array(said) == labels).mean())
    for _ in range(ROUNDS):
        for file, engine in engines.items():
            call = [lambda engine=engine: engine.infer(feeds[0])]
            taken[file].append(statistics.median(timed(call, SECONDS)) * 1000)
    before, after = (statistics.median(taken[file]) for file in (source, made))
    sizes = source.stat().st_size, made.stat().st_size
    for engine in engines.values():
        engine.close()
    return [
        Row(f"int8-dynamic, {what}", after, "ms", "fp32", after / before),
        Row(f"int8-dynamic, {what}: file", sizes[1], "bytes", "fp32", sizes[1] / sizes[0]),
        Row(f"int8-dynamic, {what}: accuracy", right[made], "", "fp32", right[made] / right[source]),
    ]
