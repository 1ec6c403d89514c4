"""Our int8 against fp32 and against ONNX Runtime's default quantisation: the same model, one after another."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from contest import contest
from mobilenet import SHAPE, mobilenet
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from processor import has_vnni
from row import Row
from serving import PICTURES

from edgesmith.decide.criteria import LEAST_NOISE
from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize import Quantization, quantize
from edgesmith_runtime.engine import load_engine

NEVER_SLOWER = 1 + LEAST_NOISE
"""The aim of what is rolled out over fp32: what differs by less cannot be told to be slower."""
CONVOLUTIONS = 0.5
"""The aim of networks of convolutions over fp32, where the processor has VNNI: at least twice as fast."""


class Reader(CalibrationDataReader):  # type: ignore[misc] # the library ships no types
    """Samples the way ONNX Runtime's own quantiser asks for them."""

    def __init__(self, samples: Samples) -> None:
        self.feeds = (feed for _, feed in samples.feeds(1))

    def get_next(self) -> dict[str, Any] | None:
        """Give the next sample, or nothing."""
        return next(self.feeds, None)


def measure_quantization() -> list[Row]:
    """Processor time of one inference of MobileNetV2's layers on one thread, in milliseconds; some seconds."""
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser advises to preprocess, which this graph has no need of
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, default = folder / "fp32.onnx", folder / "default.onnx"
        mobilenet(source)
        pictures = Samples({"input": PICTURES}, {"input": 4}, batches=False)
        quantize_static(source, default, Reader(pictures))
        (folder / "work").mkdir()
        ours = quantize(source, pictures, Quantization(), folder / "work")
        files = {"fp32": source, "default": default, "ours": ours}
        engines = {form: load_engine("onnxruntime", file, threads=1) for form, file in files.items()}
        paces = contest(engines, [{"input": np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)}])
        for engine in engines.values():
            engine.close()
    mine, what = paces["ours"], "our int8, one inference, 1 thread"
    return [
        Row(
            what,
            mine.work,
            "ms",
            "fp32",
            mine.against(paces["fp32"]),
            most=CONVOLUTIONS if has_vnni() else NEVER_SLOWER,
        ),
        Row(what, mine.work, "ms", "ONNX Runtime's default int8", mine.against(paces["default"])),
    ]
