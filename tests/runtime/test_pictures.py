"""Pictures to inputs: whatever a JPEG or PNG may be, resizing, levels; held against other ways of computing."""

from __future__ import annotations

import io
import math
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import CLASSIFIED, painted, png, saved, scene
from PIL import Image

from edgesmith_runtime.picture import Picture, Pipeline
from edgesmith_runtime.picture.decode import decode
from edgesmith_runtime.picture.golden import png_bytes
from edgesmith_runtime.picture.placing import place, resized
from edgesmith_runtime.picture.preparing import levels, pixels_of, tensor

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # a server writes none of them either

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def decoded(data: bytes, *, gray: bool = False, largest: int = 2**26) -> NDArray[np.uint8]:
    with decode(memoryview(data), gray=gray, largest=largest) as found:
        return np.array(found.image)


# Resizing, against sums written out -----------------------------------------------------------------------------------


def weights(size: int, out: int, start: float, scale: float) -> NDArray[np.float64]:
    """``[out, size]``: what each pixel of a row adds to each one of a smaller or larger row, by a triangle as wide as
    the step from one to the next."""
    centres = start + (np.arange(out) + 0.5) / scale
    reach = max(1.0, 1 / scale)
    found = np.maximum(0.0, 1 - np.abs(np.arange(size)[None] + 0.5 - centres[:, None]) / reach)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def summed(
    pixels: NDArray[Any], width: int, height: int, start: Any = (0, 0), scale: Any = None
) -> NDArray[np.float64]:
    scale = scale or (width / pixels.shape[1], height / pixels.shape[0])
    across = weights(pixels.shape[1], width, start[0], scale[0])
    down = weights(pixels.shape[0], height, start[1], scale[1])
    return np.asarray(np.einsum("yr,xc,rcd->yxd", down, across, pixels.astype(np.float64)))


def prepared(picture: Picture, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    return resized(picture, place(picture, width, height), Image.fromarray(pixels))


@pytest.mark.parametrize(("width", "height"), [(97, 61), (40, 200), (16, 16), (7, 5), (320, 240)])
def test_stretching_is_a_triangle_s_sums(width: int, height: int) -> None:
    pixels = scene(width, height)
    picture = replace(CLASSIFIED, width=31, height=24)
    assert np.abs(prepared(picture, pixels) - summed(pixels, 31, 24)).max() <= 1.01


@pytest.mark.parametrize(("width", "height"), [(97, 61), (61, 97), (333, 256), (64, 64), (40, 50), (1000, 40)])
@pytest.mark.parametrize("shorter", [None, 40])
def test_cropping_is_resizing_all_of_it_and_cutting_the_middle_out(
    width: int, height: int, shorter: int | None
) -> None:
    pixels = scene(width, height)
    picture = replace(CLASSIFIED, resize="Crop", width=32, height=24, shorter_side=shorter)
    if shorter is None:
        share = max(32 / width, 24 / height)
        size = max(32, round(width * share)), max(24, round(height * share))
    else:  # torchvision's Resize(40): the longer side is rounded down
        size = (shorter, int(shorter * height / width)) if width <= height else (int(shorter * width / height), shorter)
    whole = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), np.int64)
    left, top = round((size[0] - 32) / 2), round((size[1] - 24) / 2)
    cut = whole[top : top + 24, left : left + 32]
    assert np.abs(prepared(picture, pixels) - cut).max() <= 1


