"""Jobs as they are when they have just been made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from edgesmith.decide.snapshot import BuildJob, ResolveJob

_RUNS: dict[str, Any] = {
    "finished": False,
    "succeeded": False,
    "failure": None,
    "failure_message": None,
    "finished_at": None,
}
"""What a Job is that has not ended."""


def new_job(
    name: str, key: str, at: str, attempt: str, started: datetime, *, number: int = 1, tries: int = 0
) -> BuildJob:
    """A build Job that has just been made for a profile."""
    return BuildJob(name=name, key=key, profile=at, attempt=attempt, **_made(started, number, tries))


def new_look(name: str, key: str, attempt: str, started: datetime, *, number: int = 1, tries: int = 0) -> ResolveJob:
    """A resolve Job that has just been made."""
    return ResolveJob(name=name, key=key, attempt=attempt, **_made(started, number, tries))


def _made(at: datetime, number: int, tries: int) -> dict[str, Any]:
    """What is said alike of every Job; its times are those of one clock."""
    return {"started_at": at, "asked_at": at, "number": number, "tries": tries, **_RUNS}
