"""Our int8 against fp32 and against ONNX Runtime's default quantisation: the same model, one after another."""

from __future__ import annotations

import logging
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from clients import timed
from mobilenet import SHAPE, mobilenet
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from row import Row
from serving import PICTURES, bare

from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize import Quantization, quantize

SECONDS = 1.5
ROUNDS = 5


class Reader(CalibrationDataReader):  # type: ignore[misc] # the library ships no types
    """Samples the way ONNX Runtime's own quantiser asks for them."""

    def __init__(self, samples: Samples) -> None:
        self.feeds = (feed for _, feed in samples.feeds(1))

    def get_next(self) -> dict[str, Any] | None:
        """Give the next sample, or nothing."""
        return next(self.feeds, None)


def measure_quantization() -> list[Row]:
    """Milliseconds of one inference of MobileNetV2's layers on one thread; about half a minute."""
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser advises to preprocess, which this graph has no need of
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, default = folder / "fp32.onnx", folder / "default.onnx"
        mobilenet(source)
        pictures = Samples({"input": PICTURES}, {"input": 4}, batches=False)
        quantize_static(source, default, Reader(pictures))
        (folder / "work").mkdir()
        ours = quantize(source, pictures, Quantization(), folder / "work")
        image = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
        runs = {file: bare(file, 1, image) for file in (source, default, ours)}
        taken: dict[Path, list[float]] = {file: [] for file in runs}
        for _ in range(ROUNDS):
            for file, call in runs.items():
                taken[file].append(statistics.median(timed([call], SECONDS)) * 1000)
    fp32, theirs, mine = (statistics.median(taken[file]) for file in (source, default, ours))
    return [
        Row("our int8, one inference, 1 thread", mine, "ms", "fp32", mine / fp32),
        Row("our int8, one inference, 1 thread", mine, "ms", "ONNX Runtime's default int8", mine / theirs),
    ]
