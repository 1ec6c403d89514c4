#!/usr/bin/env python3
"""Scores an example's models on its evaluation set: as they are, and quantised to int8 on its calibration set.

``python3 examples/_training/score.py examples/digits`` prints the table that stands in the example's README.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize import Quantization, quantize
from edgesmith_runtime.engine.onnxruntime import session_options

_BATCH = 64


def load(folder: Path, kind: str) -> dict[str, npt.NDArray[Any]]:
    """Reads ``calibration.npz`` or ``evaluation.npz`` of an example, refusing pickled objects."""
    with np.load(folder / f"{kind}.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def accuracy(model: Path, evaluation: dict[str, npt.NDArray[Any]]) -> float:
    """The share of samples whose most probable class is their label."""
    session = onnxruntime.InferenceSession(str(model), session_options(1), providers=["CPUExecutionProvider"])
    samples = _samples({name: array for name, array in evaluation.items() if name != "labels"})
    answers = [session.run(None, feed)[0] for _, feed in samples.feeds(_BATCH)]
    return float((np.concatenate(answers).argmax(1) == evaluation["labels"]).mean())


def quantise(model: Path, calibration: dict[str, npt.NDArray[Any]], target: Path) -> None:
    """Quantises a model as the builder does by default.

    Args:
        model: The model as trained.
        calibration: Its samples by input name.
        target: The file to write.
    """
    with tempfile.TemporaryDirectory() as work:
        shutil.move(quantize(model, _samples(calibration), Quantization(), Path(work)), target)


def _samples(inputs: dict[str, npt.NDArray[Any]]) -> Samples:
    return Samples(inputs, {name: array.ndim for name, array in inputs.items()}, batches=True)


def rows(folder: Path) -> Iterator[tuple[str, str, float, int]]:
    """Scores every model of an example.

    Yields:
        The model's file name, its precision, its accuracy, its size in bytes.
    """
    evaluation, calibration = load(folder, "evaluation"), load(folder, "calibration")
    with tempfile.TemporaryDirectory() as scratch:
        for model in sorted(folder.glob("*.onnx")):
            yield model.name, "fp32", accuracy(model, evaluation), model.stat().st_size
            smaller = Path(scratch) / model.name
            quantise(model, calibration, smaller)
            yield model.name, "int8", accuracy(smaller, evaluation), smaller.stat().st_size


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Scores an example's models, as trained and quantised to int8.")
    parser.add_argument("folder", type=Path, help="the example, examples/digits say")
    print("| model | precision | accuracy | size |\n| --- | --- | --- | --- |")
    for name, precision, share, size in rows(parser.parse_args().folder):
        print(f"| `{name}` | {precision} | {share:.4f} | {size / 1000:.0f} kB |")


if __name__ == "__main__":
    main()
