"""Bytes a day: in no 24 hours more than so many, through restarts and reboots and whatever the wall clock says.

Time is that which has surely passed (`elapsed`): what a device was switched off for does not count. So a budget may be
smaller than it should be after a power cut, and never larger.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.spool.disk import write_whole
from edgesmith_runtime.spool.elapsed import Instant, elapsed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgesmith_runtime.spool.disk import Disk

__all__ = ["DAY", "DayBudget"]

DAY: Final = 86_400.0
_BIN: Final = 900.0
"""Seconds that are counted together."""
_BINS: Final = int(DAY / _BIN) + 1
_FILE: Final = "budget.json"
_PART: Final = "part.json"


class DayBudget:
    """What was taken in the newest 24 hours.

    Args:
        disk: Where it is kept.
        folder: The folder that it is kept in, which exists.
        limit: Bytes a day.
        now: The time.
    """

    def __init__(self, disk: Disk, folder: Path, limit: int, now: Instant) -> None:
        self._disk = disk
        self._folder = folder
        self._limit = limit
        self._seen = now
        self.time = 0.0
        """Seconds that have surely passed since the first start."""
        self.notes: dict[str, float] = {}
        """Numbers that are kept beside."""
        self._bins: dict[int, int] = {}
        self._read(now)

    @property
    def left(self) -> int:
        """Bytes that may be taken now."""
        return max(0, self._limit - sum(self._bins.values()))

    def advance(self, now: Instant) -> float:
        """Take up the time that has passed; returns `time`."""
        self.time += elapsed(self._seen, now)
        self._seen = now
        oldest = int(self.time / _BIN) - _BINS + 1
        self._bins = {number: taken for number, taken in self._bins.items() if number >= oldest}
        return self.time

    def take(self, size: int, now: Instant) -> bool:
        """Take so many bytes where there are as many; it outlasts a power cut before it returns.

        Raises:
            OSError: It could not be kept, and nothing was taken; after a restart it may count as taken.
        """
        number = int(self.advance(now) / _BIN)
        if size > self.left:
            return False
        before = self._bins.get(number, 0)
        self._bins[number] = before + size
        try:
            self.keep()
        except OSError:
            self._bins[number] = before
            raise
        return True

    def keep(self) -> None:
        """Write it down.

        Raises:
            OSError: It could not be written; what was written before stands, or this, which a power cut may undo.
        """
        said = {
            "boot": self._seen.boot,
            "seconds": self._seen.seconds,
            "time": self.time,
            "bins": {str(number): taken for number, taken in self._bins.items()},
            "notes": self.notes,
        }
        data = json.dumps(said, sort_keys=True).encode()
        write_whole(self._disk, self._folder / _FILE, data, self._folder / _PART)

    def _read(self, now: Instant) -> None:
        try:
            data = self._disk.read(self._folder / _FILE)
        except FileNotFoundError:
            return
        try:
            self._take_over(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            # Nobody can say what was taken: as if all of it was, just now.
            self._seen, self.time, self.notes, self._bins = now, 0.0, {}, {0: self._limit}
        self.advance(now)

    def _take_over(self, found: Mapping[str, Any]) -> None:
        bins = {int(number): int(taken) for number, taken in found["bins"].items()}
        seconds, time = float(found["seconds"]), float(found["time"])
        notes = {str(name): float(number) for name, number in found["notes"].items()}
        finite = all(map(math.isfinite, (seconds, time, *notes.values())))
        if not finite or len(bins) > _BINS or any(taken < 0 for taken in bins.values()):
            raise ValueError("a budget that was not written by this")
        self._seen = Instant(str(found["boot"]), seconds)
        self.time = time
        self.notes = notes
        self._bins = bins
