"""When an EdgeModel's files are looked at whose digest the spec does not give, and what is made of what was found.

The operator asks no bucket, server or registry itself: a resolve Job does, with the credentials of a build. What it
found is written into `status.sources`, and builds are made of what stands there and of nothing else. The Job stays
until it stands there, so whoever is killed between the two loses nothing.

Looks are spread: each EdgeModel has its own place within the interval, by its UID, and looks when that place is
passed. So a file is looked at no later than an interval after the last look, and a thousand EdgeModels that were made
at once are looked at together once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from edgesmith.api.conditions import Reason
from edgesmith.api.names import short_hash
from edgesmith.api.source import File
from edgesmith.api.source_status import SourceStatus
from edgesmith.api.units import parse_duration
from edgesmith.decide.build_jobs import Jobs, age, next_number
from edgesmith.decide.build_slots import RECHECK
from edgesmith.decide.builds import BuildState
from edgesmith.decide.conditions import Finding, Severity
from edgesmith.decide.digests import attempt_of, looked_at_fields, recorded, resolved_at
from edgesmith.decide.entries import time_text
from edgesmith.decide.found import answers_of, in_the_past, merged
from edgesmith.decide.job_times import ended_at
from edgesmith.decide.plan import Delete, StartBuild, StartLook
from edgesmith.decide.retry import Retry, cannot_start, failed, remaining
from edgesmith.decide.snapshot import ResolveJob, Snapshot
from edgesmith_builder.contract import FileToResolve

SIZES = "size-"
"""The beginning of the key of a resolve Job that asks for sizes alone; see `decide/sizes.py`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Place = tuple[str, int]
"""The profile's name, and which of its builds: that of `spec.source` is 0, its alternatives' follow."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Where the looks at one EdgeModel's files stand."""

    finding: Finding
    """What `SourceResolved` says."""
    builds: Mapping[Place, BuildState]
    """The builds that were given, without those of bytes that are known to be old, or are looked at anew."""
    entries: tuple[SourceStatus, ...] = ()
    """What `status.sources` is to say, in the order of the fields."""
    start: StartLook | None = None
    deletes: tuple[Delete, ...] = ()
    look_again: float | None = None
    """Seconds until time alone changes something."""
    waits: bool = False
    """A look is due and waits for a slot."""
    held: tuple[StartBuild, ...] = ()
    """Builds that start once it is known how large their models are."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A look that is to be made."""

    why: str
    """The end of a sentence."""
    trust: bool
    """Whether a place that says what it said last is to be believed."""


def asks_for_sizes(job: ResolveJob) -> bool:
    """Whether a resolve Job only asks how large files are whose digest the spec gives."""
    return job.key.startswith(SIZES)


def key_of(files: Mapping[str, File]) -> str:
    """Which files a resolve Job looks at, as a hash."""
    return short_hash("\n".join(f"{field} {file.uri}" for field, file in sorted(files.items())))


