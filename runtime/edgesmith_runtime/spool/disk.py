"""The few things that a spool asks of a disk; tests put one in its place that breaks off at any byte."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Disk", "RealDisk", "write_whole"]

_PIECE: Final = 1 << 16
_MODE: Final = 0o640


class Disk(Protocol):
    """A folder of files. Every method raises `OSError` as the system does."""

    def create(self, path: Path) -> int:
        """Begin an empty file in the place of what is there; its folder is made where that has gone."""

    def write(self, handle: int, data: bytes) -> int:
        """Write some of the bytes; returns how many."""

    def sync(self, handle: int) -> None:
        """Return once what was written would outlast a power cut."""

    def close(self, handle: int) -> None:
        """End writing."""

    def rename(self, path: Path, target: Path) -> None:
        """Give a file another name, at one stroke."""

    def remove(self, path: Path) -> None:
        """Remove a file; one that is not there is no error."""

    def sync_folder(self, folder: Path) -> None:
        """Return once its names would outlast a power cut."""

    def files(self, folder: Path) -> Iterator[tuple[str, int]]:
        """The names of its files and their sizes in bytes; none where the folder has gone."""

    def read(self, path: Path) -> bytes:
        """All bytes of a file."""

    def state(self, folder: Path) -> tuple[int, ...]:
        """What changes when a name comes or goes; empty where the folder has gone."""

    def lengthen(self, path: Path) -> None:
        """Make a file one byte longer, or begin one of one byte; a disk that is full has room for that."""

    def length(self, path: Path) -> int:
        """Bytes of a file; 0 where there is none."""


class RealDisk:
    """The node's."""

    def create(self, path: Path) -> int:
        """As `Disk`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(path, flags, _MODE)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.sync_folder(path.parent.parent)
            return os.open(path, flags, _MODE)

    def write(self, handle: int, data: bytes) -> int:
        """As `Disk`."""
        return os.write(handle, data)

    def sync(self, handle: int) -> None:
        """As `Disk`."""
        os.fsync(handle)

    def close(self, handle: int) -> None:
        """As `Disk`."""
        os.close(handle)

    def rename(self, path: Path, target: Path) -> None:
        """As `Disk`."""
        path.rename(target)

    def remove(self, path: Path) -> None:
        """As `Disk`."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """As `Disk`."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def files(self, folder: Path) -> Iterator[tuple[str, int]]:
        """As `Disk`."""
        try:
            found = os.scandir(folder)
        except FileNotFoundError:
            return
        with found as entries:
            for entry in entries:
                try:
                    if entry.is_file(follow_symlinks=False):
                        yield entry.name, entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:  # sent, and so removed, meanwhile
                    continue

    def read(self, path: Path) -> bytes:
        """As `Disk`."""
        return path.read_bytes()

    def state(self, folder: Path) -> tuple[int, ...]:
        """As `Disk`."""
        try:
            found = os.stat(folder)  # noqa: PTH116 - as `os.scandir`: no other object for what is asked often
        except FileNotFoundError:
            return ()
        return found.st_dev, found.st_ino, found.st_mtime_ns

    def lengthen(self, path: Path) -> None:
        """As `Disk`."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        try:
            os.ftruncate(handle, os.fstat(handle).st_size + 1)  # a hole takes no block
        finally:
            os.close(handle)

    def length(self, path: Path) -> int:
        """As `Disk`."""
        try:
            return os.stat(path, follow_symlinks=False).st_size  # noqa: PTH116 - as above
        except FileNotFoundError:
            return 0


def write_whole(disk: Disk, path: Path, data: bytes, part: Path) -> None:
    """Write a file that is there whole or not at all, whenever the process or the power ends.

    Args:
        disk: Where.
        path: The file.
        data: Its bytes.
        part: What it is called until it is whole; in the same folder.

    Raises:
        OSError: It could not be written: `path` is as it was, or has the new bytes, which a power cut may undo.
    """
    try:
        handle = disk.create(part)
        try:
            view = memoryview(data)
            while view:
                view = view[disk.write(handle, bytes(view[:_PIECE])) :]
            disk.sync(handle)
        finally:
            disk.close(handle)
        disk.rename(part, path)
    except OSError:
        with suppress(OSError):  # why it could not be written is what is to be known
            disk.remove(part)
        raise
    disk.sync_folder(path.parent)
