"""Protobuf's wire format, where messages are too large to be copied as often as a library copies them.

https://protobuf.dev/programming-guides/encoding/ describes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WireError", "fields", "prefix"]

_VARINT: Final = 0
_LENGTH: Final = 2
_FIXED: Final = {1: 8, 5: 4}
"""Wire types of a fixed length, with it in bytes."""
_SEVEN_BITS: Final = 0x7F
_LONGEST_VARINT: Final = 10
_MOST_FIELDS: Final = 10_000
"""Far more than the inputs and outputs of a model; each costs time in Python."""


class WireError(ValueError):
    """The bytes are no message; the text says why, to be read behind "the message"."""


def fields(data: memoryview) -> Iterator[tuple[int, memoryview, memoryview | None]]:
    """Walk over a message's own fields, not into them, without copying.

    Args:
        data: The message.

    Yields:
        A field's number, all its bytes, and its content where it is length-delimited.

    Raises:
        WireError: The bytes end within a field, or a field has no known form.
    """
    at = count = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        content: memoryview | None = None
        kind = tag & 7
        if kind == _LENGTH:
            size, at = _varint(data, at)
            content = data[at : at + size]
            at += size
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise WireError(f"has a field of wire type {kind}; expected 0, 1, 2 or 5")
        count += 1
        if at > len(data):
            raise WireError("ends within a field")
        if count > _MOST_FIELDS:
            raise WireError(f"has more than {_MOST_FIELDS} fields; expected one for each tensor and some beside")
        yield tag >> 3, data[start:at], content


def prefix(number: int, size: int) -> bytes:
    """Write what stands before the content of a length-delimited field.

    Args:
        number: The field's number.
        size: The content's length in bytes.
    """
    written = bytearray()
    for value in (number << 3 | _LENGTH, size):
        rest = value
        while rest > _SEVEN_BITS:
            written.append(rest & _SEVEN_BITS | 0x80)
            rest >>= 7
        written.append(rest)
    return bytes(written)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & _SEVEN_BITS) << (7 * index)
        if byte <= _SEVEN_BITS:
            return value, at + index + 1
    raise WireError("ends within a number" if at + _LONGEST_VARINT > len(data) else "has a number of over 64 bits")