def next_look(after: datetime, interval: timedelta, uid: str) -> datetime:
    """When an EdgeModel's place within the interval is passed for the first time after a look.

    Args:
        after: When the look ended.
        interval: The time between two looks; more than zero.
        uid: The EdgeModel's.
    """
    place = interval * (int(short_hash(uid, 8), 16) / 2**32)
    return _EPOCH + place + ((after - _EPOCH - place) // interval + 1) * interval


def plan_looks(snapshot: Snapshot, builds: Mapping[Place, BuildState], now: datetime) -> Looks:
    """What to look at, and what is known.

    Args:
        snapshot: Everything that is known of the EdgeModel.
        builds: Its builds, which come first: a look has what slots they leave.
        now: The time.
    """
    files = looked_at_fields(snapshot.model)
    jobs = tuple(job for job in snapshot.resolve_jobs if not asks_for_sizes(job))
    if not files:
        deletes = tuple(Delete("Job", job.name, "The spec gives every digest.") for job in jobs)
        given = Finding(Severity.FINE, Reason.SUCCEEDED, "The spec gives the digest of every file.")
        return Looks(given, builds, deletes=deletes)
    return _Case(replace(snapshot, resolve_jobs=jobs), builds, files, now).looks()


class _Case:
    """One EdgeModel with files to look at."""

    def __init__(
        self, snapshot: Snapshot, builds: Mapping[Place, BuildState], files: Mapping[str, File], now: datetime
    ) -> None:
        self.snapshot, self.builds, self.files, self.now = snapshot, builds, files, now
        self.model = snapshot.model
        self.key, self.attempt = key_of(files), attempt_of(self.model)
        self.interval = parse_duration(self.model.spec.source.interval)
        self.before = in_the_past(recorded(self.model), now)
        own = sorted((job for job in snapshot.resolve_jobs if job.key == self.key), key=age)
        self.entries = merged(self.before, files, own, now)
        self.last = min(map(resolved_at, self.entries.values()), default=None)
        """When the look ended that knows least; None where there was none."""
        self.number = min((entry.look for entry in self.entries.values()), default=0)
        """That of its Job."""
        self.complete = self.entries.keys() == files.keys()
        answering = [job for job in own if job.attempt == self.attempt]
        self.running = next((job for job in reversed(answering) if not job.finished), None)
        self.ended = next((job for job in reversed(answering) if job.finished and self._in_vain(job)), None)

    def looks(self) -> Looks:
        due = self._due()
        start, wait = self._start(due)
        verdict = self._verdict()
        waits = start is not None and not self._fits()
        return Looks(
            self._finding(verdict, waits=waits),
            self._held(due, verdict),
            entries=tuple(self.entries[field] for field in self.files if field in self.entries),
            start=None if waits else start,
            deletes=tuple(self._deletes()),
            look_again=RECHECK if waits else wait,
            waits=waits,
        )

    def _in_vain(self, job: ResolveJob) -> bool:
        """Whether a Job that ended told nothing that is known since."""
        return not answers_of(job, self.files) and (self.last is None or not self.complete or job.number > self.number)

    def _due(self) -> _Due | None:
        """Whether a look is to be made now, whatever came of the last one; None where it is not."""
        if self.model.spec.rollout.paused or not self.snapshot.settings.builds:
            return None
        missing = [field for field in self.files if field not in self.entries]
        if missing or self.last is None:
            return _Due(f"the digest of spec.{missing[0]} is not known", trust=True)
        if any(entry.attempt != self.attempt for entry in self.entries.values()):
            return _Due("another try was asked for, or another Secret is named", trust=False)
        if any(self._found_others(state, self.last) for state in self.builds.values()):
            return _Due("a build found other bytes", trust=False)
        if self.interval and self._until(self.last) <= 0:
            return _Due(f"spec.source.interval is {self.model.spec.source.interval}", trust=True)
        return None

    def _found_others(self, state: BuildState, since: datetime | None) -> bool:
        """Whether a build came upon other bytes after a look."""
        ended = Jobs.of(self.snapshot, state.build).ended
        if state.phase == "Built" or ended is None or ended.failure is None or since is None:
            return False
        end = ended_at(ended, self.now)
        return ended.failure.reason == "DigestMismatch" and end is not None and end >= since

    def _start(self, due: _Due | None) -> tuple[StartLook | None, float | None]:
        """The Job to make now, and else the seconds until one may have to be made."""
        if self.running or self.model.spec.rollout.paused:
            return None, None
        if due is None:
            return None, self._until_next()
        wait = self._pause()
        if wait is None or wait > 0:
            return None, wait
        files = tuple(self._asked(field, file, trust=due.trust) for field, file in self.files.items())
        tries = self.ended.tries + 1 if self.ended else 0
        return StartLook(files, self.key, self.attempt, self.now, next_number(self.snapshot), due.why, tries), None

    def _asked(self, field: str, file: File, *, trust: bool) -> FileToResolve:
        entry = self.entries.get(field) if trust else None
        known = {"sha256": entry.sha256, "validator": entry.validator} if entry and entry.validator else {}
        return FileToResolve(field=field, uri=file.uri, **known)

    def _until_next(self) -> float | None:
        if self.last is None or not self.interval:
            return None
        return self._until(self.last)

    def _until(self, after: datetime) -> float:
        """Seconds until the interval's look after one."""
        return (next_look(after, self.interval, self.model.metadata.uid) - self.now).total_seconds()

    def _pause(self) -> float | None:
        """Seconds until the try after one that failed; None: not by itself.

        Files can change, so no failure is final: where no retry helps, the next look is one of the interval's.
        """
        verdict = self._verdict()
        if self.ended is None or verdict is None:
            return 0.0
        wait = remaining(verdict, self.ended, self.now)
        if wait is None and self.interval:
            ended = ended_at(self.ended, self.now)
            wait = self._until(ended) if ended else 0.0
        return wait

    def _verdict(self) -> Retry | None:
        """What the last look in vain means; None where there was none."""
        if self.ended is None:
            return None
        job = self.ended
        if job.succeeded:
            job = replace(job, failure_message="its pod went before its answer was read")
        found = failed(job)
        return replace(found, reason=Reason.RESOLVING) if found.reason is Reason.BUILDING else found

    def _fits(self) -> bool:
        """Whether there is a slot that no build wants."""
        snapshot = self.snapshot
        own = sum(state.start is not None or state.no_slot for state in self.builds.values())
        return snapshot.builds_running + own + snapshot.builds_waiting < snapshot.settings.max_concurrent_builds

    def _finding(self, verdict: Retry | None, *, waits: bool) -> Finding:
        kept = cannot_start(self.model, self.running) if self.running else None
        if self.complete:
            return self._known(kept or verdict)
        unknown = f"{_digests(field for field in self.files if field not in self.entries)} not known"
        if not self.snapshot.settings.builds:
            message = f"{unknown}, and no Job looks at files here (builder.enabled is false): give sha256 in the spec."
            return Finding(Severity.STALLED, Reason.DIGEST_NOT_GIVEN, message)
        if self.model.spec.rollout.paused:
            message = f"{unknown}, and spec.rollout.paused is true: nothing is looked at."
            return Finding(Severity.AWAITED, Reason.PAUSED, message)
        said = kept or verdict
        if said:
            reason = Reason.RESOLVING if said.reason is Reason.BUILDING else said.reason
            return Finding(Severity.RECONCILING if said.waiting else Severity.STALLED, reason, _sentence(said.message))
        limit = self.snapshot.settings.max_concurrent_builds
        how = f"waits: {limit} Jobs run already (builder.maxConcurrent)" if waits else "looks at what is there"
        return Finding(Severity.RECONCILING, Reason.RESOLVING, f"{unknown}; a Job {how}.")

    def _known(self, trouble: Retry | None) -> Finding:
        """Every digest is known: what runs and what is built stays, whatever a later look comes to."""
        if trouble and self.last:
            since = time_text(self.last)
            message = f"{_sentence(trouble.message)} What was found at {since} goes on to be used."
            return Finding(Severity.FINE, Reason.LOOK_FAILED, message)
        looks = self.interval and self.snapshot.settings.builds
        again = f"the next is made within {self.model.spec.source.interval}" if looks else "no other is made"
        message = f"{_digests(self.files)} known from a look; {again}."
        return Finding(Severity.FINE, Reason.SUCCEEDED, message)

    def _deletes(self) -> Iterable[Delete]:
        """Jobs that nobody needs: of other files or another try, and those whose answer stands in the status."""
        known = min((entry.look for entry in self.before.values()), default=0)
        complete = self.before.keys() == self.files.keys()
        for job in self.snapshot.resolve_jobs:
            if job is self.running or job is self.ended:
                continue
            if not job.finished or job.key != self.key or not answers_of(job, self.files):
                yield Delete("Job", job.name, "Another look was made, or is wanted.")
            elif complete and job.number <= known:
                yield Delete("Job", job.name, "What it found stands in the status.")

    def _held(self, due: _Due | None, verdict: Retry | None) -> dict[Place, BuildState]:
        """The builds, where none is made of bytes that are known to have changed.

        One that came upon other bytes waits for the look at them, unless that is in vain.
        """
        newer = any(entry.sha256 != self.entries[field].sha256 for field, entry in self.before.items())
        looked = min(map(resolved_at, self.before.values()), default=None)
        looking = due is not None and verdict is None
        return {
            name: _waiting(state)
            if (newer and state.start) or ((newer or looking) and self._found_others(state, looked))
            else state
            for name, state in self.builds.items()
        }


def _waiting(state: BuildState) -> BuildState:
    """A build whose files are looked at again."""
    name = state.profile.metadata.name
    message = f"A file of the build for {name} changed after it was looked at; what it is now is looked up."
    return replace(
        state, phase="Waiting", reason=Reason.RESOLVING, message=message, start=None, look_again=None, no_slot=False
    )


def _digests(names: Iterable[str]) -> str:
    """The beginning of a sentence about the digests of fields."""
    *before, last = (f"spec.{name}" for name in names)
    return f"The digests of {', '.join(before)} and {last} are" if before else f"The digest of {last} is"


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}."
