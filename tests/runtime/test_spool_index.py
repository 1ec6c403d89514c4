"""What is known of a spool without looking: as much as a listing would say, however many objects wait."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from needs import lacking
from power import chances

from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.index import Index
from edgesmith_runtime.spool.kept import Kept, named
from edgesmith_runtime.spool.spool import Spool, Waiting
from edgesmith_runtime.uplink.left import Left

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


@pytest.fixture
def disk() -> Counted:
    return Counted()


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


# The index -----------------------------------------------------------------------------------------------------------


def some(count: int) -> list[Kept]:
    """Objects of all groups, of few values and of many sizes."""
    chance, found = chances(1), []
    for order in range(1, count + 1):
        name = named(chance.randrange(2), chance.randrange(9), order, sha256(b"%d" % order).digest())
        found.append(Kept(name, chance.randrange(BLOCK * 3)))
    return found


def test_an_index_is_in_the_order_of_names_whatever_came_and_went() -> None:
    there = some(3000)
    chances(2).shuffle(there)
    index = Index(there[:2500])
    for one in there[2500:]:
        index.add(one)
    for one in there[:700]:
        index.discard(one)
        index.discard(one)
    assert list(index) == sorted(there[700:]) == list(reversed(list(reversed(index))))
    assert len(index) == 2300
    assert index.room == sum(one.room for one in there[700:])
    assert index.newest == 3000
    assert index.holds(there[700].digest)
    assert not index.holds(there[0].digest)


def test_what_goes_first_is_told_as_far_as_it_goes_before_another() -> None:
    index, there = Index(some(50)), sorted(some(50))
    assert index.lesser(0, "2") == ()
    assert index.lesser(1 << 40, "2") == tuple(there)
    assert index.lesser(1 << 40, there[7].name) == tuple(there[:7])
    going = index.lesser(10 * BLOCK, "2")
    assert sum(one.room for one in going[:-1]) < 10 * BLOCK <= sum(one.room for one in going)


# The server ----------------------------------------------------------------------------------------------------------


def test_a_put_lists_nothing_whether_the_spool_is_full_or_not(tmp_path: Path, disk: Counted) -> None:
    spool, before = begun(disk, tmp_path, 30, 40 * BLOCK), disk.listings
    for number in range(30, 60):
        put = spool.put(b"%d" % number, value=number)
        assert (put.kept, len(put.dropped)) == (True, number >= 40)
        assert len(spool.waiting()) == min(40, number + 1)
    assert spool.put(b"59", value=1).kept
    assert not spool.put(b"of no worth", value=0).kept
    assert len(spool.give_room(5 * BLOCK, value=9000)) == 5
    assert disk.listings == before
    assert known(spool) == spool.kept()
    assert spool.waiting().room == 35 * BLOCK


def test_what_others_removed_is_room_though_they_did_it_in_the_midst_of_a_write(tmp_path: Path, disk: Counted) -> None:
    spool, uplink = begun(disk, tmp_path, 10, 11 * BLOCK), Waiting(Quick(), tmp_path)
    disk.meanwhile = lambda: uplink.remove(uplink.kept()[-1])
    assert spool.put(b"a", value=500).kept
    disk.meanwhile = lambda: None
    assert spool.put(b"b", value=500).dropped == ()
    assert known(spool) == spool.kept()
    assert len(spool.put(b"c", value=500).dropped) == 1
    assert known(spool) == spool.kept()


def test_a_full_spool_is_listed_once_after_others_removed_something_and_only_where_room_is_wanted(
    tmp_path: Path, disk: Counted
) -> None:
    spool, uplink = begun(disk, tmp_path, 10, 10 * BLOCK), Waiting(Quick(), tmp_path)
    for one in uplink.kept()[5:]:
        uplink.remove(one)
    before = disk.listings
    for number in range(5):
        assert spool.put(b"x%d" % number, value=500).dropped == ()
    assert disk.listings == before + 1
    uplink.remove(uplink.kept()[0])
    assert known(spool) == spool.kept()


def test_what_somebody_removes_by_hand_is_seen(tmp_path: Path, disk: Counted) -> None:
    spool = begun(disk, tmp_path, 4, 4 * BLOCK)
    os.utime(tmp_path, ns=(0, 0))  # as if the last change were long ago
    spool.waiting()
    (tmp_path / spool.kept()[0].name).unlink()
    assert len(known(spool)) == 3
    shutil.rmtree(tmp_path)
    assert spool.waiting().room == 0
    assert spool.put(b"new", value=1).kept
    assert len(known(spool)) == 1


def test_what_somebody_removed_before_a_put_is_seen_after_it(tmp_path: Path, disk: Counted) -> None:
    spool = begun(disk, tmp_path, 4, 9 * BLOCK)
    os.utime(tmp_path, ns=(0, 0))
    spool.waiting()
    (tmp_path / spool.kept()[0].name).unlink()
    assert spool.put(b"new", value=1).kept
    assert known(spool) == spool.kept()


def test_what_is_removed_in_the_midst_of_a_listing_is_seen_by_the_next(
    tmp_path: Path, disk: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, uplink = begun(disk, tmp_path, 4, 9 * BLOCK), Waiting(Quick(), tmp_path)
    monkeypatch.setattr(disk, "state", lambda _: (7,))  # all within a tick of the clock
    listed = disk.files

    def files(folder: Path) -> Iterator[tuple[str, int]]:
        yield from listed(folder)
        monkeypatch.setattr(disk, "files", listed)
        uplink.remove(uplink.kept()[0])

    monkeypatch.setattr(disk, "files", files)
    assert len(known(spool)) == 4
    assert known(spool) == spool.kept()


def test_a_removal_that_cannot_be_noted_is_one_all_the_same(tmp_path: Path, disk: Counted) -> None:
    class Unnoted(Quick):
        def lengthen(self, path: Path) -> None:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(path))

    spool, uplink = begun(disk, tmp_path, 3, 3 * BLOCK), Waiting(Unnoted(), tmp_path)
    os.utime(tmp_path, ns=(0, 0))
    spool.waiting()
    uplink.remove(uplink.kept()[0])
    assert spool.put(b"new", value=1).dropped == ()
    assert known(spool) == spool.kept()


def test_what_was_sent_and_comes_again_is_kept_again(tmp_path: Path, disk: Counted) -> None:
    spool, uplink = begun(disk, tmp_path, 2, 4 * BLOCK), Waiting(Quick(), tmp_path)
    uplink.remove(uplink.kept()[0])
    assert spool.put(b"0", value=7).kept
    assert {uplink.read(one) for one in uplink.kept()} == {b"0", b"1"}


def test_orders_go_on_where_the_newest_was_sent(tmp_path: Path, disk: Counted) -> None:
    spool, uplink = begun(disk, tmp_path, 3, 9 * BLOCK), Waiting(Quick(), tmp_path)
    uplink.remove(uplink.kept()[-1])
    spool.waiting()
    spool.put(b"next", value=5)
    assert uplink.kept()[-1].name[6:18] == f"{4:012d}"


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


# The uplink ----------------------------------------------------------------------------------------------------------


class Sending:
    """What is left, with a clock that is moved."""

    def __init__(self, disk: Counted, folder: Path) -> None:
        self.seconds = 0.0
        self.waiting = Waiting(disk, folder)
        self.left = Left(self.waiting, lambda: self.seconds)

    def next(self) -> bytes | None:
        """Send the one that is worth most."""
        one = next(reversed(self.left.now()), None)
        if one is None:
            return None
        self.left.stored(one)
        return self.waiting.read(one)


def test_thousands_are_sent_without_a_listing_for_each(tmp_path: Path, disk: Counted) -> None:
    server = begun(Quick(), tmp_path, 60, 1 << 30)
    sending = Sending(disk, tmp_path)
    sent = [sending.next() for _ in range(30)]
    assert disk.listings == 1
    server.put(b"worth most", value=9000)
    sending.seconds += 2
    sent += [sending.next() for _ in range(31)]
    assert disk.listings == 2
    first, then = ([b"%d" % number for number in numbers] for numbers in (range(59, 29, -1), range(29, -1, -1)))
    assert sent == [*first, b"worth most", *then]
    assert sending.next() is None
    assert server.kept() == []


def test_a_spool_at_rest_is_not_listed_and_what_comes_is_seen_at_once(tmp_path: Path, disk: Counted) -> None:
    server = begun(Quick(), tmp_path, 0, 1 << 30)
    sending = Sending(disk, tmp_path)
    for _ in range(9):
        assert sending.next() is None
        sending.seconds += 2
    assert disk.listings == 2, "the second is for what may have come within the same tick of a clock"
    server.put(b"one", value=1)
    assert sending.next() == b"one"


def test_what_came_within_a_tick_of_the_clock_is_seen(
    tmp_path: Path, disk: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = begun(Quick(), tmp_path, 0, 1 << 30)
    monkeypatch.setattr(disk, "state", lambda _: (7,))
    sending = Sending(disk, tmp_path)
    for _ in range(3):
        assert sending.next() is None
        sending.seconds += 0.5
    server.put(b"one", value=1)
    assert sending.next() == b"one"


def test_a_listing_that_takes_long_is_rare(tmp_path: Path) -> None:
    class Slow(Counted):
        def files(self, folder: Path) -> Iterator[tuple[str, int]]:
            sending.seconds += 3
            return super().files(folder)

    disk = Slow()
    begun(Quick(), tmp_path, 40, 1 << 30)
    sending = Sending(disk, tmp_path)
    for _ in range(30):
        sending.next()
        sending.seconds += 4
    assert disk.listings == 1
    sending.seconds += 60
    sending.next()
    assert disk.listings == 2


def test_what_is_in_the_bucket_and_cannot_be_removed_is_never_offered_again(tmp_path: Path) -> None:
    class Keeping(Counted):
        fails = True

        def remove(self, path: Path) -> None:
            if self.fails:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            super().remove(path)

    disk = Keeping()
    server = begun(Quick(), tmp_path, 3, 1 << 30)
    sending = Sending(disk, tmp_path)
    assert [sending.next() for _ in range(3)] == [b"2", b"1", b"0"]
    server.put(b"3", value=0)
    sending.seconds += 10
    assert [sending.next() for _ in range(2)] == [b"3", None]
    disk.fails = False
    assert sending.next() is None
    assert server.kept() == []
