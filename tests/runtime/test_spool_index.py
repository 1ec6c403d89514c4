"""What is known of a spool without looking: as much as a listing would say, however many objects wait."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import weakref
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

import pytest
from power import chances

from edgesmith_runtime.spool.index import Index
from edgesmith_runtime.spool.kept import Kept, named
from edgesmith_runtime.spool.spool import Waiting
from edgesmith_runtime.uplink.left import Left
from tests.runtime.counted_disks import BLOCK, Counted, Quick, begun, known


@pytest.fixture
def disk() -> Counted:
    return Counted()


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


def test_what_cannot_be_removed_keeps_nothing_else_on_the_disk(tmp_path: Path) -> None:
    class Stuck(Counted):
        def remove(self, path: Path) -> None:
            if path.name == least:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
            super().remove(path)

    server = begun(Quick(), tmp_path, 3, 1 << 30)
    least = server.kept()[0].name
    sending = Sending(Stuck(), tmp_path)
    for one in server.kept():
        sending.left.stored(one)
    assert sending.next() is None
    assert [one.name for one in server.kept()] == [least]


class Backlog(Counted):
    """Objects that lie in memory."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.there = {one.name: one.size for one in some(count)}
        self.fails = False

    def files(self, folder: Path) -> Iterator[tuple[str, int]]:  # noqa: ARG002 - as `Disk`
        self.listings += 1
        yield from tuple(self.there.items())

    def state(self, folder: Path) -> tuple[int, ...]:  # noqa: ARG002 - as `Disk`
        return (len(self.there),)

    def remove(self, path: Path) -> None:
        if self.fails:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        del self.there[path.name]

    def lengthen(self, path: Path) -> None:
        """Nothing."""


@pytest.mark.parametrize("fails", [False, True])
def test_of_a_long_backlog_not_all_are_known_and_each_is_sent_once_in_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    most = 20 if fails else 20_000  # each look tries to remove all that it could not before
    monkeypatch.setattr("edgesmith_runtime.uplink.left._MOST", most)
    disk, seconds = Backlog(most * 5 // 2), itertools.count(step=3)
    disk.fails, names = fails, sorted(disk.there, reverse=True)
    sent: list[str] = []
    left = Left(Waiting(disk, tmp_path), lambda: next(seconds) if fails else 0.0)
    while kept := left.now():
        assert len(kept) <= most
        assert len(sent) < len(names)
        one = next(reversed(kept))
        sent.append(one.name)
        left.stored(one)
    assert sent == names
    assert len(disk.there) == len(names) * fails
    before = disk.listings
    assert not left.now()
    assert disk.listings - before <= 1 - fails


def test_what_was_listed_before_is_forgotten_while_the_folder_is_listed(
    tmp_path: Path, disk: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(Quick(), tmp_path, 3, 1 << 30)
    sending = Sending(disk, tmp_path)
    before, listed = weakref.ref(sending.left.now()), disk.files

    def files(folder: Path) -> Iterator[tuple[str, int]]:
        assert before() is None
        return listed(folder)

    monkeypatch.setattr(disk, "files", files)
    sending.seconds += 3
    assert sending.next() == b"2"
    assert disk.listings == 2


def test_after_a_listing_that_failed_the_folder_is_listed_whatever_its_state_is(
    tmp_path: Path, disk: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Path) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    begun(Quick(), tmp_path, 3, 1 << 30)
    sending, state = Sending(disk, tmp_path), (7,)
    monkeypatch.setattr(disk, "state", lambda _: state)
    for sent in (b"2", b"1"):
        assert sending.next() == sent
        sending.seconds += 1000
    state = (8,)
    with monkeypatch.context() as patched:
        patched.setattr(disk, "files", fails)
        with pytest.raises(OSError, match="Input/output"):
            sending.next()
    state = (7,)
    assert sending.next() == b"0"
