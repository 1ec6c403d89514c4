"""What resolve Jobs found, as the status keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from edgesmith.api.source import File
from edgesmith.api.source_status import SourceStatus
from edgesmith.decide.digests import resolved_at
from edgesmith.decide.snapshot import BuilderJob, ResolveJob
from edgesmith_builder.contract import ResolvedFile

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""Of times in the status, which are in UTC."""


def merged(
    before: Mapping[str, SourceStatus], files: Mapping[str, File], jobs: Iterable[ResolveJob], now: datetime
) -> dict[str, SourceStatus]:
    """What is known with what Jobs found since; of two looks the later one is right."""
    entries = dict(before)
    for job in jobs:
        found, end = answers_of(job, files), ended_at(job, now)
        if not found:
            continue
        for field, file in files.items():
            entry, seen = entries.get(field), found[field]
            if entry is None or resolved_at(entry) <= end:
                entries[field] = SourceStatus(
                    field=field,
                    uri=file.uri,
                    sha256=seen.sha256,
                    bytes=_bytes(entry, seen),
                    validator=seen.validator,
                    resolved_at=end.strftime(TIME_FORMAT),
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


def ended_at(job: BuilderJob, now: datetime) -> datetime:
    """When a Job ended, in whole seconds as Kubernetes has it."""
    return (job.finished_at or now).astimezone(UTC).replace(microsecond=0)
