#!/usr/bin/env python3
"""Draws the parts that a camera over a conveyor would see: steel plates with four bolt holes, some of them faulty.

A picture is a pure function of the split's name and its number in the split, so that any set can be remade, in any
size, bit for bit. What makes the task hard is there on purpose: streaks of the brushing that look like scratches,
oil smudges that look like dents, holes that are drilled too shallow, uneven light and sensor noise.

Run it to look at some: ``python3 examples/surface-inspection/parts.py sheet.png``.
"""

from __future__ import annotations

import argparse
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SIZE = 64
"""Width and height of a picture, pixels."""
LABELS = ("ok", "scratch", "dent", "missing-hole")
"""The classes; a label is a place in this tuple."""
SPLITS = ("training", "calibration", "evaluation")
"""The sets that never share a picture: each has random streams of its own."""

_STEP = 4
_SEED = 20_240_229
_HOLES = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
_PIXELS = np.arange(SIZE, dtype=np.float64) - (SIZE - 1) / 2


@dataclass(frozen=True)
class Pose:
    """Where a part lies under the camera, and from where it is lit.

    Attributes:
        x: For every pixel, its place along the brushing, pixels from the part's middle.
        y: For every pixel, its place across the brushing.
        half: Half the plate's edge, pixels.
        light: Unit vector that points to the lamp, in the part's own axes.
    """

    x: Floats
    y: Floats
    half: float
    light: tuple[float, float]


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _edge(distance: Floats, softness: float = 0.7) -> Floats:
    """1 where the distance in pixels is well below zero, 0 well above: a blurred, antialiased edge."""
    ramp: Floats = np.clip(0.5 - distance / (2 * softness), 0.0, 1.0)
    return ramp


def _pose(rng: np.random.Generator) -> Pose:
    angle = np.radians(_between(rng, -8, 8))
    dx, dy = _PIXELS[None, :] - _between(rng, -3, 3), _PIXELS[:, None] - _between(rng, -3, 3)
    lamp = np.radians(_between(rng, 0, 360))
    return Pose(
        x=dx * np.cos(angle) + dy * np.sin(angle),
        y=dy * np.cos(angle) - dx * np.sin(angle),
        half=_between(rng, 25, 28),
        light=(float(np.cos(lamp)), float(np.sin(lamp))),
    )


def _brushed(pose: Pose, rng: np.random.Generator) -> Floats:
    """Grey levels that brushing adds: noise drawn out along the part's x axis, and a few stronger streaks."""
    grain = rng.standard_normal((2 * SIZE, 3 * SIZE))
    sums = np.cumsum(grain, axis=1)
    reach = 9 + 4 * int(rng.integers(0, 5))
    drawn = (sums[:, reach : reach + 2 * SIZE] - sums[:, : 2 * SIZE]) / np.sqrt(reach)
    rows = np.clip(np.rint(pose.y + SIZE), 0, 2 * SIZE - 1).astype(np.int64)
    columns = np.clip(np.rint(pose.x + SIZE), 0, 2 * SIZE - 1).astype(np.int64)
    texture: Floats = _between(rng, 2, 7) * drawn[rows, columns]
    for _ in range(int(rng.integers(0, 4))):
        along, length = _between(rng, -20, 20), _between(rng, 6, 24)
        streak = _edge(abs(pose.y - _between(rng, -22, 22)) - 0.4, 0.6) * _edge(abs(pose.x - along) - length, 3)
        texture += _between(rng, -16, 16) * streak
    return texture


def _lighting(pose: Pose, rng: np.random.Generator) -> Floats:
    """Factor on the plate's brightness: it falls off away from the lamp, with one broad reflection."""
    toward = (pose.x * pose.light[0] + pose.y * pose.light[1]) / SIZE
    glare = np.exp(-(((toward - _between(rng, -0.5, 0.5)) / _between(rng, 0.1, 0.3)) ** 2))
    factor: Floats = 1 + _between(rng, 0.0, 0.45) * toward + _between(rng, 0.0, 0.18) * glare
    return factor


def _drill(picture: Floats, pose: Pose, rng: np.random.Generator, missing: int | None) -> Floats:
    """Sinks the four holes; the missing one is left out, or only marked by the drill's tip."""
    spread = pose.half * _between(rng, 0.6, 0.66)
    radius = _between(rng, 3.4, 4.6)
    for number, (right, down) in enumerate(_HOLES):
        dx = pose.x - right * spread - _between(rng, -0.8, 0.8)
        dy = pose.y - down * spread - _between(rng, -0.8, 0.8)
        distance = np.hypot(dx, dy)
        depth, reach = _between(rng, 0.6, 1.0), radius
        if number == missing:
            # A drill that only touched the plate leaves a shallow mark: the hard half of this class.
            depth, reach = (
                (_between(rng, 0.1, 0.25), radius * _between(rng, 0.5, 0.9)) if rng.random() < 0.5 else (0, 1)
            )
        floor = _between(rng, 15, 60)
        picture = picture + depth * _edge(distance - reach) * (floor - picture)
        facing = (dx * pose.light[0] + dy * pose.light[1]) / np.maximum(distance, 0.5)
        picture = picture - 45 * depth * facing * np.exp(-((distance - reach - 0.6) ** 2))
    return picture


