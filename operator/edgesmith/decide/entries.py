"""Entries of a status, read one by one: what somebody else has written there costs that entry and no other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel

_Entry = TypeVar("_Entry", bound=BaseModel)


def entries_of(status: Mapping[str, Any], field: str, kind: type[_Entry]) -> Iterator[_Entry]:
    """Read a list of a status; an entry that cannot be read is left out.

    Args:
        status: The EdgeModel's status as it stands.
        field: The list's name in it.
        kind: What its entries are.
    """
    for entry in listed(status, field):
        try:
            yield kind.model_validate(entry)
        except ValueError:
            continue


def listed(status: Mapping[str, Any], field: str) -> Iterator[Mapping[str, Any]]:
    """The entries of a list as they stand; what is no entry is left out.

    Args:
        status: The EdgeModel's status, or an entry of it with a list of its own.
        field: The list's name in it.
    """
    entries = status.get(field)
    yield from (entry for entry in (entries if isinstance(entries, list) else ()) if isinstance(entry, Mapping))


def time_text(time: datetime) -> str:
    """A time as the status has it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of(text: str) -> datetime:
    """The time that a status has.

    Raises:
        ValueError, OverflowError: It is none.
    """
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def past_text(text: Any, now: datetime) -> str:
    """A time of a status as it stands, or now where it is none or still to come: a clock was set back since."""
    try:
        return text if time_of(text) <= now else time_text(now)
    except (TypeError, ValueError, OverflowError):
        return time_text(now)
