"""What resolve Jobs found, as the status keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from edgesmith.api.source import File
from edgesmith.api.source_status import SourceStatus
from edgesmith.decide.digests import resolved_at
from edgesmith.decide.entries import time_text
from edgesmith.decide.job_times import ended_at
from edgesmith.decide.snapshot import ResolveJob
from edgesmith_builder.contract import ResolvedFile


def merged(
    before: Mapping[str, SourceStatus], files: Mapping[str, File], jobs: Iterable[ResolveJob], now: datetime
) -> dict[str, SourceStatus]:
    """What is known with what Jobs found since; of two looks the one with the higher number is right."""
    entries = dict(before)
    for job in jobs:
        found = answers_of(job, files)
        if not found:
            continue
        for field, file in files.items():
            entry, seen = entries.get(field), found[field]
            if entry is None or job.number > entry.look:
                entries[field] = SourceStatus(
                    field=field,
                    uri=file.uri,
                    sha256=seen.sha256,
                    bytes=_bytes(entry, seen),
                    validator=seen.validator,
                    resolved_at=time_text(ended_at(job, now) or now),
                    look=job.number,
                    attempt=job.attempt,
                )
    return entries


def _bytes(before: SourceStatus | None, seen: ResolvedFile) -> int | None:
    """How many bytes a file has: the same bytes have the number that was found first, when they were read."""
    same = before is not None and before.sha256 == seen.sha256
    return (before.bytes if before is not None and same else None) or seen.bytes


def answers_of(job: ResolveJob, files: Mapping[str, File]) -> dict[str, ResolvedFile]:
    """What a Job found of every file, by its field; empty where it does not say so of each."""
    found = {one.field: one for one in job.found.files} if job.found else {}
    return found if files.keys() <= found.keys() else {}


def in_the_past(entries: Mapping[str, SourceStatus], now: datetime) -> dict[str, SourceStatus]:
    """What is known, with no time that is still to come, which counts as now and is written so.

    Where the hub's clock was set back, the next look is an interval away at most, at the EdgeModel's own place in it.
    """
    return {
        field: one.model_copy(update={"resolved_at": time_text(now)}) if resolved_at(one) > now else one
        for field, one in entries.items()
    }
