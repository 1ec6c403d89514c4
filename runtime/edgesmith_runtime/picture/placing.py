"""Where a picture lies in the model's input: resizing, and the way back for boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgesmith_runtime.picture.declaration import Picture

__all__ = ["Placed", "place", "resized"]

_FILTERS: Final = {"Nearest": 0, "Bilinear": 2, "Bicubic": 3, "Area": 4}
"""Pillow's numbers of its filters (`PIL.Image.Resampling`)."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a picture lies in an input.

    A point of the picture lies at ``x * scale[0] + offset[0]`` and ``y * scale[1] + offset[1]`` of the input.

    Attributes:
        box: What is taken of the picture: left, top, right, bottom, in its pixels.
        size: How large that becomes: width and height in the input's pixels.
        corner: Where its left upper corner comes to lie in the input.
        scale: The input's pixels to one of the picture, across and down.
        offset: Where the picture's corner lies in the input, be it outside.
        picture: The picture's width and height.
    """

    box: tuple[float, float, float, float]
    size: tuple[int, int]
    corner: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]
    picture: tuple[int, int]

    def back(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take boxes from the input's pixels to the picture's, bounded by the picture.

        Args:
            corners: ``[boxes, 4]``: left, top, right, bottom.
        """
        offset, scale, most = (np.array([*pair, *pair]) for pair in (self.offset, self.scale, self.picture))
        return np.asarray(np.clip((corners - offset) / scale, 0.0, most))


def place(picture: Picture, width: int, height: int) -> Placed:
    """Work out where a picture of a size lies in the input.

    `Crop` is torchvision's ``Resize(shorter_side)`` and ``CenterCrop`` after it, with the same rounding, `Letterbox`
    that of YOLO's ``LetterBox``; what is cut away is never computed.

    Args:
        picture: The declaration.
        width: The picture's width, upright.
        height: Its height.
    """
    inner, whole = (picture.width, picture.height), (0.0, 0.0, float(width), float(height))
    if picture.resize == "Stretch":
        scale = (inner[0] / width, inner[1] / height)
        return Placed(whole, inner, (0, 0), scale, (0.0, 0.0), (width, height))
    if picture.resize == "Letterbox":
        share = min(inner[0] / width, inner[1] / height)
        size = _bounded(round(width * share), inner[0]), _bounded(round(height * share), inner[1])
        corner = (inner[0] - size[0]) // 2, (inner[1] - size[1]) // 2
        scale = (size[0] / width, size[1] / height)
        return Placed(whole, size, corner, scale, (float(corner[0]), float(corner[1])), (width, height))
    resized = _covering(picture, width, height)
    scale = (resized[0] / width, resized[1] / height)
    left, top = round((resized[0] - inner[0]) / 2), round((resized[1] - inner[1]) / 2)
    box = (
        left / scale[0],
        top / scale[1],
        min((left + inner[0]) / scale[0], float(width)),
        min((top + inner[1]) / scale[1], float(height)),
    )
    return Placed(box, inner, (0, 0), scale, (-float(left), -float(top)), (width, height))


def _covering(picture: Picture, width: int, height: int) -> tuple[int, int]:
    """How large the picture would become before its middle is cut out."""
    if picture.shorter_side is None:
        share = max(picture.width / width, picture.height / height)
        return max(picture.width, round(width * share)), max(picture.height, round(height * share))
    short, long = min(width, height), max(width, height)
    other = int(picture.shorter_side * long / short)
    return (picture.shorter_side, other) if width <= height else (other, picture.shorter_side)


def _bounded(size: int, most: int) -> int:
    return max(1, min(size, most))


def resized(picture: Picture, placed: Placed, image: Any) -> NDArray[np.uint8]:
    """Make the input's pixels of a picture's.

    Args:
        picture: The declaration.
        placed: Where it lies.
        image: The picture, an image of Pillow in ``RGB`` or ``L``.

    Returns:
        ``[height, width, channels]``, with one channel or red, green and blue.
    """
    whole = placed.size == placed.picture and placed.box == (0.0, 0.0, *map(float, placed.size))
    small = image if whole else image.resize(placed.size, _FILTERS[picture.interpolation], placed.box)
    pixels = np.asarray(small, np.uint8).reshape(placed.size[1], placed.size[0], picture.depth)
    if placed.size == (picture.width, picture.height):
        return pixels
    canvas = np.full((picture.height, picture.width, picture.depth), picture.fill, np.uint8)
    left, top = placed.corner
    canvas[top : top + placed.size[1], left : left + placed.size[0]] = pixels
    return canvas
