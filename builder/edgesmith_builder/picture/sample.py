"""The golden picture: a sample of the set as the picture that it comes from, or a pattern where there is no set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import RequestInvalid
from edgesmith_runtime import picture as runtime
from edgesmith_runtime.picture.golden import png_bytes
from edgesmith_runtime.picture.preparing import pixels_of

ROOM = 64 * 1024
"""Bytes of pixels that the golden picture has at most."""

_LOOKED_AT = 64
"""Samples whose values are looked at."""
_BEYOND = 16
"""By how many grey levels a sample's pixel may be outside of 0 to 255: enlarging with a cubic leaves these."""
_SHARE = 0.01
"""The share of pixels that may be further outside."""
_NARROW = 8
"""Grey levels that pixels of pictures span at least, in one channel."""


@dataclass(frozen=True, slots=True)
class GoldenPicture:
    """What a build needs for pictures."""

    declared: runtime.Picture
    """Held against the model, and completed."""
    data: bytes
    """The picture, a PNG."""


def golden_picture(declared: runtime.Picture, samples: Samples | None, field: str) -> GoldenPicture:
    """Make the golden picture, and hold the declaration against the set.

    Args:
        declared: The declaration.
        samples: The evaluation set, or else the calibration set; None: there is none.
        field: Where the request names it.

    Raises:
        RequestInvalid: where the samples cannot come from pictures by what is declared: with a scale of 1/255 for a set
            of grey levels, say, which a server would answer with guesses.
    """
    if samples is None:
        return GoldenPicture(declared, png_bytes(_sized(_pattern(declared))))
    count = min(_LOOKED_AT, len(samples))
    chosen = [samples.feed(index * len(samples) // count)[declared.input] for index in range(count)]
    pixels = np.concatenate([pixels_of(declared, values) for values in chosen])
    _check_levels(declared, pixels, field)
    first = np.rint(pixels[0].clip(0, 255)).astype(np.uint8)
    return GoldenPicture(declared, png_bytes(_sized(first)))


def _check_levels(declared: runtime.Picture, pixels: NDArray[np.float64], field: str) -> None:
    lowest, highest = float(pixels.min()), float(pixels.max())
    beyond = float(((pixels < -_BEYOND) | (pixels > 255 + _BEYOND)).mean())
    spans = pixels.max(axis=(0, 1, 2)) - pixels.min(axis=(0, 1, 2))
    if beyond > _SHARE or spans.max() < _NARROW:
        raise RequestInvalid(
            f"spec.picture has scale {declared.scale:.4g}, mean {_listed(declared.mean)} and deviation "
            f"{_listed(declared.deviation)}, by which the samples of {field} would come from grey levels from "
            f"{lowest:.4g} to {highest:.4g}; those of pictures, 0 to 255, were expected"
        )


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _sized(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same picture twice as large, or small enough for `ROOM`: so that resizing is replayed too."""
    height, width, depth = pixels.shape
    if 4 * height * width * depth <= ROOM:
        return pixels.repeat(2, axis=0).repeat(2, axis=1)
    step = 1
    while -(-height // step) * -(-width // step) * depth > ROOM:
        step += 1
    return np.ascontiguousarray(pixels[::step, ::step])


def _pattern(declared: runtime.Picture) -> NDArray[np.uint8]:
    """Slopes of grey with a bright disc and a dark one, the same on every machine."""
    down, across = np.mgrid[0 : declared.height, 0 : declared.width].astype(np.int64)
    slopes = 64 + 96 * across // declared.width + 64 * down // declared.height
    channels: list[NDArray[Any]] = []
    for channel in range(declared.depth):
        plane = slopes + 16 * channel
        for place, level in ((1, 240 - 32 * channel), (2, 16 + 32 * channel)):
            centre = (declared.height * place // 3, declared.width * place // 3)
            radius = min(declared.height, declared.width) // 6
            plane[(down - centre[0]) ** 2 + (across - centre[1]) ** 2 <= radius**2] = level
        channels.append(plane)
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)
