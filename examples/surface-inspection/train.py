#!/usr/bin/env python3
"""Remakes the surface-inspection example: draws its sets, trains both versions of its model, stores all as files.

``python3 examples/surface-inspection/train.py`` writes into its own folder, ``--data-only`` leaves the models alone
(and needs no JAX), ``--out FOLDER`` writes somewhere else.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # started by its path, a script sees its own folder only

from parts import LABELS, SIZE, make_set

from examples._training.arrays import write_npz
from examples._training.command import remake
from examples._training.network import Convolution, Network

HERE = Path(__file__).resolve().parent
TRAINING, CALIBRATION, EVALUATION = 8000, 64, 400
"""How many pictures teach, calibrate and evaluate."""


def convolutional(width: int) -> Network:
    """Seven convolutions, two of them depthwise (arXiv 1704.04861), from so many channels upwards."""
    return Network(
        size=SIZE,
        white=255.0,
        layers=(
            Convolution(width, kernel=5, stride=2),
            Convolution(width, depthwise=True),
            Convolution(2 * width, stride=2),
            Convolution(2 * width, depthwise=True),
            Convolution(3 * width, kernel=1),
            Convolution(4 * width, stride=2),
            Convolution(4 * width),
        ),
        classes=len(LABELS),
    )


VERSIONS = {"model.onnx": ("1", convolutional(32), 10), "model-v2.onnx": ("2", convolutional(40), 8)}
"""By file: the model's version, its network, the epochs it is trained."""


def write_sets(folder: Path) -> None:
    """Writes ``calibration.npz`` and ``evaluation.npz``."""
    images, _ = make_set("calibration", CALIBRATION)
    write_npz(folder / "calibration.npz", {"image": images})
    images, labels = make_set("evaluation", EVALUATION)
    write_npz(folder / "evaluation.npz", {"image": images, "labels": labels})


def turned(images: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Mirrors pictures left to right, top to bottom, both or not at all: a part has no preferred side."""
    out = images.copy()
    for axis in (2, 3):
        chosen = rng.random(len(out)) < 0.5
        out[chosen] = np.flip(out[chosen], axis)
    return out


def train(folder: Path) -> None:
    """Trains both versions and writes them and ``labels.txt``."""
    from examples._training.export import description, to_onnx, write_labels, write_model  # noqa: PLC0415  # data need no ONNX
    from examples._training.fit import Course, fit  # noqa: PLC0415  # data need no JAX

    images, labels = make_set("training", TRAINING)
    for file, (version, network, epochs) in VERSIONS.items():
        print(f"{file}: {epochs} epochs over {TRAINING} parts")
        trained = fit(network, images, labels, Course(epochs, batch=64, rate=4e-3, seed=int(version), augment=turned))
        model = to_onnx(network, trained, description("surface-inspection", version, LABELS))
        write_model(folder / file, model)
    write_labels(folder / "labels.txt", LABELS)


if __name__ == "__main__":
    remake("surface-inspection", HERE, write_sets=write_sets, train=train)
