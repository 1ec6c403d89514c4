"""A network of a small face detector's shape: inputs and answers that are larger than itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from candidates import FLOAT, made, node, numbers


def detector(seed: int) -> onnx.ModelProto:
    """The shape of a face detector of a megabyte: 4,800 places, two scores and four coordinates for each."""
    weights = {
        "stem": numbers(32, 3, 3, 3, seed=seed) * np.float32(0.2),
        "deep": numbers(256, 32, 3, 3, seed=seed + 1) * np.float32(0.05),
        "wide": numbers(768, 256, 1, 1, seed=seed + 2) * np.float32(0.05),
        "head": numbers(96, 768, 1, 1, seed=seed + 3) * np.float32(0.05),
        "flat": np.array([1, 6, -1]),
        "axis": np.array([1]),
        **{f"{name}{number}": np.array([number]) for name in "p" for number in (0, 2, 6)},
    }
    nodes = [
        *(node("Conv", ["image", "stem"], ["c0"], strides=[8, 8], pads=[1] * 4), node("Relu", ["c0"], ["r0"])),
        *(node("Conv", ["r0", "deep"], ["c1"], strides=[2, 2], pads=[1] * 4), node("Relu", ["c1"], ["r1"])),
        *(node("Conv", ["r1", "wide"], ["c2"]), node("Relu", ["c2"], ["r2"]), node("Conv", ["r2", "head"], ["h"])),
        node("Reshape", ["h", "flat"], ["p"]),
        *(node("Slice", ["p", "p0", "p2", "axis"], ["s"]), node("Slice", ["p", "p2", "p6", "axis"], ["b"])),
        *(node("Transpose", ["s"], ["st"], perm=[0, 2, 1]), node("Softmax", ["st"], ["scores"], axis=2)),
        node("Transpose", ["b"], ["boxes"], perm=[0, 2, 1]),
    ]
    sides = [("image", FLOAT, [1, 3, 240, 320])], [("scores", FLOAT, [1, 4800, 2]), ("boxes", FLOAT, [1, 4800, 4])]
    return made(nodes, *sides, weights)


def pictures(count: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Smooth pictures of bytes with a camera's noise, normalised as detectors want them."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(16, 240, (count, 3, 8, 8)), np.ones((1, 1, 30, 40)))
    fine = (coarse + rng.normal(size=coarse.shape) * 3).astype(np.uint8)
    return ((fine.astype(np.float32) - 127) / 128).astype(np.float32)
