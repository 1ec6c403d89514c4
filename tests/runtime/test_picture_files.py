"""Files that are no pictures, or would take a decoder too long: each is refused in a sentence."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import jpeg, png, saved, scene
from PIL import Image

from edgesmith_runtime.errors import BadRequest, RequestError, TooLarge
from edgesmith_runtime.picture.containers import MOST_SCANS, MOST_SEGMENTS
from edgesmith_runtime.picture.decode import decode

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # a server writes none of them either


def decoded(data: bytes, *, gray: bool = False, largest: int = 2**26) -> NDArray[np.uint8]:
    with decode(memoryview(data), gray=gray, largest=largest) as found:
        return np.array(found.image)


def png_of(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand, for forms that Pillow does not write."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


# What a file may not be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [png, jpeg])
def test_a_file_that_ends_early_anywhere_is_refused_in_a_sentence(kind: Any) -> None:
    whole = kind(scene(48, 32))
    end = len(whole) - (13 if kind is png else 3)
    for length in (*range(0, 700, 7), *range(700, end, max(1, end // 60)), end):
        if length >= end + 1:
            continue
        with pytest.raises(BadRequest, match="expected a"):
            decoded(whole[:length])


@given(st.data())
@settings(max_examples=150)
def test_whatever_bytes_change_it_is_a_picture_or_a_sentence(data: Any) -> None:
    whole = bytearray(data.draw(st.sampled_from(BROKEN)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        said, size = "", decoded(bytes(whole), largest=2**20).nbytes
    except RequestError as error:
        said, size = str(error), 0
    assert len(said) < 300
    assert size <= 2**20


BROKEN = [
    png(scene(24, 16)),
    jpeg(scene(24, 16)),
    saved(
        Image.fromarray(scene(24, 16)),
        "JPEG",
        progressive=True,
        exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6",
    ),
    saved(Image.fromarray(scene(24, 16)).quantize(16), "PNG", transparency=3),
]


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"GIF89a", "a GIF file"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "a WebP file"),
        (b"\0\0\0\x18ftypheic\0\0", "a HEIC file"),
        (b"BM\0\0\0\0", "a BMP file"),
        (b"II*\0\x08\0\0\0", "a TIFF file"),
        (b"%PDF-1.7", "a PDF file"),
        (b"hello", "no picture"),
        (b"", "no picture"),
    ],
)
def test_another_kind_of_file_is_named(head: bytes, kind: str) -> None:
    with pytest.raises(BadRequest, match=f"^the body is {kind}; expected a JPEG or PNG picture$"):
        decoded(head)


def test_pixels_beyond_the_bound_are_never_decoded() -> None:
    huge = png_of(60000, 60000, 8, 0, b"\0")
    with pytest.raises(TooLarge, match=r"60000 x 60000 pixels; expected at most 22\.4 million"):
        decoded(huge)
    wide = bytearray(jpeg(scene(48, 32)))
    at = wide.index(b"\xff\xc0") + 5
    wide[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(TooLarge, match="65535 x 65535"):
        decoded(bytes(wide))


def test_the_bound_is_three_bytes_for_each_pixel() -> None:
    data = png(scene(48, 32))
    assert decoded(data, largest=48 * 32 * 3).shape == (32, 48, 3)
    with pytest.raises(TooLarge):
        decoded(data, largest=48 * 32 * 3 - 1)


def test_a_jpeg_cannot_ask_for_a_thousand_passes() -> None:
    whole = saved(Image.fromarray(scene(48, 32)), "JPEG", progressive=True)
    start = whole.index(b"\xff\xda")
    scan = whole[start : whole.index(b"\xff\xc4", start)] if b"\xff\xc4" in whole[start:] else whole[start:-2]
    assert decoded(whole).shape == (32, 48, 3)
    with pytest.raises(BadRequest, match=f"scans; expected at most {MOST_SCANS}"):
        decoded(whole[:start] + scan * (MOST_SCANS + 1) + whole[start:])


def test_a_jpeg_cannot_hold_a_million_notes_or_megabytes_of_nothing() -> None:
    whole = jpeg(scene(48, 32))
    note = b"\xff\xfe\0\3x"
    assert decoded(whole[:2] + note * 900 + whole[2:]).shape == (32, 48, 3)
    with pytest.raises(BadRequest, match=f"over {MOST_SEGMENTS} parts"):
        decoded(whole[:2] + note * MOST_SEGMENTS + whole[2:])
    with pytest.raises(BadRequest, match="no pixels where they belong"):
        decoded(whole[:4] + b"\0\2" + bytes(2**20) + whole[2:])


def test_a_png_cannot_hold_a_million_notes_or_parts() -> None:
    rows = b"".join(b"\0" + bytes(3) for _ in range(1))
    notes = [(b"tEXt", b"a\0b")] * (MOST_SEGMENTS + 1)
    with pytest.raises(BadRequest, match="notes and 0 parts"):
        decoded(png_of(1, 1, 8, 2, rows, *notes))
    parts = [(b"IDAT", b"")] * 40_000
    with pytest.raises(BadRequest, match="parts of pixels so far"):
        decoded(png_of(1, 1, 8, 2, rows, *parts))


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that memory is bounded by one of them, however many threads there are."""
    from edgesmith_runtime.picture import decode as module  # noqa: PLC0415 - to look inside

    alone: list[bool] = []
    upright = module._upright

    def seen(*given: Any, **named: Any) -> Any:
        alone.append(module._large.locked())
        return upright(*given, **named)

    monkeypatch.setattr(module, "_upright", seen)
    for width, height in ((1000, 1000), (2000, 1500)):
        decoded(saved(Image.new("L", (width, height)), "PNG", compress_level=1))
    assert alone == [False, True]
    assert not module._large.locked()


def test_sizes_that_contradict_each_other_are_refused() -> None:
    whole = bytearray(jpeg(scene(48, 32)))
    at = whole.index(b"\xff\xc0")
    length = whole[at + 2] << 8 | whole[at + 3]
    frame = bytes(whole[at : at + 2 + length])
    other = frame[:5] + b"\0\x08\0\x08" + frame[9:]
    with pytest.raises(BadRequest, match=r"says two sizes|is broken"):
        decoded(bytes(whole[:at]) + frame + other + bytes(whole[at + len(frame) :]))


def test_a_picture_of_no_pixels_is_refused() -> None:
    with pytest.raises(BadRequest, match="0 x 1 pixels; expected at least one"):
        decoded(png_of(0, 1, 8, 0, b"\0"))
