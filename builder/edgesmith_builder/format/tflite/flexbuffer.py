"""Reads the strings of a FlexBuffer's map, which anybody may have written: every offset is held against its end.

Format: "FlexBuffers" of the FlatBuffers documentation. It is read from its end, where the width of the root and its
type are; offsets lead backwards. A map is a vector whose keys are another vector, three numbers before its own
elements.
"""

from __future__ import annotations

from edgesmith_builder.format.tflite.flatbuffer import Malformed

_MAP, _STRING, _BLOB = 9, 5, 25
_WIDTHS = (1, 2, 4, 8)
_KEYS, _KEY = 64, 64
"""Keys of a map, and bytes of one, at most."""


def strings_of(data: memoryview) -> dict[str, memoryview]:
    """The entries of a map that are strings, by their keys.

    Raises:
        Malformed: where the bytes are no map, or lead out of themselves.
    """
    width = _number(data, len(data) - 1, 1)
    packed = _number(data, len(data) - 2, 1)
    if width not in _WIDTHS or packed >> 2 != _MAP:
        raise Malformed("the options of a custom operator are no FlexBuffer with a map")
    start = _behind(data, len(data) - 2 - width, width)
    wide = 1 << (packed & 3)
    count = _number(data, start - wide, wide)
    if count > _KEYS:
        raise Malformed(f"a map has {count} keys where at most {_KEYS} have a use")
    keys, narrow = _behind(data, start - 3 * wide, wide), _number(data, start - 2 * wide, wide)
    found = {}
    for index in range(count):
        kind = _number(data, start + count * wide + index, 1)
        if kind >> 2 in (_STRING, _BLOB):
            key = _behind(data, keys + index * narrow, narrow)
            found[_text(data, key)] = _string(data, _behind(data, start + index * wide, wide), 1 << (kind & 3))
    return found


def _string(data: memoryview, start: int, width: int) -> memoryview:
    size = _number(data, start - width, width)
    if size > len(data) - start:
        raise Malformed(f"a string of {size} bytes at byte {start} ends behind its buffer")
    return data[start : start + size]


def _text(data: memoryview, place: int) -> str:
    if not 0 <= place < len(data):
        raise Malformed(f"an offset leads to byte {place} of {len(data)}")
    return bytes(data[place : place + _KEY]).partition(b"\0")[0].decode("utf-8", "replace")


def _behind(data: memoryview, place: int, width: int) -> int:
    return place - _number(data, place, width)


def _number(data: memoryview, place: int, width: int) -> int:
    if width not in _WIDTHS or not 0 <= place <= len(data) - width:
        raise Malformed(f"an offset leads to byte {place} of {len(data)}")
    return int.from_bytes(data[place : place + width], "little")
