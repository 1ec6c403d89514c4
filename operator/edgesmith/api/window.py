"""When a rollout may go on: windows of the week in a time zone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgesmith.api.model import Model, fits, rules

TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
ZONE_PATTERN = r"^[A-Za-z][A-Za-z0-9_+/-]*$"
ZONE_MESSAGE = "must be a name of the IANA time zone database, such as Europe/Vienna"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
"""In the order of `datetime.weekday`."""
Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

_TIME = fits("must be a time of day from 00:00 to 23:59, as 22:00 is")


class Window(Model):
    """A time of the week in which nodes may be given another revision."""

    days: tuple[Day, ...] = Field(
        (),
        max_length=7,
        description="Days on which it begins. Empty: every day.",
        json_schema_extra={"x-set": True, "x-member": "A day."},
    )
    start: str = Field(
        pattern=TIME_PATTERN, max_length=16, description="When it begins: 22:00, say.", json_schema_extra=_TIME
    )
    end: str = Field(
        pattern=TIME_PATTERN,
        max_length=16,
        json_schema_extra=_TIME,
        description="When it ends. Not later than start: on the next day, so the same time is 24 hours.",
    )
    time_zone: str = Field(
        "UTC",
        pattern=ZONE_PATTERN,
        max_length=64,
        description="Whose clock that is: a name of the IANA time zone database, Europe/Vienna say.",
        json_schema_extra=fits(ZONE_MESSAGE)
        | rules({"(self != 'Local' && timestamp('2026-01-01T12:00:00Z').getFullYear(self) == 2026)": ZONE_MESSAGE}),
    )
