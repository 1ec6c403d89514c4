"""What is in a spool, in memory: some bytes an object, since tens of thousands may wait."""

from __future__ import annotations

import heapq
import struct
from bisect import bisect_left, insort
from itertools import islice
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.spool.kept import Kept, named, parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Index"]

_ENTRY: Final = struct.Struct(">BHQ32sQ")
"""Group, value, order, digest and size: bytes that sort as names do, and that the garbage collector does not visit."""
_DIGEST: Final = slice(11, 43)
_SORTED: Final = 1024
"""Entries that are sorted at one go: to sort all would keep the interpreter from those who answer."""


class Index:
    """Objects of a spool, in the order in which they go.

    Args:
        kept: What is there, in any order.
        most: How many of them at most: those that go last; None: all.
    """

    def __init__(self, kept: Iterable[Kept] = (), most: int | None = None) -> None:
        entries: Iterator[bytes] = map(_entry, kept)
        if most is not None:
            entries = iter(heapq.nlargest(most, entries))
        pieces = iter(lambda: sorted(islice(entries, _SORTED)), [])
        self._entries = list(heapq.merge(*pieces))
        self._digests = {entry[_DIGEST] for entry in self._entries}
        self.room = sum(_kept(entry).room for entry in self._entries)
        """What all of them take of the disk, in bytes."""
        self.newest = max((_ENTRY.unpack(entry)[2] for entry in self._entries), default=0)
        """The highest order of those that are or were there."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Kept]:
        """The one to drop first in front."""
        return map(_kept, self._entries)

    def __reversed__(self) -> Iterator[Kept]:
        return map(_kept, reversed(self._entries))

    def holds(self, digest: str) -> bool:
        """Whether an object with these bytes is there.

        Args:
            digest: The SHA-256 of its bytes, in hex.
        """
        return bytes.fromhex(digest) in self._digests

    def add(self, one: Kept) -> None:
        """Take up an object."""
        entry = _entry(one)
        insort(self._entries, entry)
        self._digests.add(entry[_DIGEST])
        self.room += one.room
        self.newest = max(self.newest, _ENTRY.unpack(entry)[2])

    def discard(self, one: Kept) -> None:
        """Leave one out, where it is there."""
        entry = _entry(one)
        place = bisect_left(self._entries, entry)
        if self._entries[place : place + 1] != [entry]:
            return
        del self._entries[place]
        self._digests.discard(entry[_DIGEST])
        self.room -= one.room

    def lesser(self, size: int, name: str) -> tuple[Kept, ...]:
        """Those in front that take so many bytes together, as far as there are any that go before another one.

        Args:
            size: Bytes.
            name: The other one's name, or what that begins with.
        """
        going: list[Kept] = []
        for one in self:
            if size <= 0 or one.name >= name:
                break
            going.append(one)
            size -= one.room
        return tuple(going)


def _entry(one: Kept) -> bytes:
    group, value, order, digest = parts(one.name)
    return _ENTRY.pack(group, value, order, digest, one.size)


def _kept(entry: bytes) -> Kept:
    group, value, order, digest, size = _ENTRY.unpack(entry)
    return Kept(named(group, value, order, digest), size)
