"""Reads tables of a FlatBuffer that anybody may have written: every offset is held against the file's end.

Format: "FlatBuffer Internals" of the FlatBuffers documentation. All numbers are little-endian; a table begins with the
signed distance back to its vtable, which holds its own size, the table's size, and each field's place in the table, 0
where the field is absent.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

_VTABLE_HEAD = 4
_OFFSET = 4
_TEXT = 256
"""Bytes of a string that are read: many fields may lead to the same long one."""


class Malformed(Exception):  # noqa: N818 - turned into a sentence by whoever reads a format
    """The bytes are no such table; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table in a buffer."""

    data: memoryview
    place: int
    """Where it begins."""

    @classmethod
    def root(cls, data: memoryview) -> Table:
        """The table that a buffer is about."""
        return cls(data, _number(data, "<I", 0))

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """A field that is a number, by the letter that `struct` has for its type."""
        place = self.place_of(field)
        return default if place is None else _number(self.data, f"<{kind}", place)

    def table(self, field: int) -> Table | None:
        """A field that is a table."""
        place = self.place_of(field)
        return None if place is None else Table(self.data, self._behind(place))

    def tables(self, field: int, most: int) -> tuple[Table, ...]:
        """A field that is a vector of at most so many tables."""
        count, first = self._vector(field, _OFFSET, most)
        places = (first + _OFFSET * index for index in range(count))
        return tuple(Table(self.data, self._behind(place)) for place in places)

    def numbers(self, field: int, kind: str, most: int) -> tuple[Any, ...]:
        """A field that is a vector of at most so many numbers."""
        count, first = self._vector(field, struct.calcsize(f"<{kind}"), most)
        return struct.unpack_from(f"<{count}{kind}", self.data, first)

    def first(self, field: int, kind: str) -> Any:
        """The first of a field that is a vector of numbers; None where there is none."""
        count, first = self._vector(field, struct.calcsize(f"<{kind}"))
        return _number(self.data, f"<{kind}", first) if count else None

    def bytes(self, field: int) -> memoryview:
        """A field that is a vector of bytes."""
        count, first = self._vector(field, 1)
        return self.data[first : first + count]

    def strings(self, field: int, most: int) -> tuple[memoryview, ...]:
        """A field that is a vector of at most so many strings, as bytes."""
        count, first = self._vector(field, _OFFSET, most)
        starts = (self._behind(first + _OFFSET * index) for index in range(count))
        return tuple(self._content(start) for start in starts)

    def count(self, field: int, size: int) -> int:
        """How many elements of a size in bytes a field has that is a vector."""
        return self._vector(field, size)[0]

    def text(self, field: int) -> str:
        """The beginning of a field that is a string."""
        return str(self.bytes(field)[:_TEXT], "utf-8", "replace")

    def place_of(self, field: int) -> int | None:
        """Where a field is; None where it is absent."""
        vtable = self.place - _number(self.data, "<i", self.place)
        size = _number(self.data, "<H", vtable)
        entry = _VTABLE_HEAD + 2 * field
        if entry + 2 > size:
            return None
        offset = _number(self.data, "<H", vtable + entry)
        return self.place + offset if offset else None

    def _behind(self, place: int) -> int:
        return place + _number(self.data, "<I", place)

    def _content(self, start: int) -> memoryview:
        """The bytes of a string or vector of bytes that begins so."""
        count = _number(self.data, "<I", start)
        if count > len(self.data) - start - _OFFSET:
            raise Malformed(f"a list of {count} elements at byte {start} ends behind the file")
        return self.data[start + _OFFSET : start + _OFFSET + count]

    def _vector(self, field: int, size: int, most: int | None = None) -> tuple[int, int]:
        """How many elements a vector has, and where the first is."""
        place = self.place_of(field)
        if place is None:
            return 0, 0
        start = self._behind(place)
        count = _number(self.data, "<I", start)
        if count * size > len(self.data) - start - _OFFSET:
            raise Malformed(f"a list of {count} elements at byte {start} ends behind the file")
        if most is not None and count > most:
            raise Malformed(f"a list has {count} elements where at most {most} have a use")
        return count, start + _OFFSET


def _number(data: memoryview, kind: str, place: int) -> int:
    if place < 0 or place + struct.calcsize(kind) > len(data):
        raise Malformed(f"an offset leads to byte {place} of {len(data)}")
    found: int = struct.unpack_from(kind, data, place)[0]
    return found
