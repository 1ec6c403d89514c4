"""The Jobs of a build, and what they say of it: whether one is at work, how the last one ended, which attempt it is."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import short_hash
from edgesmith.api.source import Dataset
from edgesmith.api.source_status import SourceStatus
from edgesmith.decide.entries import entries_of
from edgesmith.decide.retry import Retry, cannot_start, failed, requested
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import BuilderJob, BuildJob, Snapshot
from edgesmith_builder.contract import Build

STARTS = 3
"""After how many Jobs that ended before their builder could start a build is no longer awaited by others."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """The Jobs of one build that count for the present attempt."""

    running: BuildJob | None
    """The newest that has not ended, or another EdgeModel's that is at work on the same key."""
    ended: BuildJob | None
    """The newest that has ended."""

    @classmethod
    def of(cls, snapshot: Snapshot, build: Build) -> Jobs:
        """The Jobs of a build."""
        jobs = answering(snapshot, build)
        running = next((job for job in reversed(jobs) if not job.finished), None)
        ended = next((job for job in reversed(jobs) if job.finished), None)
        return cls(running or _elsewhere(snapshot, build.key), ended)

    @property
    def tried_in_vain(self) -> bool:
        """Whether the last one failed; one whose builder never ran has not, unless it happens over and over."""
        ended = self.ended
        return ended is not None and not ended.succeeded and (ended.ran or ended.tries + 1 >= STARTS)

    def hindered(self, model: EdgeModel) -> Retry | None:
        """What is wrong with a build that a Job is at work on.

        A try after a failure keeps the failure's words until it has done better.
        """
        kept = cannot_start(model, self.running) if self.running else None
        if kept or self.ended is None or self.ended.succeeded:
            return kept
        return failed(self.ended)

    def whose(self, model: EdgeModel) -> str:
        """The end of a sentence that says for which other EdgeModel a Job is at work too."""
        other = self.running.model if self.running else ""
        return f", for EdgeModel {other} too" if other not in ("", model.metadata.name) else ""


def attempt_of(model: EdgeModel, settings: Settings | None = None, build: Build | None = None) -> str:
    """What a build Job answers beside its key, as a hash: the retry that was asked for, and what the key leaves out.

    A file whose digest is given is not known by its place or its size, and no build by its credentials; where one of
    them was why a build failed, correcting it must start the next try. So must a signature that is asked for from now
    on: a Job that ended before may have signed nothing.

    Args:
        model: The EdgeModel.
        settings: The installation's.
        build: Which of its builds; None: that of `spec.source`.
    """
    spec = model.spec
    files = (spec.source, spec.calibration, spec.evaluation)
    own = [build.source.uri] if build is not None and build.reference is not None else []
    own += [build.compiled.uri] if build is not None and build.compiled is not None else []
    sized = {field: file.bytes for field, file in spec.files.items() if not isinstance(file, Dataset)}
    own += [f"{field} {size}" for field, size in sized.items() if size is not None]
    keys = [settings.signed_by, settings.signing_secret or ""] if settings and settings.signed_by else []
    places = [file.uri if file else "" for file in files]
    return short_hash("\n".join([requested(model), spec.source.secret or "", *places, *own, *keys]))


def answering(snapshot: Snapshot, build: Build) -> list[BuildJob]:
    """The Jobs for a build that answer the present attempt, whichever EdgeModel they are of, from old to new.

    What one of them found out, another would too: it has the same inputs and fetches them from the same places with the
    same credentials.
    """
    attempt, key = attempt_of(snapshot.model, snapshot.settings, build), build.key
    jobs = (*snapshot.jobs, *snapshot.other_jobs)
    return sorted((job for job in jobs if job.key == key and job.attempt == attempt), key=age)


def _elsewhere(snapshot: Snapshot, key: str) -> BuildJob | None:
    """Another EdgeModel's Job at work on a key, with other credentials or places, that is not held up by them."""
    return next(
        (job for job in snapshot.other_jobs if job.key == key and not job.finished and not job.failure_message), None
    )


def age(job: BuilderJob) -> tuple[int, bool, float, int, str]:
    """Sorts Jobs from old to new, by their numbers: clocks can be set.

    Of those that were made in one pass, one that has not started is newer than any that has.
    """
    started = job.started_at.timestamp() if job.started_at else 0.0
    return job.number, job.started_at is None, started, job.tries, job.name


def next_number(snapshot: Snapshot) -> int:
    """The number of the next Job: higher than those of all that are there, and of the looks that the status has."""
    jobs = (*snapshot.jobs, *snapshot.other_jobs, *snapshot.resolve_jobs)
    looks = (one.look for one in entries_of(snapshot.model.status, "sources", SourceStatus))
    return 1 + max((*(job.number for job in jobs), *looks), default=0)
