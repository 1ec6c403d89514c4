"""What pruning does to the convolutional examples, and what it costs for a network of MobileNetV2's size.

    python bench --only pruning

The examples are built with `spec.optimize.pruning` as `example_builds` builds them. Accuracy is that of the whole
evaluation set, processor time that of one inference on one thread, over that of the source in fp32.
"""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from contest import contest
from example_builds import PLAIN, Measured, examples, measured
from mobilenet import mobilenet
from onnx import numpy_helper
from row import Row
from serving import PICTURES

from edgesmith.api.pruning import Pruning
from edgesmith_builder.dataset import Samples
from edgesmith_builder.format import read_source
from edgesmith_builder.prune import prune
from edgesmith_runtime.engine import load_engine

NAMES = ("surface-inspection", "digits")
RATIOS = ("30%", "50%", "70%")


def measure_pruning() -> list[Row]:
    """Prune and measure; a minute or two."""
    logging.getLogger().setLevel(logging.ERROR)
    rows: list[Row] = []
    for folder, model, _ in examples():
        for ratio in RATIOS if model.metadata.name in NAMES else ():
            optimize = model.spec.optimize.model_copy(update={"pruning": Pruning(ratio=ratio)})
            spec = model.spec.model_copy(update={"optimize": optimize})
            found = measured(folder, model.model_copy(update={"spec": spec}))
            rows += _rows(f"{model.metadata.name} pruned by {ratio}", found)
    return [*rows, _mobilenet(0.3), _zeros()]


def _rows(name: str, found: Measured) -> list[Row]:
    rows = []
    for one in found.report.candidates:
        if one.multiplications is None or one.accuracy is None or one.size is None:
            continue
        form, pace = f"{name}, {one.precision}", found.paces[one.precision]
        drop = f"drop {one.accuracy_drop:.4f} ± {one.accuracy_drop_error:.4f}"
        rows += [
            Row(f"{form}, multiplications", one.multiplications, "", "1, the source", one.multiplications),
            Row(f"{form}, metric", one.accuracy, "", drop),
            Row(f"{form}, model file", one.size / 1000, "kB"),
            Row(f"{form}, processor", pace.work, "ms", PLAIN, pace.against(found.paces[PLAIN])),
        ]
    return [*rows, Row(f"{name}: {found.winner} wins", found.paces[found.winner].work, "ms")]


def _mobilenet(ratio: float) -> Row:
    """Seconds of processor time to prune MobileNetV2's layers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mobilenet(folder / "source")
        facts = read_source(folder / "source", "the model")
        (folder / "work").mkdir()
        begun = time.process_time()
        prune(facts, Samples({"input": PICTURES}, {"input": 4}, batches=False), ratio, folder / "work")
        return Row(f"pruning MobileNetV2 by {ratio:.0%}, work", time.process_time() - begun, "s")


def _zeros() -> Row:
    """Half of all weights of MobileNetV2's layers set to zero, those of the least size: what that does to its time."""
    with tempfile.TemporaryDirectory() as name:
        whole, sparse = Path(name) / "whole.onnx", Path(name) / "sparse.onnx"
        mobilenet(whole)
        model = onnx.load(whole)
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.ndim > 1:
                kept = np.where(np.abs(array) < np.median(np.abs(array)), np.float32(0), array)
                tensor.CopyFrom(numpy_helper.from_array(kept, tensor.name))
        onnx.save_model(model, sparse)
        engines = {file.stem: load_engine("onnxruntime", file, threads=1) for file in (whole, sparse)}
        paces = contest(engines, [{"input": PICTURES[:1]}])
        for engine in engines.values():
            engine.close()
    return Row(
        "MobileNetV2 with half of its weights zero",
        paces["sparse"].work,
        "ms",
        PLAIN,
        paces["sparse"].against(paces["whole"]),
    )
