"""How long ago Jobs of the builder were asked for and ended, by the hub's clock as it is now.

Kubernetes has a Job's times from its own clock, and either clock may have been set since. So only the difference of two
of its times is used, from when the operator asked for the Job on. What would lie in the future says nothing: whoever
waits for it does not wait, and the Job that is made then has a time of the present clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf

from edgesmith.decide.snapshot import BuilderJob


def ended_at(job: BuilderJob, now: datetime) -> datetime | None:
    """When a Job ended, in whole seconds; None where nobody can tell.

    Args:
        job: A Job that has ended.
        now: The hub's time.
    """
    asked = job.asked_at or job.started_at or job.finished_at
    if asked is None:
        return None
    took = job.finished_at - job.started_at if job.finished_at and job.started_at else timedelta(0)
    end = asked + max(took, timedelta(0))
    return end.astimezone(UTC).replace(microsecond=0) if end <= now else None


def since_end(job: BuilderJob, now: datetime) -> float:
    """Seconds since a Job ended; infinite where nobody can tell."""
    end = ended_at(job, now)
    return (now - end).total_seconds() if end else inf


def since_asked(job: BuilderJob, now: datetime) -> float:
    """Seconds since a Job was asked for; infinite where nobody can tell."""
    asked = job.asked_at or job.started_at
    return (now - asked).total_seconds() if asked and asked <= now else inf
