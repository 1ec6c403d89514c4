"""What the operator saw of a node and when, kept in an annotation of the node so that a restart finds it.

Pods and nodes carry the times of their own clocks, and an edge device's clock can be years off. So the operator writes
down its own: since when it has seen a server in its state, when it moved the node, since when the node is NotReady. The
annotation has the key of the node's label and is written by the same call.

A kubelet may write annotations of its own node. It could shorten its own bake or hide its own failure, which harms
nobody else; times in the future count as now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from edgesmith.decide.fleet import Failure, ServerState
from edgesmith.decide.room import NOTE_LIMIT, NoRoom

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_FAILURES_KEPT = 3
_READ_KEPT = 16384
"""Annotations whose reading is kept, for speed alone: most are the same in every pass. Some 12 MB at most."""

_TEXTS_KEPT = 64
"""Times whose text is kept, for speed alone: most that a pass writes are its own."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one node and one EdgeModel beside the label."""

    revision: str
    """The label that it is about."""
    state: ServerState
    since: datetime
    moved: datetime
    away: datetime | None = None
    unsteady: datetime | None = None
    """When it went first of all the times that it did with this revision, until it has served long enough."""
    run: str = ""
    """Which start of the server it is about: another pod, or one more restart, is another run."""
    boot: str = ""
    """Which start of the machine it was seen in."""
    returned: datetime | None = None
    """When it came back from NotReady or from a start of its machine, until its server is seen to be started anew."""
    deaths: int = 0
    """How often the node came back like this with its server started anew."""
    restarts: int = 0
    """How often its server was started anew after it had served for the bake."""
    excused: str = ""
    """The run that shows nothing, since it was without its device."""
    remade: int = 0
    """How often its pod was made anew for its device since a server was ready."""
    doubtful: bool = False
    """Whether the server that the node ran before had failed."""
    previous: str | None = None
    """What the node last served before this revision."""
    failures: Mapping[str, Failure] = field(default_factory=dict)
    """By revision, the newest few."""
    full: NoRoom | None = None
    """That the node had no room for a revision; None where it had, or was not asked."""

    @property
    def served(self) -> str | None:
        """What the node served last, once its server has gone."""
        return self.revision if self.state is ServerState.SERVING else self.previous

    @property
    def went(self) -> bool:
        """Whether the node went and came back with this revision."""
        return self.returned is not None or self.deaths > 0

    def to_json(self) -> str:
        """The annotation's value; what is empty is left out."""
        facts: dict[str, Any] = {
            "revision": self.revision,
            "state": self.state.value,
            "since": _text(self.since),
            "moved": _text(self.moved),
            "away": self.away and _text(self.away),
            "unsteady": self.unsteady and _text(self.unsteady),
            "run": self.run,
            "boot": self.boot,
        }
        if self.returned or self.deaths or self.excused or self.doubtful:
            facts["returned"] = self.returned and _text(self.returned)
            facts |= {"deaths": self.deaths, "excused": self.excused, "doubtful": self.doubtful}
        facts |= {"restarts": self.restarts, "remade": self.remade, "previous": self.previous}
        if self.failures:
            facts["failures"] = {
                revision: _filled({"attempt": one.attempt, "broken": one.broken, "note": one.note})
                for revision, one in self.failures.items()
            }
        if self.full:
            facts["full"] = {"revision": self.full.revision, "at": _text(self.full.at), "note": self.full.note}
        return _ENCODER.encode(_filled(facts))

    def moved_to(
        self, revision: str, label: str | None, now: datetime, beside: str | None = None, boot: str = ""
    ) -> Record:
        """The record of the node once it gets another revision in place of the one that it was given last.

        Args:
            revision: What it gets.
            label: What it was given last; of one that gave up its server for a trial, what it gave up.
            now: The hub's time.
            beside: What it still runs, where it was to make `label` ready beside that.
            boot: Which start of its machine it is in; empty where that is not known.
        """
        serves = self.state is ServerState.SERVING and label is not None
        # One that gets back what it gave up goes back from there to where it would have gone.
        choices = (beside or (label if serves else self.previous), self.previous)
        return Record(
            revision=revision,
            state=ServerState.STARTING,
            since=now,
            moved=now,
            boot=boot,
            doubtful=self.state is ServerState.FAILED,
            previous=next((one for one in choices if one != revision), None),
            failures=self.failures,
            full=self.full if self.full and self.full.revision == revision else None,
        )

    def switched(self, now: datetime, *, alone: bool) -> Record:
        """The record of the node once it runs what it has made ready beside its old server, alone or with Surge.

        A server that is ready goes on. One that was only pulled and tested starts now, in another pod.

        Args:
            now: The hub's time.
            alone: Whether the old server ends: that took a place anew.
        """
        if self.state is ServerState.SERVING:
            return self
        unsteady = None if alone else self.unsteady
        return replace(self, state=ServerState.STARTING, since=now, moved=now, run="", excused="", unsteady=unsteady)

    def without_room(self, revision: str, note: str, now: datetime) -> Record:
        """The record of the node once it has had no room for a revision, and keeps what it runs."""
        return replace(self, full=NoRoom(revision, now, note[:NOTE_LIMIT]))

    def failed(self, note: str, attempt: str) -> Record:
        """The record of the node once its label's revision has failed on it."""
        failures = {revision: one for revision, one in self.failures.items() if revision != self.revision}
        failures[self.revision] = Failure(attempt, self.doubtful, note[:NOTE_LIMIT])
        return replace(self, failures=dict(list(failures.items())[-_FAILURES_KEPT:]))


