"""The clock on the wall of a place, looked at minute by minute: when windows are open by it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import count
from zoneinfo import ZoneInfo

from edgesmith.api.window import DAYS, Window

MINUTE = timedelta(minutes=1)
ZONES = ("UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago")
_FARTHEST = timedelta(hours=15)
"""No clock shows a time so long before UTC does."""


def open_by_the_clock(windows: Iterable[Window], now: datetime) -> bool:
    """Whether one of some windows is open, by looking at the clock and at nothing else.

    Args:
        windows: Some.
        now: A time in UTC.
    """
    for one in windows:
        start, end = time.fromisoformat(one.start), time.fromisoformat(one.end)
        today = now.astimezone(ZoneInfo(one.time_zone)).date()
        for back in (0, 1, 2):
            day = today - timedelta(days=back)
            if one.days and DAYS[day.weekday()] not in one.days:
                continue
            begins = datetime.combine(day, start)
            ends = datetime.combine(day if end > start else day + timedelta(days=1), end)
            if first_shown(one.time_zone, begins) <= now < first_shown(one.time_zone, ends):
                return True
    return False


@lru_cache(maxsize=4096)
def first_shown(zone: str, local: datetime) -> datetime:
    """The first minute in which a clock shows a time or a later one."""
    name, first = ZoneInfo(zone), local.replace(tzinfo=UTC) - _FARTHEST
    minutes = (first + MINUTE * number for number in count())
    return next(one for one in minutes if one.astimezone(name).replace(tzinfo=None) >= local)
