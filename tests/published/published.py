"""Models that others trained and published, beside the repository, and pictures in their formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from needs import beside
from sklearn.datasets import load_digits

INK, CANVAS = 20, 28


def mnist() -> Path:
    """The published model; the test that asks is left out where it is not there."""
    return beside("data/onnx/mnist.onnx")


def mobilenet() -> Path:
    """MobileNetV2 in uint8, as TFLite; as `mnist`."""
    return beside("data/coral/mobilenet_v2_1.0_224_quant.tflite")


def edge_tpu_mobilenet() -> Path:
    """The same, compiled for the Edge TPU by its publisher; as `mnist`."""
    return beside("data/coral/mobilenet_v2_1.0_224_quant_edgetpu.tflite")


def imagenet() -> dict[int, str]:
    """What its classes are called."""
    lines = beside("data/coral/imagenet_labels.txt").read_text().splitlines()
    return {int(number): name for number, name in (line.split(maxsplit=1) for line in lines)}


def grace_hopper() -> npt.NDArray[np.uint8]:
    """A photograph of Grace Hopper in uniform as MobileNet takes it, (1, 224, 224, 3)."""
    image = _picture(beside("data/coral/grace_hopper.bmp"))
    rows, columns = (np.arange(224) * size // 224 for size in image.shape[:2])
    picture: npt.NDArray[np.uint8] = image[rows][:, columns][None]
    return picture


def _picture(path: Path) -> npt.NDArray[np.uint8]:
    """An uncompressed BMP of 24 bits as [height, width, 3], red first, and from top to bottom."""
    content = path.read_bytes()
    start, width, height = (int.from_bytes(content[at : at + 4], "little") for at in (10, 18, 22))
    row = (width * 3 + 3) // 4 * 4
    rows = np.frombuffer(content, np.uint8, row * height, start).reshape(height, row)
    return rows[::-1, : width * 3].reshape(height, width, 3)[..., ::-1]


def cubic(size: int, scan: int = 8) -> npt.NDArray[np.float64]:
    """Matrix that resamples a line of `scan` pixels to `size`: cubic convolution (Keys 1981, a = -0.5)."""
    place = (np.arange(size) + 0.5) * scan / size - 0.5
    first = np.floor(place).astype(np.int64)
    matrix = np.zeros((size, scan))
    for step in range(-1, 3):
        away = abs(place - (first + step))
        near = 1.5 * away**3 - 2.5 * away**2 + 1
        far = -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
        weight = np.where(away <= 1, near, np.where(away < 2, far, 0))
        np.add.at(matrix, (np.arange(size), np.clip(first + step, 0, scan - 1)), weight)
    return matrix


def as_mnist(scans: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Scans of 8x8 with 17 grey levels as MNIST's own format: 20x20 in the middle of 28x28, grey levels to 255."""
    matrix, border = cubic(INK), (CANVAS - INK) // 2
    larger = np.clip(matrix @ scans @ matrix.T, 0, 16) * 255 / 16
    return np.pad(larger, ((0, 0), (border, border), (border, border)))[:, None].astype(np.float32)


def digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """All 1,797 scans, (n, 1, 28, 28), and what they show."""
    scans, labels = load_digits(return_X_y=True)
    return as_mnist(scans.reshape(-1, 8, 8)), labels.astype(np.int64)
