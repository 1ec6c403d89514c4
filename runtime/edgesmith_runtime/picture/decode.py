"""From the bytes of a JPEG or PNG to upright pixels in one form. The one module that imports Pillow."""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin

from edgesmith_runtime.errors import BadRequest, TooLarge
from edgesmith_runtime.picture.containers import read_container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesmith_runtime.picture.containers import Container

__all__ = ["LARGEST", "Decoded", "decode"]

LARGEST: Final = 64 * 2**20
"""The most bytes that a picture's pixels may have where nobody says, three for each pixel: 22 million pixels."""

_PER_PIXEL: Final = 3
_ALONE: Final = 8 * 2**20
"""Pictures with more bytes of pixels than this are decoded one at a time, so that memory is bounded by one of them."""
_ORIENTATION: Final = 0x0112
"""The tag of EXIF that says which way up a camera was held (CIPA DC-008, 4.6.4)."""
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE: Final = (255, 255, 255, 255)
_GRAY_16: Final = ("I;16", "I;16B", "I;16L")
_LONG: Final = 16
"""The bits of a level that are more than are kept."""
_STRIP: Final = 128
"""Rows that are laid on white at a time."""

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # they are about what a client sent

_large: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture as a person sees it.

    Attributes:
        image: Its pixels, upright, in Pillow's mode ``RGB`` or ``L``.
        format: ``JPEG`` or ``PNG``.
    """

    image: Any
    format: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = self.image.size
        return width, height


@contextmanager
def decode(data: memoryview, *, gray: bool, largest: int = LARGEST) -> Iterator[Decoded]:
    """Decode a picture for as long as the context lasts; a large one keeps others waiting meanwhile.

    What the camera notes about how it was held is kept to, transparent pixels are laid on white, 16 bits become the
    upper 8 of them, and of an animation the first picture is taken.

    Args:
        data: The file's bytes.
        gray: Whether one channel is wanted, of ITU-R BT.601's luma, and not red, green and blue.
        largest: The most bytes that its pixels may have, three for each pixel.

    Yields:
        The picture.

    Raises:
        BadRequest: It is no JPEG or PNG, or a broken one.
        TooLarge: It has too many pixels.
    """
    container = read_container(data)
    size = container.width * container.height * _PER_PIXEL
    if size > largest:
        raise TooLarge(
            f"the picture has {container.width} x {container.height} pixels; expected at most "
            f"{largest // _PER_PIXEL / 1e6:.1f} million (--max-body-mib, --max-pending-mib)"
        )
    with _large if size > _ALONE else nullcontext():
        yield Decoded(_upright(data, container, gray=gray), container.format)


def _upright(data: memoryview, container: Container, *, gray: bool) -> Any:
    reader: Any = JpegImagePlugin.JpegImageFile if container.format == "JPEG" else PngImagePlugin.PngImageFile
    try:
        with io.BufferedReader(_Body(data)) as body, reader(body) as file:
            if file.size == (container.width, container.height):
                file.load()
                turn = _TURNS.get(_orientation(file))
                image = _plain(file, container.depth, gray=gray)
                return image if turn is None else image.transpose(turn)
    except MemoryError:
        raise
    except Exception as error:  # whatever bytes of others make a decoder raise; what it says may repeat them
        raise BadRequest(f"the {container.format} is broken, or ends too early; expected a whole file") from error
    raise BadRequest(f"the {container.format} says two sizes; expected one")


def _orientation(file: Any) -> int:
    """How the camera was held, from 1 (upright) to 8; 1 where it does not say."""
    try:
        return int(file.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - notes that cannot be read say nothing
        return 1


def _plain(file: Any, depth: int, *, gray: bool) -> Any:
    """The picture in the one mode that is wanted."""
    wanted = "L" if gray else "RGB"
    image = file
    clear = file.info.get("transparency")
    if file.mode in _GRAY_16:
        levels = np.asarray(file)
        upper = (levels >> 8).astype(np.uint8)
        if clear is not None:
            upper[levels == clear] = _WHITE[0]
        image = Image.fromarray(upper)
    elif file.has_transparency_data:
        if clear is not None and file.mode != "P":
            file.info["transparency"] = _in_8_bits(clear, depth)
        return _opaque(file, wanted)
    return image if image.mode == wanted else image.convert(wanted)


def _in_8_bits(clear: Any, depth: int) -> Any:
    """The level or the colour that is transparent, made 8 bits as Pillow makes its pixels; it leaves this one alone."""
    if isinstance(clear, tuple):
        return tuple(_in_8_bits(level, depth) for level in clear)
    if depth == _LONG:
        return clear >> 8
    most = 2**depth - 1
    return (clear & most) * 255 // most  # further bits have no meaning (PNG specification, 11.3.1.1)


def _opaque(file: Any, wanted: str) -> Any:
    """The picture on white, made strip by strip: four copies of a large one would be too many."""
    width, height = file.size
    target = Image.new(wanted, file.size)
    for top in range(0, height, _STRIP):
        strip = file.crop((0, top, width, min(top + _STRIP, height))).convert("RGBA")
        target.paste(Image.alpha_composite(Image.new("RGBA", strip.size, _WHITE), strip).convert(wanted), (0, top))
    return target


class _Body(io.RawIOBase):
    """A body as a file that is read without a copy of all of it.

    Args:
        data: The bytes.
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)
