"""When the windows of a rollout are open, by the clocks of their time zones.

A time of day is the first moment at which the zone's clock shows it or a later one: one that the clock skips is the
moment of the skip, one that it shows twice is meant the first time. A window whose start and end are in the hour that
is skipped does not open on that day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from edgesmith.api.window import DAYS, Window

_AHEAD = 21
"""Days that are looked through for the next opening: every week has each day, but for one that a zone leaves out."""
_ALWAYS = timedelta(days=14)
"""Windows that follow one another for so long leave no gap: every week is as the one before."""
_BEHIND = 15
"""Days that are looked back through for when they opened: more than what leaves no gap."""
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Opening:
    """What the windows of a rollout say at one time."""

    open: bool
    edge: datetime | None = None
    """When that changes; None where it does not in the next weeks."""
    message: str = ""
    """What is wrong with the windows, or when the next one opens, in one sentence; empty where they are open."""
    since: datetime | None = None
    """Since when they are open; None where they are not, or leave no gap."""
    wrong: bool = False
    """Whether a window cannot be used, so that no one can say when it opens."""


ANY_TIME = Opening(True)
"""Without windows a rollout may go on at any time."""


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo | None:
    """A time zone; None where this installation's database has none of that name."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None


def moment(local: datetime, zone: ZoneInfo) -> datetime:
    """The first moment, in UTC, at which the clock of a zone shows a local time or a later one.

    Where the clock skips it (PEP 495: fold 0 has the smaller offset), the skip lies between what the two offsets make
    of it.

    Args:
        local: A time without a zone.
        zone: Whose clock.
    """
    first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == local:
        return first
    early = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    low, high = min(early, first), max(early, first)
    while high - low > _SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle.astimezone(zone).replace(tzinfo=None) >= local:
            high = middle
        else:
            low = middle
    return high


def opening_of(windows: Sequence[Window], now: datetime) -> Opening:
    """Whether one of the windows is open, and when that changes; without any, it is open at any time.

    A window in a zone that is not known opens never, and the others do as they say.

    Args:
        windows: Those of `spec.rollout.windows`.
        now: The hub's time.
    """
    if not windows:
        return ANY_TIME
    unknown = next((one.time_zone for one in windows if _zone(one.time_zone) is None), None)
    spans = sorted(span for one in windows for span in _spans(one, now))
    wrong = (
        f"spec.rollout.windows has the time zone {unknown!r}, which the operator does not know; a name of the IANA "
        "time zone database was expected, such as Europe/Vienna."
        if unknown
        else ""
    )
    until, since = now, None
    for start, end, _ in spans:
        if start <= until < end:
            until = end
    for start, end, _ in reversed(spans):
        if start <= now and end >= (since or now):
            since = start
    if until > now:
        began = since if since and until - since < _ALWAYS else None
        return Opening(True, until if until - now < _ALWAYS else None, wrong, began, bool(wrong))
    following = next(((start, zone) for start, _, zone in spans if start > now), None)
    if following is None:
        return Opening(
            False, None, wrong or "No window of spec.rollout.windows opens in the next weeks.", wrong=bool(wrong)
        )
    start, zone = following
    return Opening(False, start, wrong or f"The next window opens on {shown(start, zone)}.", wrong=bool(wrong))


def shown(time: datetime, zone: str) -> str:
    """A time on the clock of a zone, as messages have it: Sat 2026-11-28 22:00 (Europe/Vienna)."""
    local = time.astimezone(_zone(zone) or UTC)
    return f"{DAYS[local.weekday()]} {local:%Y-%m-%d %H:%M} ({zone})"


def _spans(window: Window, now: datetime) -> Iterator[tuple[datetime, datetime, str]]:
    """From when to when a window is open, in UTC, each time that is of interest now; empty ones are left out."""
    zone = _zone(window.time_zone)
    if zone is None:
        return
    try:
        today = now.astimezone(zone).date()
        for number in range(-_BEHIND, _AHEAD):
            day = today + number * _DAY
            if not window.days or DAYS[day.weekday()] in window.days:
                span = _span(window, day, zone)
                if span[0] < span[1]:
                    yield (*span, window.time_zone)
    except OverflowError:  # the calendar ends here
        return


def _span(window: Window, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    start, end = time.fromisoformat(window.start), time.fromisoformat(window.end)
    last = day if end > start else day + _DAY
    return moment(datetime.combine(day, start), zone), moment(datetime.combine(last, end), zone)
