"""The files around pictures: what a JPEG or PNG is, how large, and whether it may be decoded at all.

Looked at before a decoder sees a byte, since decoders work for as long as a file says and keep whatever it holds: a
JPEG of a megabyte can ask for a thousand passes over gigabytes of pixels. ITU-T T.81 annex B and the PNG
specification (https://www.w3.org/TR/png-3/) describe the two.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final, Literal

from edgesmith_runtime.errors import BadRequest

__all__ = ["MOST_SCANS", "MOST_SEGMENTS", "Container", "read_container"]

MOST_SCANS: Final = 100
"""The most passes over its pixels that a JPEG may ask for; a progressive one usually has 10."""
MOST_SEGMENTS: Final = 1000
"""The most parts that a file may have beside its pixels."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_OTHERS: Final = (
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"%PDF", "PDF"),
)
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of a JPEG that begin a frame: its size is there."""
_START_OF_SCAN: Final = 0xDA
_SCAN: Final = re.compile(rb"\xff\xda")
_END: Final = 0xD9
_MARK: Final = 0xFF
"""The byte that every marker begins with."""
_ALONE: Final = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
"""Markers without a length, and what is none."""
_MOST_BETWEEN: Final = 4096
"""The most bytes of no meaning between the parts of a JPEG."""
_USUAL_CHUNK: Final = 512
"""Pixels of a PNG come in chunks of so many bytes at least, on average."""


@dataclass(frozen=True, slots=True)
class Container:
    """What a file says before its pixels are decoded.

    Attributes:
        format: Which of the two it is.
        width: In pixels, as stored: a note may say that the picture is to be turned.
        height: Likewise.
        depth: The bits of one level of one channel, or of an index into a palette.
    """

    format: Literal["JPEG", "PNG"]
    width: int
    height: int
    depth: int


def read_container(data: memoryview) -> Container:
    """Look at a file without decoding it.

    Raises:
        BadRequest: It is no JPEG or PNG, ends too early, or would take a decoder too long.
    """
    head = bytes(data[:16])
    if head.startswith(_PNG):
        found = _png(data)
    elif head.startswith(_JPEG):
        found = _jpeg(data)
    else:
        kind = next((name for at, magic, name in _OTHERS if head[at:].startswith(magic)), None)
        raise BadRequest(f"the body is {f'a {kind} file' if kind else 'no picture'}; expected a JPEG or PNG picture")
    if not found.width or not found.height:
        raise BadRequest(f"the picture has {found.width} x {found.height} pixels; expected at least one")
    return found


def _jpeg(data: memoryview) -> Container:
    at, between, segments = 2, 0, 0
    frame: Container | None = None
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != _MARK or marker == _MARK:  # no marker begins here, or a byte that fills
            at, between = at + 1, between + 1
            if between > _MOST_BETWEEN:
                break
            continue
        if marker == _END:
            break
        if marker in _ALONE:
            at += 2
            continue
        segments += 1
        if segments > MOST_SEGMENTS:
            raise BadRequest(f"the JPEG has over {MOST_SEGMENTS} parts beside its pixels; expected fewer")
        if marker == _START_OF_SCAN:
            return _scanned(data, frame)
        length = data[at + 2] << 8 | data[at + 3]
        if marker in _FRAMES and at + 9 <= len(data):
            depth, height, width = struct.unpack_from(">BHH", data, at + 4)
            frame = Container("JPEG", width, height, depth)
        at += 2 + length
    raise BadRequest("the JPEG has no pixels where they belong; expected a whole file")


def _scanned(data: memoryview, frame: Container | None) -> Container:
    if frame is None:
        raise BadRequest("the JPEG does not say its size; expected a whole file")
    # Between pixels 0xFF is never followed by this byte, so that what is counted is scans, and a few bytes of notes.
    scans = sum(1 for _ in _SCAN.finditer(data))
    if scans > MOST_SCANS:
        raise BadRequest(f"the JPEG has {scans} scans; expected at most {MOST_SCANS}")
    return frame


def _png(data: memoryview) -> Container:
    if len(data) < 33 or bytes(data[12:16]) != b"IHDR":  # noqa: PLR2004 - the signature and its first chunk
        raise BadRequest("the PNG ends before its size; expected a whole file")
    width, height, depth = struct.unpack_from(">IIB", data, 16)
    at, others, pixels = 8, 0, 0
    most = MOST_SEGMENTS + len(data) // _USUAL_CHUNK
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind = bytes(data[at + 4 : at + 8])
        if kind == b"IEND":
            return Container("PNG", width, height, depth)
        pixels += kind == b"IDAT"
        others += kind != b"IDAT"
        if others > MOST_SEGMENTS or pixels > most:
            raise BadRequest(f"the PNG has {others} notes and {pixels} parts of pixels so far; expected fewer")
        at += 12 + length
    raise BadRequest("the PNG ends before its end mark; expected a whole file")
