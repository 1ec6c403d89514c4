"""Objects that wait for the link, a file each: its name says what it is worth, so that a listing is all there is.

A name sorts as objects are dropped when room is wanted: `GROUP VALUE-ORDER-SHA256.npz`. Random samples (group 1) go
last, and which of them go does not depend on what they show: what is left of them is still a fair share. Within a group
the less valuable go first, and of equals the older.
"""

from __future__ import annotations

import errno
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.spool.disk import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.spool.disk import Disk

__all__ = ["FULL", "LARGEST", "MOST_VALUE", "Kept", "Put", "Spool", "Waiting"]

LARGEST: Final = 4 << 20
"""Bytes of one object. Parts of an S3 upload have 5 MiB at least, so that no object has parts: one is sent or not."""
MOST_VALUE: Final = 9999
_BLOCK: Final = 4096
"""What a file takes of a disk is a multiple of it."""
_NAME: Final = re.compile(r"([01])([0-9]{4})-([0-9]{12})-([0-9a-f]{64})\.npz")
_PART: Final = "part"
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True, order=True)
class Kept:
    """An object in the spool; the lesser of two is dropped first.

    Attributes:
        name: Its file's name.
        size: Its bytes.
    """

    name: str
    size: int

    @property
    def digest(self) -> str:
        """The SHA-256 of its bytes, in hex."""
        found = _NAME.fullmatch(self.name)
        return found[4] if found else ""

    @property
    def room(self) -> int:
        """What it takes of the disk, in bytes."""
        return -(-self.size // _BLOCK) * _BLOCK


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
        """All objects, the one to drop first in front."""
        return sorted(Kept(name, size) for name, size in self._disk.files(self._folder) if _NAME.fullmatch(name))

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
        """Remove an object."""
        self._disk.remove(self._folder / kept.name)


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

    def recover(self) -> tuple[Kept, ...]:
        """After a start: remove what was being written, and what is above the limit; returns the latter.

        Raises:
            OSError: The folder cannot be read.
        """
        for name, _ in list(self._disk.files(self._folder)):
            if name.startswith(_PART):
                self._disk.remove(self._folder / name)
        kept = self.kept()
        going = _going(kept, sum(one.room for one in kept) - self._limit)
        for one in going:
            self.remove(one)
        return going

    def put(self, data: bytes, *, value: int, random: bool = False) -> Put:
        """Keep an object where there is room for it, or what is worth less goes for it.

        Args:
            data: Its bytes, `LARGEST` at most.
            value: What it is worth, from 0 to `MOST_VALUE`; of a random sample any number that has nothing to do with
                what it shows.
            random: Whether it is a random sample.
        """
        digest, kept = hashlib.sha256(data).hexdigest(), self.kept()
        if any(one.digest == digest for one in kept):
            return Put(kept=True)
        order = 1 + max((int(one.name[6:18]) for one in kept), default=0)
        new = Kept(f"{int(random)}{min(MOST_VALUE, max(0, value)):04d}-{order:012d}-{digest}.npz", len(data))
        over = sum(one.room for one in kept) + new.room - self._limit
        going = _going([one for one in kept if one < new], over)
        if len(data) > LARGEST or over > sum(one.room for one in going):
            return Put(kept=False)
        return self._write(new, data, kept, going)

    def give_room(self, size: int, *, value: int, random: bool = False) -> tuple[Kept, ...]:
        """Drop what is worth less than another object, so that a disk that is full has room for so many bytes.

        Args:
            size: Bytes.
            value: What the other one is worth, as `put` has it.
            random: Whether that is a random sample.

        Returns:
            What went; nothing where all of it would not be enough.
        """
        limit = f"{int(random)}{min(MOST_VALUE, max(0, value)):04d}"
        lesser = [one for one in self.kept() if one.name < limit]
        going = _going(lesser, size)
        if sum(one.room for one in going) < size:
            return ()
        for one in going:
            self.remove(one)
        return going

    def _write(self, new: Kept, data: bytes, kept: list[Kept], going: tuple[Kept, ...]) -> Put:
        """What goes for it goes afterwards: a kill between the two loses nothing. A full disk leaves no such choice."""
        gone: list[Kept] = []
        lesser = [one for one in kept if one < new]
        while True:
            try:
                write_whole(self._disk, self._folder / new.name, data, self._folder / f"{_PART}.npz")
            except OSError as error:
                # It may be there, and would be sent, though it counts as not kept.
                with suppress(OSError):
                    self._disk.remove(self._folder / new.name)
                if error.errno not in FULL:
                    raise
                room = _going([one for one in lesser if one not in gone], new.room)
                if sum(one.room for one in room) < new.room:
                    return Put(kept=False, dropped=tuple(gone), full=True)
                for one in room:
                    self.remove(one)
                gone += room
                continue
            self._drop([one for one in going if one not in gone], new)
            return Put(kept=True, dropped=tuple(gone) + tuple(one for one in going if one not in gone))

    def _drop(self, going: list[Kept], new: Kept) -> None:
        """Remove what goes for another object; where it cannot go, that one does: or each would add to the limit."""
        try:
            for one in going:
                self.remove(one)
        except OSError:
            self.remove(new)
            raise


def _going(kept: list[Kept], over: int) -> tuple[Kept, ...]:
    """Those in front that take so many bytes together, as far as there are."""
    going: list[Kept] = []
    for one in kept:
        if over <= 0:
            break
        going.append(one)
        over -= one.room
    return tuple(going)
