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

from example_builds import PLAIN, Measured, examples, measured
from mobilenet import mobilenet
from row import Row
from serving import PICTURES

from edgesmith.api.pruning import Pruning
from edgesmith_builder.dataset import Samples
from edgesmith_builder.format import read_source
from edgesmith_builder.prune import prune

NAMES = ("surface-inspection", "digits")
RATIOS = ("30%", "50%", "70%")


def measure_pruning() -> list[Row]:
    """Prune and measure; a minute or two."""
    logging.getLogger().setLevel(logging.ERROR)
    rows: list[Row] = []
    for folder, model in examples():
        for ratio in RATIOS if model.metadata.name in NAMES else ():
            optimize = model.spec.optimize.model_copy(update={"pruning": Pruning(ratio=ratio)})
            spec = model.spec.model_copy(update={"optimize": optimize})
            found = measured(folder, model.model_copy(update={"spec": spec}))
            rows += _rows(f"{model.metadata.name} pruned by {ratio}", found)
    return [*rows, _mobilenet(0.3)]


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
