"""Pages with text that is drawn here, and what lies between them and PaddleOCR's networks: the work of a client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

WIDTH, HEIGHT = 320, 160
LINE = 48
"""Height of what is read, pixels."""

Page = NDArray[np.uint8]
Network = Callable[[NDArray[np.float32]], NDArray[Any]]

_THRESHOLD, _GROWTH, _LEAST = 0.3, 0.45, 100
"""Where text is for sure, how much of its height a found core lacks on each side, and the smallest core, pixels."""


def page(lines: Sequence[str], seed: int) -> Page:
    """Draws up to two lines of text onto a plate with some dirt, shape (HEIGHT, WIDTH, 3)."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (WIDTH, HEIGHT), tuple(int(level) for level in rng.integers(200, 250, 3)))
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        font = ImageFont.load_default(int(rng.integers(22, 29)))
        draw.text((int(rng.integers(12, 40)), 18 + 70 * number), line, fill=(20, 20, 30), font=font)
    dirty = np.asarray(image) + rng.normal(0, 4, (HEIGHT, WIDTH, 3))
    return np.clip(dirty, 0, 255).astype(np.uint8)


def plates(count: int, seed: int) -> list[list[str]]:
    """What stands on some type plates, two lines each."""
    rng = np.random.default_rng(seed)
    words = ("SERIAL", "Type", "Motor", "Pump", "Valve", "Rated")
    return [
        [
            f"{rng.choice(words)} {rng.integers(1000, 99999)}",
            f"Max {rng.integers(2, 60)} {rng.choice(['bar', 'kW', 'rpm'])}",
        ]
        for _ in range(count)
    ]


def scaled(image: Page) -> NDArray[np.float32]:
    """A picture as the networks take it, blue first, from -1 to 1, shape (3, height, width)."""
    return np.ascontiguousarray(((image[..., ::-1].astype(np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1))


def lines_of(image: Page, detect: Network) -> list[Page]:
    """The pieces of a page that hold a line of text each, from top to bottom.

    Args:
        image: The page.
        detect: From pictures, shape (1, 3, height, width), to how likely each pixel is of text, (1, 1, height, width).
    """
    marked, _ = ndimage.label(detect(scaled(image)[None])[0, 0] > _THRESHOLD)
    found = []
    for rows, columns in ndimage.find_objects(marked):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if height * width >= _LEAST:
            grown = int(height * _GROWTH)
            top, left = max(0, rows.start - grown), max(0, columns.start - grown)
            found.append((top, image[top : rows.stop + grown, left : columns.stop + grown]))
    return [piece for _, piece in sorted(found, key=lambda one: one[0])]


def line(piece: Page, width: int | None = None) -> NDArray[np.float32]:
    """A piece as the reader takes it, LINE high; with `width`, that wide, filled up with nothing."""
    picture = Image.fromarray(piece)
    wide = max(1, round(LINE * picture.width / picture.height))
    wide = wide if width is None else min(wide, width)
    image = scaled(np.asarray(picture.resize((wide, LINE), Image.Resampling.BILINEAR)))
    return image if width is None else np.pad(image, ((0, 0), (0, 0), (0, width - wide)))


def read(answer: NDArray[Any], characters: Sequence[str]) -> str:
    """What the reader's answer says, shape (1, steps, characters): at each step a letter, nothing, or the one before.

    That is best path decoding of a connectionist temporal classification (Graves and others, ICML 2006, 369-376).
    """
    best = answer[0].argmax(1)
    kept = [number for step, number in enumerate(best) if number and (not step or number != best[step - 1])]
    return "".join(characters[number] for number in kept)


def characters(model: Path) -> list[str]:
    """The characters that the reader knows, which its metadata has one a line; the first is none, the last a blank."""
    entries = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    return ["", *entries["character"].split("\n"), " "]
