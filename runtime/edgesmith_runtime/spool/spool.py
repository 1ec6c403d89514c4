"""Objects that wait for the link, a file each.

The server alone adds to them, and the uplink, another process, removes what was sent. So the server knows what is there
without looking (`Index`): it lists the folder at the start and after an error, and where something has to go for want
of room though others removed some since: each removal makes a file beside the objects longer by one byte.
"""

from __future__ import annotations

import errno
import hashlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.spool.disk import write_whole
from edgesmith_runtime.spool.index import Index
from edgesmith_runtime.spool.kept import Kept, is_name, worth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgesmith_runtime.spool.disk import Disk

__all__ = ["FULL", "LARGEST", "Put", "Spool", "Waiting"]

LARGEST: Final = 4 << 20
"""Bytes of one object. Parts of an S3 upload have 5 MiB at least, so that no object has parts: one is sent or not."""
_PART: Final = "part"
_REMOVED: Final = "removed"
"""The file that has a byte for each object that was sent and removed."""
_ALL: Final = "2"
"""Behind every name."""
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Put:
    """What became of an object.

    Attributes:
        kept: Whether it is in the spool, and outlasts a power cut.
        dropped: What went for it, or where it is not kept, that which did although the disk is full.
        full: Whether the disk itself was full.
    """

    kept: bool
    dropped: tuple[Kept, ...] = ()
    full: bool = False


class Waiting:
    """What the uplink sees of a spool: it reads and removes.

    Args:
        disk: Where it lies.
        folder: Its folder, which exists.
    """

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder

    def kept(self) -> list[Kept]:
        """All objects, the one to drop first in front; this lists the folder."""
        return list(self.listed())

    def listed(self) -> Index:
        """The same as an index."""
        return Index(self.each())

    def each(self) -> Iterator[Kept]:
        """All objects in any order, as they are listed."""
        return (Kept(name, size) for name, size in self._disk.files(self._folder) if is_name(name))

    def state(self) -> tuple[int, ...]:
        """What changes when an object comes or goes."""
        return self._disk.state(self._folder)

    def read(self, kept: Kept) -> bytes | None:
        """An object's bytes; None where it has gone, or is not what was put there, in which case it goes."""
        if kept.size > LARGEST:
            self.remove(kept)
            return None
        try:
            data = self._disk.read(self._folder / kept.name)
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).hexdigest() != kept.digest:
            self.remove(kept)
            return None
        return data

    def remove(self, kept: Kept) -> None:
        """Remove an object, and let the server know that one went."""
        self._disk.remove(self._folder / kept.name)
        with suppress(OSError):  # it has gone: that this cannot be noted is no error
            self._disk.lengthen(self._folder / _REMOVED)


