"""Disks of spools that say how often a folder was listed, and the spools on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.kept import Kept
from edgesmith_runtime.spool.spool import Spool

__all__ = ["BLOCK", "Counted", "Quick", "begun", "known"]

BLOCK = 4096


class Quick(RealDisk):
    """No power is cut here."""

    def sync(self, handle: int) -> None:
        """Nothing."""

    def sync_folder(self, folder: Path) -> None:
        """Nothing."""


class Counted(Quick):
    """How often the folder was listed; and something may happen while a file is written."""

    def __init__(self) -> None:
        self.listings = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def files(self, folder: Path) -> Iterator[tuple[str, int]]:
        self.listings += 1
        yield from super().files(folder)

    def sync(self, handle: int) -> None:
        super().sync(handle)
        self.meanwhile()


def begun(disk: RealDisk, folder: Path, objects: int, limit: int) -> Spool:
    """A spool with so many objects, worth 0, 1, 2 and so on."""
    before = Spool(Quick(), folder, 1 << 30)
    for number in range(objects):
        assert before.put(b"%d" % number, value=number).kept
    spool = Spool(disk, folder, limit)
    spool.recover()
    return spool


def known(spool: Spool) -> list[Kept]:
    return list(spool.waiting())
