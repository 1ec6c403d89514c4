"""When windows are open, held against a clock that is looked at minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wall_clock import MINUTE, open_by_the_clock
from wall_clock import ZONES as PLACES

from edgesmith.api.window import DAYS, Window
from edgesmith.decide.window import Opening, moment, opening_of

VIENNA = "Europe/Vienna"
ZONES = (*PLACES, "Pacific/Apia")
CHANGES = (
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
    datetime(2026, 9, 6, 4, tzinfo=UTC),
)
"""Moments at which a clock of these zones is changed; in Apia by a whole day."""


def window(start: str, end: str, *days: str, zone: str = VIENNA) -> Window:
    return Window.model_validate({"start": start, "end": end, "days": days, "timeZone": zone})


def at(text: str, zone: str = VIENNA, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


TIMES = st.builds(
    lambda hour, minute: f"{hour:02}:{minute:02}", st.integers(0, 23), st.sampled_from((0, 1, 15, 30, 59))
)


@settings(max_examples=400)
@given(
    zone=st.sampled_from(ZONES),
    change=st.sampled_from(CHANGES),
    start=TIMES,
    end=TIMES,
    days=st.sets(st.sampled_from(DAYS)),
    minutes=st.integers(-26 * 60, 26 * 60),
)
def test_a_window_is_open_when_the_clock_on_the_wall_says_so(
    *, zone: str, change: datetime, start: str, end: str, days: set[str], minutes: int
) -> None:
    one, now = window(start, end, *sorted(days), zone=zone), change + MINUTE * minutes
    found = opening_of([one], now)
    assert found.open == open_by_the_clock([one], now)


@settings(max_examples=300)
@given(
    windows=st.lists(
        st.builds(
            lambda zone, start, end, days: window(start, end, *sorted(days), zone=zone),
            st.sampled_from(ZONES),
            TIMES,
            TIMES,
            st.sets(st.sampled_from(DAYS)),
        ),
        min_size=1,
        max_size=3,
    ),
    change=st.sampled_from(CHANGES),
    minutes=st.integers(-3000, 3000),
    seconds=st.integers(0, 59),
)
def test_nothing_changes_before_the_edge_and_it_does_at_the_edge(
    windows: list[Window], change: datetime, minutes: int, seconds: int
) -> None:
    now = change + MINUTE * minutes + timedelta(seconds=seconds)
    found = opening_of(windows, now)
    if found.edge is None:
        assert found.open == all(opening_of(windows, now + timedelta(days=day)).open for day in range(5))
        return
    assert found.edge > now
    assert opening_of(windows, found.edge).open is not found.open
    assert opening_of(windows, found.edge - timedelta(seconds=1)).open is found.open
    middle = now + (found.edge - now) / 2
    assert opening_of(windows, middle).open is found.open


@pytest.mark.parametrize(
    ("when", "is_open"),
    [
        ("2026-11-28 21:59", False),
        ("2026-11-28 22:00", True),
        ("2026-11-29 03:59", True),
        ("2026-11-29 04:00", False),
        ("2026-11-30 03:59", True),
        ("2026-11-30 22:30", False),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(when: str, *, is_open: bool) -> None:
    assert opening_of([window("22:00", "04:00", "Sat", "Sun")], at(when)).open is is_open


def test_the_same_time_twice_is_a_whole_day() -> None:
    whole = window("06:00", "06:00", "Sat")
    assert [opening_of([whole], at(f"2026-11-{day} 05:59")).open for day in (28, 29)] == [False, True]
    assert opening_of([window("06:00", "06:00")], at("2026-11-28 05:59")).open


def test_in_the_hour_that_is_skipped_a_window_begins_with_the_skip_or_not_at_all() -> None:
    began = opening_of([window("02:30", "05:00", "Sun")], at("2026-03-29 01:30"))
    assert began.edge == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert "Sun 2026-03-29 03:00 (Europe/Vienna)" in began.message
    never = opening_of([window("02:10", "02:50", "Sun")], at("2026-03-29 01:30"))
    assert never.edge == at("2026-04-05 02:10"), "it opens a week later"


def test_a_time_that_the_clock_shows_twice_is_meant_the_first_time() -> None:
    found = opening_of([window("02:15", "02:45", "Sun")], at("2026-10-25 02:15"))
    assert found == Opening(True, at("2026-10-25 02:45"), since=at("2026-10-25 02:15"))
    assert not opening_of([window("02:15", "02:45", "Sun")], at("2026-10-25 02:30", fold=1)).open
    across = opening_of([window("02:30", "04:00", "Sun")], at("2026-10-25 02:10", fold=1))
    assert across == Opening(True, at("2026-10-25 04:00"), since=at("2026-10-25 02:30")), "it does not close in between"


def test_a_day_that_a_zone_left_out_has_no_window() -> None:
    apia = ZoneInfo("Pacific/Apia")
    assert moment(datetime.fromisoformat("2011-12-30T12:00"), apia) == datetime(2011, 12, 30, 10, tzinfo=UTC)
    found = opening_of([window("10:00", "12:00", "Fri", zone="Pacific/Apia")], datetime(2011, 12, 29, 0, tzinfo=UTC))
    assert found.edge == at("2012-01-06 10:00", "Pacific/Apia")


def test_windows_that_touch_are_one() -> None:
    both = [window("08:00", "10:00"), window("10:00", "12:00")]
    for now in ("2026-11-28 08:30", "2026-11-28 10:00", "2026-11-28 11:59"):
        assert opening_of(both, at(now)) == Opening(True, at("2026-11-28 12:00"), since=at("2026-11-28 08:00"))


def test_what_has_been_open_for_days_says_since_when_and_what_leaves_no_gap_does_not() -> None:
    days = [window("00:00", "00:00", "Mon", "Tue", "Wed", "Thu", "Fri")]
    for day in range(23, 28):
        found = opening_of(days, at(f"2026-11-{day} 15:00"))
        assert found == Opening(True, at("2026-11-28 00:00"), since=at("2026-11-23 00:00"))
    assert opening_of([window("06:00", "06:00")], at("2026-11-28 05:59")) == Opening(True)


def test_a_zone_that_nobody_knows_is_said_and_opens_nothing() -> None:
    found = opening_of([window("00:00", "00:00", zone="Europe/Wien")], at("2026-11-28 08:30"))
    assert (found.open, found.edge, found.wrong) == (False, None, True)
    assert "'Europe/Wien'" in found.message
    beside = opening_of([window("08:00", "09:00", zone="Nowhere"), window("08:00", "09:00")], at("2026-11-28 08:30"))
    assert (beside.open, beside.wrong) == (True, True)


def test_without_windows_it_is_always_open() -> None:
    assert opening_of([], datetime(1, 1, 1, tzinfo=UTC)) == Opening(True)


def test_a_clock_that_is_off_by_thousands_of_years_ends_nothing() -> None:
    for year in (1, 1970, 9999):
        opening_of([window("08:00", "09:00")], datetime(year, 12, 31, 23, 59, tzinfo=UTC))
