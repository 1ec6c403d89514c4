"""From pixels to the model's input, and back: scale, mean, deviation, the order of channels and axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgesmith_runtime.tensors import DTYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgesmith_runtime.picture.declaration import Picture

__all__ = ["levels", "pixels_of", "tensor"]


def levels(picture: Picture, datatype: str) -> NDArray[Any]:
    """What each grey level from 0 to 255 becomes in each channel of the input, computed in FP64 and then rounded.

    Returns:
        ``[channels, 256]``, of the input's own type.
    """
    every = np.arange(256, dtype=np.float64)[None]
    mean, deviation = _columns(picture)
    values = (every * picture.scale - mean) / deviation
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        return values.astype(dtype)
    bounds = np.iinfo(dtype)
    return np.clip(np.rint(values), bounds.min, bounds.max).astype(dtype)


def tensor(picture: Picture, table: NDArray[Any], pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """Make the input of pixels.

    Args:
        picture: The declaration.
        table: What `levels` said.
        pixels: ``[height, width, channels]``: red, green and blue, or grey.
    """
    ordered = pixels[:, :, ::-1] if picture.channels == "BGR" else pixels
    first = "CHW" in picture.layout
    shape = (picture.depth, *ordered.shape[:2]) if first else ordered.shape
    values = np.empty(shape, table.dtype)
    for channel in range(picture.depth):
        values[(channel, slice(None), slice(None)) if first else (slice(None), slice(None), channel)] = table[channel][
            ordered[:, :, channel]
        ]
    if "C" not in picture.layout:
        values = values[:, :, 0]
    return values[None] if "N" in picture.layout else values


def pixels_of(picture: Picture, values: NDArray[Any]) -> NDArray[np.float64]:
    """What pixels an input would come from; those of a picture are between 0 and 255.

    Args:
        picture: The declaration.
        values: Inputs of the model, with or without an axis of samples before it.

    Returns:
        ``[samples, height, width, channels]``: red, green and blue, or grey.
    """
    axes = picture.layout.replace("N", "")
    samples = values.astype(np.float64).reshape(-1, *values.shape[values.ndim - len(axes) :])
    if "C" not in axes:
        samples = samples[..., None]
    elif axes == "CHW":
        samples = np.moveaxis(samples, 1, -1)
    mean, deviation = _columns(picture)
    found = (samples * deviation[:, 0] + mean[:, 0]) / picture.scale
    return found[..., ::-1] if picture.channels == "BGR" else found


def _columns(picture: Picture) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each channel of the input, in its own order."""
    mean, deviation = (
        np.broadcast_to(np.array(values, np.float64)[:, None], (picture.depth, 1))
        for values in (picture.mean, picture.deviation)
    )
    return mean, deviation
