"""Statistics of pictures: some numbers for each, whatever its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GRID", "channels_of", "coarse", "statistics"]

GRID: Final = 8
"""Rows and columns of a picture's coarse form."""
_CHANNELS: Final = (1, 3, 4)
_LEAST: Final = 8
"""Pixels that a picture has each way at least."""
_LINES: Final = 64
"""Lines of a picture that are looked at, and columns: up to twice as many."""
_FLAT, _DEEP = 2, 3


def channels_of(shape: tuple[int, ...]) -> int | None:
    """How many channels a sample has, on the first or the last of three axes; None where it is no picture."""
    if len(shape) == _FLAT:
        return 1 if min(shape) >= _LEAST else None
    if len(shape) != _DEEP:
        return None
    if shape[0] in _CHANNELS and min(shape[1:]) >= _LEAST:
        return shape[0]
    return shape[2] if shape[2] in _CHANNELS and min(shape[:2]) >= _LEAST else None


def _planes(sample: NDArray[Any], channels: int) -> list[NDArray[Any]] | None:
    """A picture as ``[lines, columns]`` for each channel; None where it is none of so many."""
    if channels_of(sample.shape) != channels:
        return None
    if sample.ndim == _FLAT:
        return [sample]
    first = sample.shape[0] == channels
    return [sample[channel] if first else sample[..., channel] for channel in range(channels)]


def statistics(sample: NDArray[Any], channels: int) -> tuple[list[float], NDArray[np.float64]] | None:
    """Brightness, contrast, sharpness and, of several channels, the mean of each; and the coarse form.

    Sharpness is the mean difference of neighbours in a line, as a share of the contrast. Of a large picture every so
    many-th line and column is looked at.

    Args:
        sample: Of two axes, or three with the channels first or last.
        channels: How many it has to have.

    Returns:
        The numbers, and `GRID` by `GRID` means without brightness and contrast; None where it is no such picture.
    """
    planes = _planes(sample, channels)
    if planes is None:
        return None
    lines, columns = (max(1, size // _LINES) for size in planes[0].shape)
    looked = [plane[::lines, ::columns].astype(np.float32) for plane in planes]
    beside = [plane[::lines, 1::columns].astype(np.float32) for plane in planes]
    grey, right = (sum(found[1:], found[0]) / channels for found in (looked, beside))
    means = [float(plane.mean(dtype=np.float64)) for plane in looked]
    contrast = float(grey.std(dtype=np.float64))
    differences = np.abs(grey[:, : right.shape[1]] - right).mean(dtype=np.float64)
    sharpness = float(differences) / contrast if contrast > 0 else 0.0
    numbers = [sum(means) / channels, contrast, sharpness, *(means if channels > 1 else ())]
    return numbers, coarse(grey, contrast)


def coarse(grey: NDArray[Any], contrast: float) -> NDArray[np.float64]:
    """Means of `GRID` by `GRID` fields, flat, of mean 0, in contrasts."""
    lines, columns = (np.arange(GRID) * size // GRID for size in grey.shape)
    sums = np.add.reduceat(np.add.reduceat(grey, lines, 0, dtype=np.float64), columns, 1)
    sizes = np.outer(np.diff(lines, append=grey.shape[0]), np.diff(columns, append=grey.shape[1]))
    fields = (sums / sizes).reshape(-1)
    centred = fields - fields.mean()
    return centred / contrast if contrast > 0 else np.zeros(GRID * GRID)
