"""A disk in memory that loses its power at any byte, and may be full.

What a file holds outlasts the cut up to where it was synced, and any part of the rest; names outlast it as they were
when their folder was synced, and any first part of what was done with them since (POSIX promises no more).
"""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


def chances(seed: int) -> random.Random:
    """Chances that come out the same each time."""
    return random.Random(seed)  # noqa: S311 - nobody is to be surprised


class PowerCut(BaseException):
    """Nothing of the program runs after it."""


@dataclass
class _File:
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


class PowerDisk:
    """As `spool.disk.Disk`. Each byte and each call is one step.

    Args:
        cut_at: The step at which the power goes; None: never.
        room: Bytes of all files; None: enough.
    """

    def __init__(self, cut_at: int | None = None, room: int | None = None) -> None:
        self.steps = 0
        self.cut_at = cut_at
        self.room = room
        self._names: dict[Path, _File] = {}
        self._lasting: dict[Path, _File] = {}
        self._done: list[tuple[Path, _File | None]] = []
        self._open: dict[int, _File] = {}
        self._lengths: dict[Path, int] = {}
        self._changes = 0

    def after_cut(self, chance: random.Random) -> PowerDisk:
        """The disk as it may be found when the power is back."""
        found = PowerDisk(room=self.room)
        names = dict(self._lasting)
        for path, file in self._done[: chance.randint(0, len(self._done))]:
            if file is None:
                names.pop(path, None)
            else:
                names[path] = file
        for path, file in names.items():
            data = bytes(file.data)
            if data != file.synced:
                data = data[: chance.randint(len(file.synced) if data.startswith(file.synced) else 0, len(data))]
            kept = _File(bytearray(data), data)
            found._names[path] = found._lasting[path] = kept
        return found

    @property
    def used(self) -> int:
        """Bytes of all files."""
        return sum(len(file.data) for file in self._names.values())

    def _step(self) -> None:
        if self.cut_at is not None and self.steps >= self.cut_at:
            raise PowerCut
        self.steps += 1

    def _name(self, path: Path, file: _File | None) -> None:
        self._changes += 1
        self._done.append((path, file))
        if file is None:
            self._names.pop(path, None)
        else:
            self._names[path] = file

    def create(self, path: Path) -> int:
        self._step()
        file = _File()
        self._name(path, file)
        handle = len(self._open) + 1
        self._open[handle] = file
        return handle

    def write(self, handle: int, data: bytes) -> int:
        until_cut = len(data) if self.cut_at is None else self.cut_at - self.steps
        until_full = len(data) if self.room is None else self.room - self.used
        passed = max(0, min(len(data), until_cut, until_full))
        self._open[handle].data += data[:passed]
        self.steps += passed
        if passed == len(data):
            return passed
        if until_cut <= until_full:
            raise PowerCut
        raise OSError(errno.ENOSPC, "No space left on device")

    def sync(self, handle: int) -> None:
        self._step()
        self._open[handle].synced = bytes(self._open[handle].data)

    def close(self, handle: int) -> None:
        del handle
        self._step()

    def rename(self, path: Path, target: Path) -> None:
        self._step()
        self._changes += 1
        file = self._names[path]
        self._done.append((target, file))
        self._done.append((path, None))
        self._names[target] = self._names.pop(path)

    def remove(self, path: Path) -> None:
        self._step()
        if path in self._names:
            self._name(path, None)

    def sync_folder(self, folder: Path) -> None:
        del folder
        self._step()
        self._lasting = dict(self._names)
        self._done.clear()

    def files(self, folder: Path) -> Iterator[tuple[str, int]]:
        for path, file in list(self._names.items()):
            if path.parent == folder:
                yield path.name, len(file.data)

    def read(self, path: Path) -> bytes:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return bytes(self._names[path].data)

    def state(self, folder: Path) -> tuple[int, ...]:
        del folder
        return (self._changes,)

    def lengthen(self, path: Path) -> None:
        self._step()
        self._lengths[path] = self.length(path) + 1

    def length(self, path: Path) -> int:
        return self._lengths.get(path, 0)
