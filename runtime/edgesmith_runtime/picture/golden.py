"""The golden picture: its bytes are replayed through the whole way, wherever the model is about to serve."""

from __future__ import annotations

import math
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.errors import RequestError
from edgesmith_runtime.picture.suppressing import overlaps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.engine import Engine
    from edgesmith_runtime.picture.pipeline import Pipeline

__all__ = ["deviation", "png_bytes", "replay_picture"]

_SAME_BOX: Final = 0.5
"""The least overlap of a box with the one that was recorded."""
_SIDES: Final = ("left", "top", "right", "bottom")
_BLOCK: Final = 65535
"""The most bytes of a block that is stored as it is (RFC 1951, 3.2.4)."""


def replay_picture(engine: Engine, pipeline: Pipeline, data: bytes) -> str | None:
    """Ask an engine for the golden picture and compare.

    Args:
        engine: The engine to ask.
        pipeline: What the bundle declares, with the recorded answer.
        data: The picture's bytes.

    Returns:
        What is wrong, in one sentence; None where the answer is as it was recorded.

    Raises:
        EngineError: The engine refused the picture, or failed on it.
    """
    try:
        prepared = pipeline.prepare(memoryview(data))
        outputs = engine.infer(prepared.feed, pipeline.picture.outputs)
        given = pipeline.answer(outputs, prepared.placed)
    except RequestError as error:
        return f"the golden picture is not answered: {error}"
    return deviation(pipeline, given)


def deviation(pipeline: Pipeline, given: Mapping[str, Any]) -> str | None:
    """Say what is wrong with an answer to the golden picture, in one sentence; None where it agrees.

    A label may come or go where its score is within the tolerance of the last one's: then it is not known which of the
    two is among the best. A box may where its score is within the tolerance of the least that is answered; others agree
    where they are of one class and overlap by half.

    Args:
        pipeline: What the bundle declares, with the recorded answer.
        given: The answer.
    """
    recorded, sought = pipeline.picture.recorded, pipeline.picture.detection
    if recorded is None:
        raise ValueError("the declaration has no recorded answer; expected one")
    kind = "boxes" if sought else "labels"
    wanted, found, tolerance = recorded.answer.get(kind, ()), given[kind], recorded.tolerance
    same = _same_label if sought is None else _same_box
    for these, those, verb in ((wanted, found, "lacks"), (found, wanted, "has")):
        least = min((one["score"] for one in those), default=-math.inf)
        if sought is not None and len(those) < sought.max_boxes:
            least = sought.score_threshold
        for one in these:
            if one["score"] > least + tolerance and not any(same(one, other, tolerance) for other in those):
                return (
                    f"the answer to the golden picture {verb} {_named(one, pipeline.labels)}; expected what the build "
                    f"recorded, scores within {tolerance:.2g}"
                )
    return None


def _named(one: Mapping[str, Any], labels: Sequence[str]) -> str:
    index, box = one["index"], one.get("box")
    name = repr(labels[index]) if index < len(labels) else f"class {index}"
    place = f" at {', '.join(f'{side} {box[side]:g}' for side in _SIDES)}" if box else ""
    return f"{name} with the score {one['score']:.4g}{place}"


def _same_label(one: Mapping[str, Any], other: Mapping[str, Any], tolerance: float) -> bool:
    return bool(one["index"] == other["index"] and abs(one["score"] - other["score"]) <= tolerance)


def _same_box(one: Mapping[str, Any], other: Mapping[str, Any], tolerance: float) -> bool:
    sides = [np.array([found["box"][side] for side in _SIDES], np.float64) for found in (one, other)]
    return _same_label(one, other, tolerance) and bool(overlaps(sides[0], sides[1][None])[0] >= _SAME_BOX)


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Write pixels as a PNG that is not compressed, so that the same pixels give the same bytes anywhere.

    Args:
        pixels: ``[height, width, channels]``: one channel, or red, green and blue.
    """
    height, width, depth = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, width * depth)], axis=1).tobytes()
    stored = bytearray(b"\x78\x01")
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        stored += struct.pack("<BHH", start + _BLOCK >= len(rows), len(block), len(block) ^ 0xFFFF) + block
    stored += struct.pack(">I", zlib.adler32(rows))
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if depth == 1 else 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", bytes(stored)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
