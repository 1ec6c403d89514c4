"""What the hub knows of when a Job was asked for and ended, whatever clocks did meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from math import inf

import pytest
from new_jobs import new_job
from snapshots import NOW, failed_job, job, model, profile, snapshot

from edgesmith.decide.build_jobs import Jobs, answering, next_number
from edgesmith.decide.builds import build_for
from edgesmith.decide.job_times import ended_at, since_asked, since_end
from edgesmith.decide.retention import old_jobs
from edgesmith.decide.retry import Retry, failed, remaining
from edgesmith.decide.snapshot import BuildJob

YEARS = timedelta(days=1500)
MINUTE = timedelta(minutes=1)


def ended(asked: datetime | None, started: datetime | None, finished: datetime | None) -> BuildJob:
    made = new_job("j", "k", "pi", "", NOW)
    return replace(made, finished=True, asked_at=asked, started_at=started, finished_at=finished)


@pytest.mark.parametrize(
    ("asked", "started", "finished", "end"),
    [
        (NOW - 2 * MINUTE, NOW - 2 * MINUTE, NOW - MINUTE, NOW - MINUTE),
        (NOW - 2 * MINUTE, NOW + YEARS, NOW + YEARS + MINUTE, NOW - MINUTE),
        (NOW - 2 * MINUTE, NOW - YEARS, NOW - YEARS + MINUTE, NOW - MINUTE),
        (NOW - MINUTE, NOW + YEARS, NOW, NOW - MINUTE),
        (NOW - MINUTE, NOW, NOW + YEARS, None),
        (NOW + YEARS, NOW + YEARS, NOW + YEARS + MINUTE, None),
        (NOW + YEARS, NOW - 2 * MINUTE, NOW - MINUTE, None),
        (NOW - MINUTE, None, None, NOW - MINUTE),
        (None, NOW - 2 * MINUTE, NOW - MINUTE, NOW - MINUTE),
        (None, None, NOW - MINUTE, NOW - MINUTE),
        (None, None, NOW + MINUTE, None),
        (None, None, None, None),
    ],
)
def test_a_job_ended_as_long_after_it_was_asked_for_as_it_took(
    asked: datetime | None, started: datetime | None, finished: datetime | None, end: datetime | None
) -> None:
    found = ended(asked, started, finished)
    assert ended_at(found, NOW) == end
    assert since_end(found, NOW) == ((NOW - end).total_seconds() if end else inf)


@pytest.mark.parametrize(
    ("asked", "started", "seconds"),
    [
        (NOW - MINUTE, NOW + YEARS, 60),
        (NOW + MINUTE, NOW - MINUTE, inf),
        (None, NOW - MINUTE, 60),
        (None, None, inf),
    ],
)
def test_a_job_was_asked_for_by_the_hubs_clock(
    asked: datetime | None, started: datetime | None, seconds: float
) -> None:
    assert since_asked(replace(ended(asked, started, None), finished=False), NOW) == seconds


@pytest.mark.parametrize("years", range(-5, 6))
def test_no_pause_is_longer_than_itself_by_the_present_clock(years: int) -> None:
    of = model()
    made = failed_job(of, "SourceUnreachable", retry=True, tries=9)
    made = replace(made, asked_at=NOW + years * YEARS, started_at=NOW + years * YEARS)
    made = replace(made, finished_at=NOW + years * YEARS + MINUTE)
    verdict: Retry = failed(made)
    left = remaining(verdict, made, NOW + 2 * MINUTE)
    assert left is not None
    assert verdict.delay is not None
    assert left <= verdict.delay
    assert (left > 0) == (years == 0)


def test_the_newest_job_is_the_one_with_the_highest_number_whatever_its_times_say() -> None:
    of = model()
    before = job(of, number=3, name="before", finished=True, succeeded=False)
    before = replace(before, asked_at=NOW + YEARS, started_at=NOW + YEARS, finished_at=NOW + YEARS)
    later = failed_job(of, "SourceUnreachable", retry=True, number=4, tries=1, name="later")
    build = build_for(of, profile(), snapshot().settings)
    for jobs in ((before, later), (later, before)):
        seen = snapshot(of, jobs=jobs)
        assert [one.name for one in answering(seen, build)] == ["before", "later"]
        assert Jobs.of(seen, build).ended == later
        assert [one.name for one in old_jobs(jobs, {build.key})] == ["before"]
        assert next_number(seen) == 5


def test_a_number_is_higher_than_those_of_other_edge_models_jobs_and_of_looks() -> None:
    of = model()
    assert next_number(snapshot(of)) == 1
    assert next_number(snapshot(of, other_jobs=(job(of, number=8),))) == 9
    entry = {"field": "source", "uri": "u", "sha256": "a" * 64, "resolvedAt": "2030-01-01T11:00:00Z", "look": 20}
    known = of.model_copy(update={"status": {"sources": [entry]}})
    assert next_number(snapshot(known, other_jobs=(job(of, number=8),))) == 21
