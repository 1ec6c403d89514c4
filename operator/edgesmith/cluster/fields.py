"""Reading objects that others wrote: whatever is missing or of another type than promised is None, never an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

_TIMES_KEPT = 1024
"""Times that are shared between objects, for memory alone: what a controller makes in one second has the same."""

Raw = Mapping[str, Any]
"""An object, or a part of one, as it came over the wire."""


def mapping(value: Any) -> Raw:
    """The value if it is a mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> Iterator[Raw]:
    """The mappings of a list; nothing where it is no list."""
    if isinstance(value, list | tuple):
        yield from (item for item in value if isinstance(item, Mapping))


def at(raw: Any, *path: str) -> Any:
    """The value at a path, or None."""
    for key in path:
        raw = mapping(raw).get(key)
    return raw


def text(raw: Any, *path: str) -> str:
    """The string at a path, or an empty one."""
    value = at(raw, *path)
    return value if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """A finite JSON number, or None; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) != float("inf") and value == value else None  # noqa: PLR0124 - NaN


def version_number(value: Any) -> int:
    """A resourceVersion as a number; 0 where it is none.

    They can be compared as such (Kubernetes API concepts, resource versions).
    """
    return int(value) if isinstance(value, str) and value.isdigit() else 0


def time_of(value: Any) -> datetime | None:
    """An RFC 3339 time, or None."""
    return _time_of(value) if isinstance(value, str) else None


@lru_cache(maxsize=_TIMES_KEPT)
def _time_of(value: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def json_object(value: Any) -> Raw | None:
    """The JSON object that a string holds, or None; NaN and Infinity are refused, JSON has none."""
    if not isinstance(value, str):
        return None
    try:
        found = json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, Mapping) else None


def last_json_line(value: Any) -> Raw | None:
    """The JSON object on the last line of a text that is not empty, or None."""
    if not isinstance(value, str) or not value.strip():
        return None
    return json_object(value.strip().splitlines()[-1])


def _refuse(constant: str) -> float:
    raise ValueError(constant)