@pytest.mark.parametrize(("width", "height"), [(97, 61), (61, 97), (64, 64), (20, 10), (2000, 3)])
def test_a_letterbox_holds_all_of_it_between_grey_bars(width: int, height: int) -> None:
    pixels = scene(width, height)
    picture = replace(CLASSIFIED, resize="Letterbox", width=64, height=48, fill=114)
    share = min(64 / width, 48 / height)
    size = max(1, round(width * share)), max(1, round(height * share))
    left, top = (64 - size[0]) // 2, (48 - size[1]) // 2
    found = prepared(picture, pixels)
    inside = found[top : top + size[1], left : left + size[0]]
    assert np.abs(inside - summed(pixels, *size)).max() <= 1.01
    outside = np.ones((48, 64), bool)
    outside[top : top + size[1], left : left + size[0]] = False
    assert (found[outside] == 114).all()
    assert outside.sum() == 64 * 48 - size[0] * size[1]


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.sampled_from(["Stretch", "Crop", "Letterbox"]),
    st.sampled_from([None, 200]),
)
@settings(max_examples=200)
def test_a_point_of_the_input_is_found_again_in_the_picture(
    width: int, height: int, how: Any, shorter: int | None
) -> None:
    picture = replace(CLASSIFIED, resize=how, width=160, height=120, shorter_side=shorter if how == "Crop" else None)
    placed = place(picture, width, height)
    # What is taken of the picture lies where it is drawn, and nothing outside of the picture is taken.
    box = np.array([placed.box], np.float64)
    drawn = box * np.array([*placed.scale, *placed.scale]) + np.array([*placed.offset, *placed.offset])
    corner = np.array([*placed.corner, placed.corner[0] + placed.size[0], placed.corner[1] + placed.size[1]])
    assert np.abs(drawn - corner).max() <= 1e-6 * max(width, height)
    assert np.allclose(placed.back(drawn), box, atol=1e-6 * max(width, height))
    assert 0 <= placed.box[0] < placed.box[2] <= width
    assert 0 <= placed.box[1] < placed.box[3] <= height
    if how == "Letterbox":
        assert (box == [0, 0, width, height]).all()
    if how != "Stretch" and min(width, height) > 40:  # the same scale both ways, but for whole pixels
        assert placed.scale[0] == pytest.approx(placed.scale[1], rel=0.25 if how == "Letterbox" else 0.05)


# Levels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "CHW", "HWC"])
@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("datatype", ["FP32", "FP16", "FP64"])
def test_levels_are_scaled_centred_and_divided_by_channel(layout: Any, channels: Any, datatype: str) -> None:
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    picture = replace(
        CLASSIFIED, layout=layout, channels=channels, scale=1 / 255, mean=mean, deviation=deviation, width=9, height=5
    )
    pixels = scene(9, 5)
    ordered = pixels if channels == "RGB" else pixels[..., ::-1]
    wanted = (ordered / 255 - np.array(mean)) / np.array(deviation)
    wanted = np.moveaxis(wanted, -1, 0) if "CHW" in layout else wanted
    wanted = wanted[None] if "N" in layout else wanted
    found = tensor(picture, levels(picture, datatype), pixels)
    assert found.shape == wanted.shape
    assert found.dtype == {"FP32": np.float32, "FP16": np.float16, "FP64": np.float64}[datatype]
    assert np.allclose(found, wanted, rtol=2e-3 if datatype == "FP16" else 1e-6, atol=1e-3)
    assert np.allclose(pixels_of(picture, found)[0], pixels, atol=0.3)


@pytest.mark.parametrize(
    ("datatype", "scale", "mean", "wanted"),
    [
        ("UINT8", 1.0, 0.0, [0, 1, 127, 128, 255]),
        ("INT8", 1.0, 128.0, [-128, -127, -1, 0, 127]),
        ("INT8", 1.0, 0.0, [0, 1, 127, 127, 127]),
        ("UINT8", 2.0, 10.0, [0, 0, 244, 246, 255]),
        ("INT32", 0.5, 0.0, [0, 0, 64, 64, 128]),
    ],
)
def test_whole_numbers_are_rounded_and_bounded(datatype: str, scale: float, mean: float, wanted: list[int]) -> None:
    picture = replace(CLASSIFIED, scale=scale, mean=(mean,), channels="Gray", layout="HW")
    assert levels(picture, datatype)[0][[0, 1, 127, 128, 255]].tolist() == wanted


