#!/usr/bin/env python3
"""Scores the four models on the evaluation set, as the builder reads them.

``python3 examples/predictive-maintenance/score.py`` prints the table that stands in the example's README.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgesmith_builder.format import read_source, shaped_source
from edgesmith_runtime.engine import load_engine

HERE = Path(__file__).resolve().parent
MODELS = ("knn.skops", "svm.skops", "forest.skops", "gru.onnx")


def rows() -> Iterator[tuple[str, float, int, int]]:
    """Scores every model.

    Yields:
        The model's file name, its accuracy, and bytes of the file and of the ONNX model that it becomes.
    """
    with np.load(HERE / "evaluation.npz", allow_pickle=False) as archive:
        readings, labels = archive["window"], archive["labels"]
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copy(HERE / name, Path(folder) / "source"))
            facts = shaped_source(read_source(copy, name), {"window": 2}, name)
            engine = load_engine(facts.engine, facts.path, threads=1)
            output = engine.outputs[0].name
            answer = engine.infer({"window": readings}, [output])[output]
            engine.close()
            said = answer if answer.ndim == 1 else answer.argmax(1)
            yield name, float((said == labels).mean()), (HERE / name).stat().st_size, facts.size


if __name__ == "__main__":
    print("| model | accuracy | file | as ONNX |\n| --- | --- | --- | --- |")
    for name, share, size, converted in rows():
        print(f"| `{name}` | {share:.4f} | {size / 1000:.0f} kB | {converted / 1000:.0f} kB |")