class Spool(Waiting):
    """What the server sees of it: the only one that writes.

    Args:
        disk: Where it lies.
        folder: Its folder, which exists.
        limit: Bytes that objects may take of the disk; one more while it is written.
    """

    def __init__(self, disk: Disk, folder: Path, limit: int) -> None:
        super().__init__(disk, folder)
        self._limit = limit
        self._index: Index | None = None
        """What is there, and maybe what was there and was removed since by others; None where it has to be listed."""
        self._removed = -1
        """How many others had removed when it was listed."""
        self._left: tuple[int, ...] | None = None
        """The state that the folder was left in by what was last done here."""

    def recover(self) -> tuple[Kept, ...]:
        """After a start: remove what was being written, and what is above the limit; returns the latter.

        Raises:
            OSError: The folder cannot be read.
        """
        for name, _ in list(self._disk.files(self._folder)):
            if name.startswith(_PART):
                self._disk.remove(self._folder / name)
        self._index = None
        index = self.waiting()
        going = index.lesser(index.room - self._limit, _ALL)
        with self._doing():
            for one in going:
                self._drop(index, one)
        return going

    def waiting(self) -> Index:
        """What is there now; it is listed only where others removed something, or nothing is known.

        Raises:
            OSError: The folder cannot be read.
        """
        removed, state = self._disk.length(self._folder / _REMOVED), self.state()
        if self._index is None or (removed, state) != (self._removed, self._left):
            newest = self._index.newest if self._index is not None else 0
            self._index = None
            index = self.listed()
            index.newest = max(index.newest, newest)
            self._index, self._removed, self._left = index, removed, state
        return self._index

    def put(self, data: bytes, *, value: int, random: bool = False) -> Put:
        """Keep an object where there is room for it, or what is worth less goes for it.

        Args:
            data: Its bytes, `LARGEST` at most.
            value: What it is worth, from 0 to `MOST_VALUE`; of a random sample any number that has nothing to do with
                what it shows.
            random: Whether it is a random sample.
        """
        digest, index = hashlib.sha256(data).hexdigest(), self._index if self._index is not None else self.waiting()
        size = Kept("", len(data)).room
        if index.holds(digest) or index.room + size > self._limit:
            index = self.waiting()
        if index.holds(digest):
            return Put(kept=True)
        name = f"{worth(value, random=random)}-{index.newest + 1:012d}-{digest}.npz"
        over = index.room + size - self._limit
        going = index.lesser(over, name)
        if len(data) > LARGEST or over > _room(going):
            return Put(kept=False)
        with self._doing():
            return self._write(index, Kept(name, len(data)), data, over)

    def give_room(self, size: int, *, value: int, random: bool = False) -> tuple[Kept, ...]:
        """Drop what is worth less than another object, so that a disk that is full has room for so many bytes.

        Args:
            size: Bytes.
            value: What the other one is worth, as `put` has it.
            random: Whether that is a random sample.

        Returns:
            What went; nothing where all of it would not be enough.
        """
        index = self.waiting()
        with self._doing():
            return self._make_room(index, size, worth(value, random=random))

    def _make_room(self, index: Index, size: int, name: str) -> tuple[Kept, ...]:
        going = index.lesser(size, name)
        if _room(going) < size:
            return ()
        for one in going:
            self._drop(index, one)
        return going

    def _write(self, index: Index, new: Kept, data: bytes, over: int) -> Put:
        """What goes for it goes afterwards: a kill between the two loses nothing. A full disk leaves no such choice."""
        gone: tuple[Kept, ...] = ()
        while True:
            try:
                write_whole(self._disk, self._folder / new.name, data, self._folder / f"{_PART}.npz")
            except OSError as error:
                self._take_back(new)
                if error.errno not in FULL:
                    raise
                room = self._make_room(index, new.room, new.name)
                if not room:
                    return Put(kept=False, dropped=gone, full=True)
                gone += room
                continue
            going = index.lesser(over - _room(gone), new.name)
            index.add(new)
            self._drop_for(index, going, new)
            return Put(kept=True, dropped=gone + going)

    def _take_back(self, new: Kept) -> None:
        """Remove what may be there, and would be sent, though it counts as not kept; where it may stay, list again."""
        path = self._folder / new.name
        try:
            self._disk.remove(path)
        except OSError:
            with suppress(OSError):
                if not self._disk.length(path):  # it never was there: a disk that refuses all is not listed each time
                    return
            self._index = None

    def _drop_for(self, index: Index, going: tuple[Kept, ...], new: Kept) -> None:
        """Remove what goes for another object; where it cannot go, that one does: or each would add to the limit."""
        try:
            for one in going:
                self._drop(index, one)
        except OSError:
            self._drop(index, new)
            raise

    def _drop(self, index: Index, one: Kept) -> None:
        try:
            self._disk.remove(self._folder / one.name)
        except OSError:
            self._index = None  # it may have gone all the same
            raise
        index.discard(one)

    @contextmanager
    def _doing(self) -> Iterator[None]:
        """Change the folder: the state that it is left in is known then."""
        before = self.state()
        try:
            yield
        finally:
            if before == self._left:  # or others changed something, and it is listed when that matters
                self._left = self._state_or_none()

    def _state_or_none(self) -> tuple[int, ...] | None:
        try:
            return self.state()
        except OSError:
            return None


def _room(going: tuple[Kept, ...]) -> int:
    return sum(one.room for one in going)
