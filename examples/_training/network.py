"""What a small image classifier is made of, apart from how it is trained and how it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Convolution:
    """A convolution, its batch normalisation and a ReLU.

    Attributes:
        channels: How many come out; a depthwise one keeps the number that went in.
        kernel: Width and height of the filter, odd.
        stride: How many pixels it moves at a time.
        depthwise: Whether every channel is filtered for itself.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    depthwise: bool = False

    @property
    def padding(self) -> int:
        """Zeros added on every side, so that stride 1 keeps the size."""
        return self.kernel // 2

    def weight_shape(self, incoming: int) -> tuple[int, int, int, int]:
        """The filter's shape (out, in per group, height, width) for so many incoming channels."""
        return (self.channels, 1 if self.depthwise else incoming, self.kernel, self.kernel)


@dataclass(frozen=True)
class Network:
    """Convolutions, a global pooling, one dense layer and a softmax.

    Attributes:
        size: Width and height of the greyscale pictures it takes, pixels.
        white: The grey level that is 1.0 inside; the division is folded into the first filter.
        layers: The convolutions in order.
        classes: How many classes it tells apart.
        pooling: What becomes of each last channel: its mean, or its maximum where what counts is small and local.
    """

    size: int
    white: float
    layers: tuple[Convolution, ...]
    classes: int
    pooling: Literal["average", "max"] = "average"

    @property
    def features(self) -> int:
        """How many numbers reach the dense layer."""
        return self.layers[-1].channels

    @property
    def last_size(self) -> int:
        """Width and height of what is pooled, pixels."""
        size = self.size
        for layer in self.layers:
            size = -(-size // layer.stride)
        return size

    def incoming(self) -> list[int]:
        """How many channels go into each convolution."""
        return [1, *(layer.channels for layer in self.layers[:-1])]


@dataclass(frozen=True)
class Trained:
    """A network's numbers, batch normalisation already folded into the filters.

    Attributes:
        filters: Weight and bias of each convolution.
        dense: Weight, shape (features, classes), and bias of the last layer.
    """

    filters: tuple[tuple[Weights, Weights], ...]
    dense: tuple[Weights, Weights]
