"""A camera of the surface inspection whose light has changed: what it sees, and what its plates really are."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesmith_stage import surface
from edgesmith_stage.predict import BATCH


@dataclass(frozen=True)
class Plates:
    """Pictures, and the class of each."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def requests(self) -> Iterator[str]:
        """All of them, as requests of the open inference protocol."""
        for first in range(0, len(self.images), BATCH):
            images = self.images[first : first + BATCH]
            values = images.astype(np.int64).ravel().tolist()
            tensor = {"name": "image", "shape": list(images.shape), "datatype": "FP32", "data": values}
            yield json.dumps({"inputs": [tensor]})

    def said(self) -> bytes:
        """What somebody says of each picture, as the example's Job of retraining reads it."""
        names = [hashlib.sha256(image.astype(np.uint8).tobytes()).hexdigest() for image in self.images]
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, pictures=np.array(names), labels=self.labels)
        return buffer.getvalue()

    def right(self, answers: NDArray[np.float32]) -> float:
        """The share of right answers."""
        return float((answers.argmax(1) == self.labels).mean())


def plates(count: int, stream: int) -> Plates:
    """Plates of every class in turns under the new light; those of two streams have none in common."""
    sys.path.insert(0, str(surface.FOLDER))
    try:
        from parts import LABELS, draw  # noqa: PLC0415 - a script of the example
    finally:
        sys.path.remove(str(surface.FOLDER))
    labels = np.arange(count) % len(LABELS)
    drawn = [draw(int(label), np.random.default_rng([77, stream, n])) for n, label in enumerate(labels)]
    return Plates(_sunlit(np.stack(drawn)[:, np.newaxis]), labels)


def _sunlit(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Daylight comes in from the right, and the camera's exposure is shorter for it."""
    light = np.linspace(0, 180, images.shape[-1])
    seen: NDArray[np.float32] = np.clip(0.7 * images + light, 0, 252).round().astype(np.float32)
    return seen
