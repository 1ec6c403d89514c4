"""What a spool knows after its disk failed: as much as is there, without a listing for each failure."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from needs import lacking

from edgesmith_runtime.spool.spool import Waiting
from tests.runtime.counted_disks import BLOCK, Counted, Quick, begun, known


class Haunted(Counted):
    """What was written cannot be made to last, nor be removed."""

    broken = False
    number = errno.EIO

    def sync_folder(self, folder: Path) -> None:
        if self.broken:
            raise OSError(self.number, os.strerror(self.number))
        super().sync_folder(folder)

    def remove(self, path: Path) -> None:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().remove(path)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_what_is_there_though_it_was_not_kept_counts(tmp_path: Path, number: int) -> None:
    disk = Haunted()
    spool = begun(disk, tmp_path, 2, 3 * BLOCK)
    disk.broken, disk.number = True, number
    for value in (1, 2):
        with pytest.raises(OSError, match="Input/output"):
            spool.put(b"a%d" % value, value=value)
    disk.broken = False
    assert len(known(spool)) >= 3
    assert spool.put(b"b", value=9).kept
    assert known(spool) == spool.kept()
    assert spool.waiting().room <= 3 * BLOCK


def test_a_disk_that_only_refuses_is_not_listed_each_time(tmp_path: Path) -> None:
    class Refusing(Counted):
        def create(self, path: Path) -> int:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        def remove(self, path: Path) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    disk = Refusing()
    spool = begun(disk, tmp_path, 5, 9 * BLOCK)
    before = disk.listings
    for number in range(5):
        with pytest.raises(OSError, match="Read-only"):
            spool.put(b"r%d" % number, value=9)
    assert disk.listings == before


def test_what_went_though_that_was_an_error_is_not_counted(tmp_path: Path) -> None:
    class Shaky(Counted):
        fails = False

        def remove(self, path: Path) -> None:
            super().remove(path)
            if self.fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk = Shaky()
    spool = begun(disk, tmp_path, 3, 3 * BLOCK)
    disk.fails = True
    with pytest.raises(OSError, match="Input/output"):
        spool.put(b"a", value=9)
    disk.fails = False
    assert known(spool) == spool.kept()
    assert spool.waiting().room == 2 * BLOCK


def test_a_disk_that_fails_in_the_midst_of_a_write_is_not_listed_each_time(tmp_path: Path) -> None:
    class Breaking(Counted):
        def write(self, handle: int, data: bytes) -> int:
            del handle, data
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk = Breaking()
    spool = begun(disk, tmp_path, 3, 3 * BLOCK)
    before = disk.listings
    for number in range(5):
        with pytest.raises(OSError, match="Input/output"):
            spool.put(b"a%d" % number, value=9)
    assert disk.listings == before
    assert known(spool) == spool.kept()
    assert spool.waiting().room == 3 * BLOCK


def test_a_removal_is_noted_on_a_disk_that_is_full(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        lacking("mounting a small disk needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], check=True)
    try:
        disk = Counted()
        spool, uplink = begun(disk, tmp_path, 5, 100 * BLOCK), Waiting(Quick(), tmp_path)
        with (tmp_path / "others").open("wb") as stream, suppress(OSError):
            while True:
                os.write(stream.fileno(), bytes(BLOCK))
        assert spool.put(b"x", value=0).dropped
        for _ in range(2):
            uplink.remove(uplink.kept()[0])
        assert Quick().length(tmp_path / "removed") == 2
        assert (tmp_path / "removed").stat().st_blocks == 0
        assert known(spool) == spool.kept()
    finally:
        subprocess.run(["umount", tmp_path], check=True)