def _scratch(pose: Pose, rng: np.random.Generator) -> Floats:
    """A fine bent line, bright or dark, at any angle but along the brushing."""
    angle = np.radians(_between(rng, 18, 162))
    dx, dy = pose.x - _between(rng, -14, 14), pose.y - _between(rng, -14, 14)
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    bent = across - _between(rng, -0.015, 0.015) * along**2
    line = _edge(abs(bent) - _between(rng, 0.2, 0.7), 0.6) * _edge(abs(along) - _between(rng, 5, 16), 1.5)
    sign = 1 if rng.random() < 0.5 else -1
    return sign * _between(rng, 26, 75) * line


def _dent(pose: Pose, rng: np.random.Generator) -> Floats:
    """A hollow: bright on the side that faces the lamp's light, dark on the other, as its slope is."""
    dx, dy = pose.x - _between(rng, -15, 15), pose.y - _between(rng, -15, 15)
    wide, high = _between(rng, 2.2, 5.0), _between(rng, 2.2, 5.0)
    hollow = np.exp(-0.5 * ((dx / wide) ** 2 + (dy / high) ** 2))
    slope = -(dx / wide * pose.light[0] + dy / high * pose.light[1])
    shade: Floats = _between(rng, 24, 65) * hollow * slope * 1.6
    return shade


def _smudge(pose: Pose, rng: np.random.Generator) -> Floats:
    """Oil on the surface: dark all over, so unlike a dent it has no bright side."""
    dx, dy = pose.x - _between(rng, -22, 22), pose.y - _between(rng, -22, 22)
    spot: Floats = np.exp(-0.5 * ((dx / _between(rng, 2, 7)) ** 2 + (dy / _between(rng, 2, 7)) ** 2))
    return -_between(rng, 5, 35) * spot


def draw(label: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draws one part.

    Args:
        label: The class it shows, a place in `LABELS`.
        rng: Where every accident of the picture comes from.

    Returns:
        Grey levels 0 to 252 in steps of 4, as from a camera of six bits; shape (64, 64).
    """
    pose = _pose(rng)
    plate = _between(rng, 110, 185) + _brushed(pose, rng)
    for _ in range(int(rng.integers(0, 3))):
        plate = plate + _smudge(pose, rng)
    fault = LABELS[label]
    if fault == "scratch":
        plate = plate + _scratch(pose, rng)
    elif fault == "dent":
        plate = plate + _dent(pose, rng)
    missing = int(rng.integers(0, len(_HOLES))) if fault == "missing-hole" else None
    plate = _drill(plate, pose, rng, missing) * _lighting(pose, rng)
    belt = _between(rng, 20, 60) + 3 * rng.standard_normal((SIZE, SIZE))
    inside = _edge(np.maximum(abs(pose.x), abs(pose.y)) - pose.half, 0.9)
    noise = _between(rng, 1.0, 4.0) * rng.standard_normal((SIZE, SIZE))
    seen = inside * plate + (1 - inside) * belt + noise
    # Rounded to the camera's grey levels, last-bit differences between processors do not survive.
    levels: npt.NDArray[np.uint8] = np.clip(np.rint(seen / _STEP) * _STEP, 0, 256 - _STEP).astype(np.uint8)
    return levels


def make_set(split: str, count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Draws the first pictures of a split, the classes taking turns.

    Args:
        split: One of `SPLITS`.
        count: How many.

    Returns:
        The pictures, grey levels 0 to 255 as float32 of shape (count, 1, 64, 64), and their labels, int64 of
        shape (count,).

    Raises:
        ValueError: The split is none of `SPLITS`.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    labels = np.arange(count, dtype=np.int64) % len(LABELS)
    images = np.empty((count, 1, SIZE, SIZE), dtype=np.float32)
    for number, label in enumerate(labels):
        images[number, 0] = draw(int(label), np.random.default_rng([_SEED, SPLITS.index(split), number]))
    return images, labels


def png(grey: npt.NDArray[np.uint8]) -> bytes:
    """Encodes grey levels of shape (height, width) as a PNG (RFC 2083): one filter-less image, no metadata."""
    height, width = grey.shape
    rows = b"".join(b"\0" + row.tobytes() for row in grey)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def main() -> None:
    """Writes a sheet of pictures: one row a class."""
    parser = argparse.ArgumentParser(description="Draws a sheet of parts, one row a class.")
    parser.add_argument("file", type=Path, help="the PNG to write")
    parser.add_argument("--columns", type=int, default=8, help="pictures a class (default 8)")
    arguments = parser.parse_args()
    images, _ = make_set("evaluation", arguments.columns * len(LABELS))
    grid = images.reshape(arguments.columns, len(LABELS), SIZE, SIZE).transpose(1, 2, 0, 3)
    sheet = grid.reshape(len(LABELS) * SIZE, arguments.columns * SIZE).astype(np.uint8)
    arguments.file.write_bytes(png(sheet))
    print(f"{arguments.file}: rows from the top: {', '.join(LABELS)}")


if __name__ == "__main__":
    main()
