#!/usr/bin/env python3
"""Remakes the digits example: splits scikit-learn's scanned digits, trains a small network, stores all as files.

``python3 examples/digits/train.py`` writes into its own folder, ``--data-only`` leaves the model alone (and needs
no JAX), ``--out FOLDER`` writes somewhere else.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # started by its path, a script sees its own folder only

from examples._training.arrays import write_npz
from examples._training.command import remake
from examples._training.network import Convolution, Network

HERE = Path(__file__).resolve().parent
LABELS = tuple("0123456789")
TRAINING, CALIBRATION = 1200, 100
"""How many pictures teach; how many of those calibrate. The other 597 evaluate."""
NETWORK = Network(
    size=8,
    white=16.0,
    layers=(Convolution(16), Convolution(32), Convolution(32, stride=2), Convolution(48)),
    classes=len(LABELS),
)

Images = npt.NDArray[np.float32]
_SEED = 7


def scans() -> tuple[Images, npt.NDArray[np.int64]]:
    """All 1,797 scans in a fixed random order.

    Returns:
        Grey levels 0 to 16, shape (1797, 1, 8, 8), and the digits they show, shape (1797,).
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415  # half a second that --help need not wait for

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(_SEED).permutation(len(images))
    return images[order].reshape(-1, 1, 8, 8).astype(np.float32), labels[order].astype(np.int64)


def write_sets(folder: Path) -> None:
    """Writes ``calibration.npz`` and ``evaluation.npz``."""
    images, labels = scans()
    write_npz(folder / "calibration.npz", {"image": images[:CALIBRATION]})
    write_npz(folder / "evaluation.npz", {"image": images[TRAINING:], "labels": labels[TRAINING:]})


def shifted(images: Images, rng: np.random.Generator) -> Images:
    """Moves every scan by up to one pixel, and scales its ink a little."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    moved = np.empty_like(images)
    for number, (down, right) in enumerate(rng.integers(0, 3, (len(images), 2))):
        moved[number] = padded[number, :, down : down + 8, right : right + 8]
    ink = 0.85 + 0.15 * rng.random((len(images), 1, 1, 1), dtype=np.float32)
    return moved * ink


def train(folder: Path) -> None:
    """Trains the network and writes ``model.onnx`` and ``labels.txt``."""
    from examples._training.export import description, to_onnx, write_labels, write_model  # noqa: PLC0415  # data need no ONNX
    from examples._training.fit import Course, fit  # noqa: PLC0415  # data need no JAX

    images, labels = scans()
    course = Course(epochs=60, batch=60, rate=4e-3, seed=_SEED, augment=shifted)
    trained = fit(NETWORK, images[:TRAINING], labels[:TRAINING], course)
    write_model(folder / "model.onnx", to_onnx(NETWORK, trained, description("digits", "1", LABELS)))
    write_labels(folder / "labels.txt", LABELS)


if __name__ == "__main__":
    remake("digits", HERE, write_sets=write_sets, train=train)
