"""Quantities, durations and int-or-percent, as Kubernetes writes them.

Every value has an upper bound: without one, a value that the schema accepts could not be computed with, and the pass
that reads it would end in an exception each time.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field

from edgesmith.api.model import fits, rules

_SUFFIXES: dict[str, int | Decimal] = {
    "m": Decimal("0.001"), "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_MICROSECONDS = {"ms": 10**3, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6}

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$"
AMOUNT_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
"""Of any resource: thousandths, too."""
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
PERCENT_PATTERN = r"^(100|[1-9][0-9]?)%$"

DURATION_MESSAGE = "must be a duration such as 50ms, 90s or 1h30m"

LONGEST = timedelta(days=365)
"""The longest duration: one year, `8760h`."""
SHORTEST = timedelta(microseconds=1)
"""The shortest duration that is not zero: `0.001ms`."""
MOST_BYTES = 2**60
"""The largest quantity of bytes: 1 EiB, `1048576Ti`."""
MAX_LENGTH = 32
"""Characters of a duration or a quantity in a spec."""


def parse_bytes(value: str | int) -> int:
    """Bytes of a Quantity such as `512Mi`, rounded down; a number is bytes.

    Raises:
        ValueError: It is not a quantity of bytes, or is one of more than 1 EiB.
    """
    text = str(value)
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?", text)
    if not match:
        raise ValueError(f"{_shown(text)} is not a quantity such as 512Mi")
    found = Decimal(match[1]) * _SUFFIXES[match[2] or ""]
    if found > MOST_BYTES:
        raise ValueError(f"{_shown(text)} is too large; 1048576Ti (1 EiB) or less was expected")
    return int(found)


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> timedelta:
    """The length of a duration such as `50ms`, `5m` or `1h30m`, in whole microseconds, rounded down.

    The same few are asked for once for every node in a pass, so what they are is kept.

    Raises:
        ValueError: The text is not a duration, or is one of more than a year.
    """
    if not re.fullmatch(DURATION_PATTERN.strip("^$"), text):
        raise ValueError(f"{_shown(text)} is not a duration such as 50ms, 90s or 1h30m")
    parts = re.findall(r"([0-9.]+)(ms|s|m|h)", text)
    value = sum((Decimal(number) * _MICROSECONDS[unit] for number, unit in parts), Decimal(0))
    if value > LONGEST // timedelta(microseconds=1):
        raise ValueError(f"{_shown(text)} is too long; 8760h (one year) or less was expected")
    return timedelta(microseconds=int(value))


def parse_share(value: int | str, total: int) -> int:
    """A count given as a number or a percentage of `total`, rounded down but never below one.

    Rounding a small fleet's 20 % down to nothing would be a rollout that never moves.
    """
    if isinstance(value, int):
        return max(value, 1)
    return max(math.floor(total * int(value.rstrip("%")) / 100), 1)


def _shown(text: str) -> str:
    """A value for a message, shortened where it is longer than any that is accepted."""
    return repr(text) if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]!r}… ({len(text)} characters)"


def _is_duration(text: str) -> str:
    parse_duration(text)
    return text


def _is_positive_duration(text: str) -> str:
    if parse_duration(text) < SHORTEST:
        raise ValueError(f"{_shown(text)} is too short; 0.001ms or more was expected")
    return text


def _is_deadline(text: str) -> str:
    if parse_duration(text) < timedelta(seconds=1):
        raise ValueError(f"{_shown(text)} is too short; 1s or more was expected")
    return text


def _is_interval(text: str) -> str:
    if timedelta() < parse_duration(text) < timedelta(minutes=1):
        raise ValueError(f"{_shown(text)} is too short; 0s, or 1m or more was expected")
    return text


def _is_size(value: int | str) -> int | str:
    if parse_bytes(value) < 1:
        raise ValueError(f"{_shown(str(value))} is too small; 1 or more was expected")
    return value


_FITS = fits(DURATION_MESSAGE)
_AT_MOST_A_YEAR = {"duration(self) <= duration('8760h')": "must be 8760h (one year) or less"}

Duration = Annotated[
    str,
    Field(pattern=DURATION_PATTERN, max_length=MAX_LENGTH, json_schema_extra=_FITS | rules(_AT_MOST_A_YEAR)),
    AfterValidator(_is_duration),
]
"""A duration in a spec, from `0s` to one year."""

PositiveDuration = Annotated[
    str,
    Field(
        pattern=DURATION_PATTERN,
        max_length=MAX_LENGTH,
        json_schema_extra=_FITS
        | rules({"duration(self) >= duration('1us')": "must be 0.001ms or more, so more than 0"} | _AT_MOST_A_YEAR),
    ),
    AfterValidator(_is_positive_duration),
]
"""A duration in a spec, longer than zero."""

Deadline = Annotated[
    str,
    Field(
        pattern=DURATION_PATTERN,
        max_length=MAX_LENGTH,
        json_schema_extra=_FITS | rules({"duration(self) >= duration('1s')": "must be 1s or more"} | _AT_MOST_A_YEAR),
    ),
    AfterValidator(_is_deadline),
]
"""A duration in a spec, from one second to one year."""

Interval = Annotated[
    str,
    Field(
        pattern=DURATION_PATTERN,
        max_length=MAX_LENGTH,
        json_schema_extra=_FITS
        | rules(
            {"(duration(self) == duration('0s') || duration(self) >= duration('1m'))": "must be 0s, or 1m or more"}
            | _AT_MOST_A_YEAR
        ),
    ),
    AfterValidator(_is_interval),
]
"""The time between two looks at something in a spec: from one minute to one year, or `0s` for one look alone."""

SIZE_RULES = {
    "quantity(string(self)).compareTo(quantity('1')) >= 0": "must be 1 or more",
    "quantity(string(self)).compareTo(quantity('1048576Ti')) <= 0": "must be 1048576Ti (1 EiB) or less",
}
"""The bounds of a `Size` in CEL."""

Size = Annotated[int | str, Field(json_schema_extra={"x-edgesmith-schema": "size"}), AfterValidator(_is_size)]
"""A quantity of bytes in a spec, from one byte to 1 EiB: a Quantity, or a number of bytes."""