@pytest.mark.parametrize("layout", ["NHW", "HW", "NCHW", "NHWC"])
def test_one_channel_has_an_axis_where_the_layout_says_so(layout: Any) -> None:
    picture = replace(CLASSIFIED, layout=layout, channels="Gray", scale=1.0, width=9, height=5)
    pixels = scene(9, 5)[..., :1]
    found = tensor(picture, levels(picture, "FP32"), pixels)
    shapes = {"NHW": (1, 5, 9), "HW": (5, 9), "NCHW": (1, 1, 5, 9), "NHWC": (1, 5, 9, 1)}
    assert found.shape == shapes[layout]
    assert (found.reshape(5, 9) == pixels[..., 0]).all()
    assert (pixels_of(picture, found)[0] == pixels).all()


# What a file may be ---------------------------------------------------------------------------------------------------

QUARTERS = painted(40, 24, ((0, 0, 20, 12), RED), ((20, 0, 40, 12), GREEN), ((0, 12, 20, 24), BLUE))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_that_was_turned_says_so(kind: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.fromarray(QUARTERS)
    held = upright if orientation == 1 else upright.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    found = decoded(saved(held, kind, exif=exif, **options))
    assert found.shape == QUARTERS.shape
    assert np.abs(found.astype(int) - QUARTERS).mean() < 4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_there_is_not_is_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decoded(saved(Image.fromarray(QUARTERS), "PNG", exif=exif)).shape == QUARTERS.shape


def test_notes_that_cannot_be_read_say_nothing() -> None:
    data = saved(Image.fromarray(QUARTERS), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decoded(data).shape == QUARTERS.shape


def png_of(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand, for forms that Pillow does not write."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


FORMS: dict[str, tuple[bytes, tuple[int, int, int]]] = {
    "16 bits of grey": (png_of(1, 1, 16, 0, b"\0\x80\xff"), (128, 128, 128)),
    "16 bits of grey, bright": (png_of(1, 1, 16, 0, b"\0\xff\x00"), (255, 255, 255)),
    "16 bits of grey, another clear": (png_of(1, 1, 16, 0, b"\0\x80\xff", (b"tRNS", b"\x80\xfe")), (128, 128, 128)),
    "16 bits of grey, clear": (png_of(1, 1, 16, 0, b"\0\x80\xff", (b"tRNS", b"\x80\xff")), WHITE),
    "16 bits of colour": (png_of(1, 1, 16, 2, b"\0" + bytes.fromhex("ff00 8000 0100")), (255, 128, 1)),
    "16 bits of colour, another clear": (
        png_of(1, 1, 16, 2, b"\0" + bytes.fromhex("ff0080000100"), (b"tRNS", bytes.fromhex("00ff00800001"))),
        (255, 128, 1),
    ),
    "16 bits of colour, clear": (
        png_of(1, 1, 16, 2, b"\0" + bytes.fromhex("ff0080000100"), (b"tRNS", bytes.fromhex("ff0080000100"))),
        WHITE,
    ),
    "16 bits and alpha": (png_of(1, 1, 16, 6, b"\0" + bytes.fromhex("ff00 8000 0100 ffff")), (255, 128, 1)),
    "a palette": (png_of(1, 1, 8, 3, b"\0\1", (b"PLTE", bytes([0, 0, 0, 10, 20, 30]))), (10, 20, 30)),
    "a palette of 4 bits": (png_of(1, 1, 4, 3, b"\0\x10", (b"PLTE", bytes([0, 0, 0, 10, 20, 30]))), (10, 20, 30)),
    "a palette, clear": (
        png_of(1, 1, 8, 3, b"\0\1", (b"PLTE", bytes([0, 0, 0, 10, 20, 30])), (b"tRNS", b"\xff\0")),
        WHITE,
    ),
    "a palette of 4 bits, clear": (
        png_of(1, 1, 4, 3, b"\0\x10", (b"PLTE", bytes([0, 0, 0, 10, 20, 30])), (b"tRNS", b"\xff\0")),
        WHITE,
    ),
    "alpha, clear": (png_of(1, 1, 8, 6, b"\0\1\2\3\0"), WHITE),
    "alpha, half": (png_of(1, 1, 8, 6, b"\0\0\0\0\x80"), (127, 127, 127)),
    "alpha, whole": (png_of(1, 1, 8, 6, b"\0\1\2\3\xff"), (1, 2, 3)),
    "grey and alpha": (png_of(1, 1, 8, 4, b"\0\7\xff"), (7, 7, 7)),
    "grey and alpha, clear": (png_of(1, 1, 8, 4, b"\0\7\0"), WHITE),
    "one clear colour": (png_of(1, 1, 8, 2, b"\0\1\2\3", (b"tRNS", bytes([0, 1, 0, 2, 0, 3]))), WHITE),
    "one bit": (png_of(1, 1, 1, 0, b"\0\x80"), WHITE),
    "one bit, clear": (png_of(1, 1, 1, 0, b"\0\0", (b"tRNS", b"\0\0")), WHITE),
    "one bit, the other clear": (png_of(1, 1, 1, 0, b"\0\0", (b"tRNS", b"\0\1")), (0, 0, 0)),
    "two bits": (png_of(1, 1, 2, 0, b"\0\x40"), (85, 85, 85)),
    "two bits, clear": (png_of(1, 1, 2, 0, b"\0\x40", (b"tRNS", b"\0\1")), WHITE),
    "two bits, another clear": (png_of(1, 1, 2, 0, b"\0\x40", (b"tRNS", b"\0\2")), (85, 85, 85)),
    "four bits, clear, said with more": (png_of(1, 1, 4, 0, b"\0\x40", (b"tRNS", b"\0\x14")), WHITE),
    "8 bits of grey, clear": (png_of(1, 1, 8, 0, b"\0\x40", (b"tRNS", b"\0\x40")), WHITE),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_png_of_any_form_is_colours_of_8_bits(form: str) -> None:
    data, wanted = FORMS[form]
    found = decoded(data)
    assert found.shape == (1, 1, 3)
    assert np.abs(found[0, 0].astype(int) - wanted).max() <= 1, found[0, 0]


@pytest.mark.parametrize("gray", [False, True])
def test_a_tall_picture_is_laid_on_white_without_seams(gray: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    pixels = np.random.default_rng(5).integers(0, 256, (300, 7, 4)).astype(np.uint8)
    share = pixels[..., 3:].astype(np.float64) / 255
    wanted = pixels[..., :3] * share + 255 * (1 - share)
    wanted = wanted @ [0.299, 0.587, 0.114] if gray else wanted
    assert np.abs(decoded(png(pixels), gray=gray) - wanted).max() <= 1.5


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_of_any_form_is_colours(mode: str, progressive: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    image = Image.fromarray(scene(64, 48)).convert(mode)
    found = decoded(saved(image, "JPEG", quality=95, progressive=progressive))
    assert found.shape == (48, 64, 3)
    assert np.abs(found.astype(int) - np.asarray(image.convert("RGB")).astype(int)).mean() < 6


def test_grey_is_the_luma_of_colours() -> None:
    found = decoded(png(QUARTERS), gray=True)
    assert [found[0, 0], found[0, 39], found[23, 0], found[23, 39]] == [76, 150, 29, 0]


def test_the_golden_picture_s_own_png_is_read_by_others() -> None:
    for pixels in (scene(300, 200), scene(5, 3)[..., :1]):
        data = png_bytes(pixels)
        with Image.open(io.BytesIO(data)) as image:
            assert (np.asarray(image).reshape(pixels.shape) == pixels).all()


def test_the_whole_way_is_these_steps_in_order() -> None:
    picture = replace(CLASSIFIED, scale=1.0, width=10, height=8, channels="BGR")
    found = Pipeline(picture, "FP32", ()).prepare(memoryview(png(scene(40, 32))))
    wanted = prepared(picture, scene(40, 32))[..., ::-1].transpose(2, 0, 1)[None]
    assert (found.feed["image"] == wanted).all()
    assert (found.format, found.placed.picture) == ("PNG", (40, 32))
    assert math.prod(found.feed["image"].shape) == 240
