"""Which Jobs answer for a build, and the next one to make, with why.

What a Job answers is its build key and its attempt. Why it is made is what differs from the build before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import short_hash
from edgesmith.decide.changes import changes
from edgesmith.decide.digests import looked_at_files
from edgesmith.decide.plan import Change, StartBuild
from edgesmith.decide.retry import requested
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import BuilderJob, BuildJob, Snapshot
from edgesmith_builder.contract import Build


def attempt_of(model: EdgeModel, settings: Settings | None = None, build: Build | None = None) -> str:
    """What a build Job answers beside its key, as a hash: the retry that was asked for, and what the key leaves out.

    A file whose digest is given is not known by its place, and no build by its credentials; where one of them was why
    a build failed, correcting it must start the next try. So must a signature that is asked for from now on: a Job that
    ended before may have signed nothing.

    Args:
        model: The EdgeModel.
        settings: The installation's.
        build: Which of its builds; None: that of `spec.source`.
    """
    spec = model.spec
    files = (spec.source, spec.calibration, spec.evaluation)
    own = [build.source.uri] if build is not None and build.reference is not None else []
    own += [build.compiled.uri] if build is not None and build.compiled is not None else []
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


def age(job: BuilderJob) -> tuple[bool, float, int, str]:
    """Sorts Jobs from old to new; one that has not started is newer than any that has."""
    return job.started_at is None, job.started_at.timestamp() if job.started_at else 0.0, job.tries, job.name


def start_of(snapshot: Snapshot, profile: DeviceProfile, build: Build, known: str | None, tries: int) -> StartBuild:
    """The Job to make, with why."""
    attempt = attempt_of(snapshot.model, snapshot.settings, build)
    if known:
        return StartBuild(profile, build, attempt, (Change("image", known, None),), tries)
    reason = changes(build, _before(snapshot, profile, build), looked_at_files(snapshot.model, build))
    tried = (job.reason for job in snapshot.jobs if job.key == build.key and job.reason)
    return StartBuild(profile, build, attempt, reason or next(tried, ()), tries)


def _before(snapshot: Snapshot, profile: DeviceProfile, build: Build) -> Mapping[str, Any] | None:
    """The build that a new one takes the place of, as JSON: the newest; for an alternative, the one most like it.

    Where none of them has a DaemonSet, it is what the newest Job was to make.
    """
    name = profile.metadata.name
    revisions = sorted(snapshot.revisions, key=lambda revision: (revision.created, revision.name), reverse=True)
    jobs = sorted(snapshot.jobs, key=age, reverse=True)
    ran = [one.build for one in revisions if one.profile == name]
    asked = [one.build for one in jobs if one.profile == name and one.key != build.key and one.build]
    kind = build.reference is not None
    for builds in (ran, asked):
        ours = [one for one in builds if ("reference" in one) == kind]
        if ours:
            return min(ours, key=lambda one: len(changes(build, one))) if kind else ours[0]
    return None


def why(start: StartBuild, settings: Settings) -> str:
    """The changed fields, and what becomes of a build whose base image alone is another, for a sentence."""
    fields = [change.field for change in start.reason]
    if fields == ["base"] and settings.signing_secret:
        return ": base changed; it is not compiled again where the build before it is signed by the same key"
    return f": {', '.join(fields)} changed" if fields else ""
