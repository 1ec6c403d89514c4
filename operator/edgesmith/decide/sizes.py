"""How large models are whose digest the spec gives: asked once, before the first build that has to know it.

A digest says which file is meant and nothing of its size. So where a device's memory is known, a resolve Job asks the
place for the size alone, and `status.sources` keeps the answer as long as the digest stays, an answer that nobody could
give among them. Builds wait for it, and for no more than a bounded time: whatever keeps the place from answering keeps
the build from its file, too, and the build says it better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from edgesmith.api.conditions import Reason
from edgesmith.api.edgemodel import SOURCE, EdgeModel
from edgesmith.api.names import short_hash
from edgesmith.api.source import Compiled, ModelFile
from edgesmith.api.source_status import SourceStatus
from edgesmith.decide.build_jobs import age, next_number
from edgesmith.decide.builds import BuildState
from edgesmith.decide.digests import answered, attempt_of, measured, sizeless
from edgesmith.decide.entries import time_text
from edgesmith.decide.fitting import on_the_device
from edgesmith.decide.found import answers_of
from edgesmith.decide.job_times import ended_at, since_asked
from edgesmith.decide.plan import Delete, StartLook
from edgesmith.decide.snapshot import ResolveJob, Snapshot
from edgesmith.decide.sources import SIZES, Looks, Place, asks_for_sizes
from edgesmith_builder.contract import FileToResolve

PATIENCE = 60.0
"""Seconds that builds wait for an answer. A place answers in one; most of it is for a pod that waits for its image,
which the build's would wait for as well."""

Files = Mapping[str, ModelFile | Compiled]


def with_sizes(snapshot: Snapshot, looks: Looks, now: datetime) -> Looks:
    """The looks of an EdgeModel, with the one that asks for sizes.

    It takes the slot of a build that waits for it, so that it makes nobody wait who would not.

    Args:
        snapshot: Everything that is known of the EdgeModel.
        looks: Its looks at files without a digest, with its builds.
        now: The time.
    """
    model = snapshot.model
    known = answered(model)
    asked = {field: file for field, file in sizeless(model).items() if field not in known}
    key, attempt = key_of(asked), attempt_of(model)
    own = [job for job in snapshot.resolve_jobs if job.key == key and job.attempt == attempt] if asked else []
    job = max(own, key=age, default=None)
    over = job is not None and (job.finished or _left(job, now) <= 0)
    held = {} if model.spec.rollout.paused else _held(model, looks.builds, asked)
    entries = {one.field: one for one in looks.entries} | measured(model)
    if job is not None and over:
        entries |= _found(job, asked, attempt, now)
    waits = [looks.look_again, _left(job, now) if job is not None and not over and held else None]
    return replace(
        looks,
        builds={**looks.builds, **{place: _waiting(state) for place, state in held.items()}},
        held=tuple(state.start for state in held.values() if state.start),
        entries=tuple(entries[field] for field in model.spec.files if field in entries),
        start=_start(asked, key, attempt, now, next_number(snapshot)) if held and job is None else looks.start,
        deletes=(*looks.deletes, *_deletes(snapshot, job, now)),
        look_again=min((wait for wait in waits if wait is not None), default=None),
    )


def key_of(files: Files) -> str:
    """Which files are asked about, as a hash; another digest at the same place is another file."""
    return SIZES + short_hash("\n".join(f"{field} {file.uri} {file.sha256}" for field, file in sorted(files.items())))


def _held(model: EdgeModel, builds: Mapping[Place, BuildState], asked: Files) -> dict[Place, BuildState]:
    """The builds that are to start and whose device may be too small for a file that is asked about.

    One that is made of layers of an image before it had its model on the device already.
    """
    named = {one.name: one for one in model.spec.optimize.alternatives}
    return {
        place: state
        for place, state in builds.items()
        if state.start
        and state.start.earlier is None
        and state.profile.memory is not None
        and asked.keys() & on_the_device(model, state.profile, named.get(state.alternative or SOURCE)).keys()
    }


def _waiting(state: BuildState) -> BuildState:
    message = f"The build for {state.profile.metadata.name} waits until a Job has asked how large its model is."
    return replace(state, phase="Waiting", reason=Reason.RESOLVING, message=message, start=None, look_again=None)


def _start(asked: Files, key: str, attempt: str, now: datetime, number: int) -> StartLook:
    files = tuple(
        FileToResolve(field=field, uri=file.uri, sha256=file.sha256, given=True) for field, file in asked.items()
    )
    return StartLook(files, key, attempt, now, number, "its size is not known, and a device's memory is")


def _left(job: ResolveJob, now: datetime) -> float:
    """Seconds that are left to a Job."""
    return PATIENCE - since_asked(job, now)


def _found(job: ResolveJob, asked: Files, attempt: str, now: datetime) -> dict[str, SourceStatus]:
    """What came of a Job: for each file its size, or that it could not be had."""
    answers = answers_of(job, asked)
    return {
        field: SourceStatus(
            field=field,
            uri=file.uri,
            sha256=file.sha256 or "",
            bytes=answers[field].bytes if field in answers and answers[field].sha256 == file.sha256 else None,
            resolved_at=time_text(ended_at(job, now) or now),
            look=job.number,
            attempt=attempt,
        )
        for field, file in asked.items()
    }


def _deletes(snapshot: Snapshot, job: ResolveJob | None, now: datetime) -> Iterable[Delete]:
    """Jobs that nobody waits for: their answer stands, was awaited too long, or is about other files."""
    for one in filter(asks_for_sizes, snapshot.resolve_jobs):
        if one is not job:
            yield Delete("Job", one.name, "What it was asked stands in the status, or nobody asks it.")
        elif not one.finished and _left(one, now) <= 0:
            yield Delete("Job", one.name, f"No answer came in {PATIENCE:.0f} s; nobody waits for it any more.")