def new_record(revision: str, state: ServerState, now: datetime) -> Record:
    """The record of a node that has none yet."""
    return Record(revision, state, now, now)


def parse_record(text: str | None, now: datetime) -> Record | None:
    """Read an annotation; None where there is none or where it is not one of ours.

    Args:
        text: The annotation's value.
        now: The time; later times are taken for it.
    """
    found, latest = _read(text) if text else _NOTHING
    if found is None or latest <= now:
        return found
    away = min(found.away, now) if found.away else None
    unsteady = min(found.unsteady, now) if found.unsteady else None
    returned = min(found.returned, now) if found.returned else None
    full = found.full and found.full._replace(at=min(found.full.at, now))
    since, moved = min(found.since, now), min(found.moved, now)
    return replace(found, since=since, moved=moved, away=away, unsteady=unsteady, returned=returned, full=full)


def is_written(record: Record | None, text: str | None) -> bool:
    """Whether an annotation already holds a record."""
    if record is None or text is None:
        return record is None and text is None
    found, _ = _read(text)
    return record is found or record == found


_NOTHING = (None, datetime.min.replace(tzinfo=UTC))


@lru_cache(maxsize=_READ_KEPT)
def _read(text: str) -> tuple[Record | None, datetime]:
    """Read an annotation, whatever time it is, with the latest time in it."""
    try:
        found = json.loads(text)
        failures = found.get("failures") or {}
        record = Record(
            revision=str(found["revision"]),
            state=ServerState(found["state"]),
            since=_time(found["since"]),
            moved=_time(found["moved"]),
            away=_time(found["away"]) if found.get("away") else None,
            unsteady=_time(found["unsteady"]) if found.get("unsteady") else None,
            run=str(found.get("run", "")),
            boot=str(found.get("boot", "")),
            returned=_time(found["returned"]) if found.get("returned") else None,
            deaths=int(found.get("deaths", 0)),
            restarts=int(found.get("restarts", 0)),
            excused=str(found.get("excused", "")),
            remade=int(found.get("remade", 0)),
            doubtful=found.get("doubtful") is True,
            previous=str(found["previous"]) if found.get("previous") else None,
            failures={
                str(revision): Failure(
                    str(one.get("attempt", "")), one.get("broken") is True, str(one.get("note", ""))[:NOTE_LIMIT]
                )
                for revision, one in failures.items()
            },
            full=_no_room(found.get("full")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return _NOTHING
    full = record.full.at if record.full else None
    times = (record.since, record.moved, record.away, record.unsteady, record.returned, full)
    return record, max(time for time in times if time)


def _no_room(found: Any) -> NoRoom | None:
    """What is kept of a look for room."""
    if not found:
        return None
    return NoRoom(str(found["revision"]), _time(found["at"]), str(found["note"])[:NOTE_LIMIT])


def _filled(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value}


@lru_cache(maxsize=_TEXTS_KEPT)
def _text(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _time(value: str) -> datetime:
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError("a time needs a zone")
    # As UTC here already: a time that is before the calendar begins there cannot be written again.
    return found.astimezone(UTC)
