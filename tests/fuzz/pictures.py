"""Pictures that are wrong in some way, and the port that takes them: files whose parts and sums are right around it."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from tests.fuzz.inputs import Input, changed
from tests.fuzz.ports import Broken, HttpPort

if TYPE_CHECKING:
    from random import Random

KIND: Final = "picture"
PATH: Final = "/v2/models/toy/image"
MODES: Final = ("L", "LA", "P", "1", "RGB", "RGBA", "I;16", "CMYK")
_OF_JPEG: Final = frozenset({"L", "RGB", "CMYK"})
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHUNKS: Final = (
    b"tRNS", b"PLTE", b"gAMA", b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"acTL", b"fdAT", b"sBIT", b"IDAT", b"IHDR",
)  # fmt: skip
_SIZES: Final = (0, 1, 2, 7, 255, 4096, 65_535, 2**31 - 1, 2**32 - 1)
_RED: Final = (250, 20, 20)
Part = tuple[bytes, bytes]
"""The kind of a chunk and what is in it; of a JPEG the marker, and what stands behind its length."""


def a_picture(rng: Random) -> Input:
    """One request with right framing and a picture, most of them spoilt."""
    data, jpeg = _file(rng)
    chance = rng.random()
    if chance < 0.6:
        data = _spoilt_jpeg(rng, data) if jpeg else _spoilt_png(rng, data)
    if 0.5 < chance < 0.9:
        data = changed(rng, data)
    headers: dict[str, str] = {}
    if rng.random() < 0.1:
        kind = rng.choice(["multipart/form-data; boundary=b", "multipart/form-data", "image/png", "image/x; a=b"])
        headers["Content-Type"] = kind
        head = b'--b\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n'
        data = head + data + b"\r\n--b--\r\n"
        data = changed(rng, data) if rng.random() < 0.5 else data
    if rng.random() < 0.1:
        headers["Content-Encoding"] = "gzip"
        data = gzip.compress(data, 1, mtime=0)
    lines = [f"POST {PATH} HTTP/1.1", "Host: a", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return Input(KIND, ("\r\n".join(lines).encode() + b"\r\n\r\n" + data,), "POST")


def _file(rng: Random) -> tuple[bytes, bool]:
    """A good file, and whether it is a JPEG."""
    mode, jpeg = rng.choice(MODES), rng.random() < 0.4
    if (jpeg and mode not in _OF_JPEG) or (not jpeg and mode == "CMYK"):
        mode = "RGB"
    pixels = np.frombuffer(rng.randbytes(64 * 64 * 3), np.uint8).reshape(64, 64, 3)
    image = Image.fromarray(pixels[: rng.randint(1, 64), : rng.randint(1, 64)])
    image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
    target = io.BytesIO()
    if jpeg:
        image.save(target, "JPEG", quality=rng.choice([5, 75]), progressive=rng.random() < 0.4)
    else:
        image.save(target, "PNG", compress_level=rng.choice([0, 1]))
    return target.getvalue(), jpeg


def _odd(rng: Random, data: bytes) -> bytes:
    """What is in a part, with one number in it made another."""
    if not data or rng.random() < 0.3:
        return rng.randbytes(rng.randint(0, 40))
    made, place = bytearray(data), rng.randrange(len(data))
    if rng.random() < 0.5 and place + 4 <= len(made):
        made[place : place + 4] = struct.pack(">I", rng.choice(_SIZES))
    else:
        made[place] = rng.randrange(256)
    return bytes(made)


def _rearranged(rng: Random, parts: list[Part], further: Part) -> list[Part]:
    """Parts with one to three changes."""
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(parts))
        match rng.randrange(5):
            case 0:
                parts.insert(place, further)
            case 1:
                parts.insert(place, rng.choice(parts))
            case 2 if len(parts) > 1:
                del parts[place]
            case _:
                parts[place] = (parts[place][0], _odd(rng, parts[place][1]))
    return parts


def _spoilt_png(rng: Random, data: bytes) -> bytes:
    """A PNG whose chunks are whole and have right sums."""
    parts: list[Part] = []
    at = len(_SIGNATURE)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind == b"IDAT" and rng.random() < 0.3:
            content = zlib.compress(changed(rng, zlib.decompress(content)), 1)
        parts.append((kind, content))
        at += 12 + length
    further = (rng.choice(_CHUNKS), rng.randbytes(rng.randint(0, 80)))
    made = _SIGNATURE
    for kind, content in _rearranged(rng, parts, further):
        made += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return made


def _spoilt_jpeg(rng: Random, data: bytes) -> bytes:
    """A JPEG whose segments before its pixels have right lengths."""
    parts: list[Part] = []
    at = 2
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        parts.append((data[at : at + 2], data[at + 4 : at + 2 + length]))
        at += 2 + length
    marker = bytes([0xFF, rng.choice([0xC0, 0xC2, 0xC4, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE])])
    further = (marker, b"Exif\0\0" * rng.randint(0, 1) + rng.randbytes(rng.randint(0, 60)))
    made = data[:2]
    for kind, content in _rearranged(rng, parts, further):
        made += kind + struct.pack(">H", len(content) + 2) + content
    scans = data[at:]
    return made + (scans[:-2] * rng.choice([1, 1, 1, 2, 150]) + scans[-2:])


@dataclass
class PicturePort(HttpPort):
    """The HTTP port of a server that takes pictures."""

    def good(self, value: float) -> str | None:
        """What is wrong with the answer to a good picture; None: nothing."""
        del value
        target = io.BytesIO()
        Image.new("RGB", (20, 30), _RED).save(target, "PNG")
        body = target.getvalue()
        head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        try:
            ((_, answer),) = self._answers([Input(KIND, (head + body,), "POST")])
            said: Any = json.loads(answer.body)
            right = said["labels"][0]["label"] == "red"
        except (Broken, KeyError, ValueError, OSError) as error:
            return f"a good picture afterwards got no answer: {error!r}"
        return None if right else f"a good picture afterwards was answered {answer.status} {answer.body[:200]!r}"
