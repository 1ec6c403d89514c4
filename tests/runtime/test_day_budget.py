"""Bytes a day: never more in any 24 hours, whatever ends and whatever the clocks say."""

from __future__ import annotations

from pathlib import Path

import pytest
from power import PowerCut, PowerDisk, chances

from edgesmith_runtime.spool.budget import DAY, DayBudget
from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.elapsed import Instant, elapsed, instant

FOLDER = Path("/spool")
FILE = FOLDER / "budget.json"


def test_time_passes_within_a_boot_and_is_none_between_two() -> None:
    assert elapsed(Instant("a", 5.0), Instant("a", 7.5)) == 2.5
    assert elapsed(Instant("a", 5.0), Instant("b", 7.5)) == 0
    assert elapsed(Instant("a", 5.0), Instant("a", 3.0)) == 0
    first = instant()
    assert elapsed(first, instant()) >= 0
    assert len(first.boot) == 36


def test_what_was_taken_is_free_again_a_day_later_and_not_before() -> None:
    budget = DayBudget(PowerDisk(), FOLDER, 100, Instant("a", 0))
    assert budget.take(60, Instant("a", 100))
    assert not budget.take(41, Instant("a", 200))
    assert budget.take(40, Instant("a", 5000))
    assert not budget.take(1, Instant("a", DAY + 99))
    assert budget.take(60, Instant("a", DAY + 1000))
    assert not budget.take(1, Instant("a", DAY + 1000))


def test_no_day_has_more_through_restarts_reboots_and_any_wall_clock() -> None:
    chance, disk = chances(3), PowerDisk()
    real, boot, up, on = 0.0, 0, 0.0, 0.0
    budget = DayBudget(disk, FOLDER, 1000, Instant("0", 0))
    taken = list[tuple[float, int]]()
    for _ in range(4000):
        passed = chance.choice([1.0, 60.0, 900.0, 4000.0])
        real, up, on = real + passed, up + passed, on + passed
        what = chance.random()
        if what < 0.05:  # the device was off, for how long nobody can tell
            real, boot, up = real + chance.uniform(0, 3 * DAY), boot + 1, chance.uniform(1, 30)
        if what < 0.3:
            budget = DayBudget(disk.after_cut(chance), FOLDER, 1000, Instant(str(boot), up))
            disk = budget._disk  # type: ignore[assignment]
        size = chance.randint(1, 300)
        if budget.take(size, Instant(str(boot), up)):
            taken.append((real, size))
            within = sum(some for at, some in taken if at > real - DAY)
            assert within <= 1000
        budget.keep()
    assert sum(size for _, size in taken) > 0.7 * 1000 * on / DAY  # and it is used


def test_a_cut_at_any_byte_takes_too_much_of_the_budget_and_never_too_little() -> None:
    def work(disk: PowerDisk, done: list[int]) -> None:
        budget = DayBudget(disk, FOLDER, 100, Instant("a", 0))
        for number, size in enumerate([30, 20, 40]):
            if budget.take(size, Instant("a", 1000.0 * number)):
                done.append(size)

    whole = PowerDisk()
    work(whole, [])
    for cut_at in range(whole.steps):
        disk, done = PowerDisk(cut_at), list[int]()
        with pytest.raises(PowerCut):
            work(disk, done)
        for seed in range(3):
            found = disk.after_cut(chances(seed))
            left = DayBudget(found, FOLDER, 100, Instant("a", 2000.0)).left
            assert left <= 100 - sum(done)
            assert left >= 100 - sum(done) - 40


@pytest.mark.parametrize(
    "spoilt",
    [b"", b"{", b"[]", b'{"boot": "a"}', b'{"boot":"a","seconds":NaN,"time":0,"bins":{},"notes":{}}',
     b'{"boot":"a","seconds":0,"time":0,"bins":{"0":-5},"notes":{}}',
     b'{"boot":"a","seconds":0,"time":0,"bins":{"0":1e999},"notes":{}}'],
)  # fmt: skip
def test_a_file_that_cannot_be_read_counts_as_a_whole_day(spoilt: bytes, tmp_path: Path) -> None:
    (tmp_path / "budget.json").write_bytes(spoilt)
    budget = DayBudget(RealDisk(), tmp_path, 100, Instant("a", 50))
    assert budget.left == 0
    assert budget.take(100, Instant("a", 50 + DAY + 900))


def test_notes_outlast_a_restart() -> None:
    disk = PowerDisk()
    budget = DayBudget(disk, FOLDER, 100, Instant("a", 0))
    budget.notes = {"Random": 12.5}
    budget.advance(Instant("a", 40))
    budget.keep()
    again = DayBudget(disk, FOLDER, 100, Instant("a", 100))
    assert (again.notes, again.time) == ({"Random": 12.5}, 100.0)


def test_a_disk_that_is_full_gives_nothing_away() -> None:
    budget = DayBudget(PowerDisk(room=10), FOLDER, 100, Instant("a", 0))
    with pytest.raises(OSError, match="No space"):
        budget.take(30, Instant("a", 1))
    assert budget.left == 100
