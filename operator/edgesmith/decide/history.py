"""The last revisions of an EdgeModel: why each one came, who changed what, and how it ended.

Kubernetes keeps no earlier spec, so the newest entry of a profile holds a hash of each field of it: what differs later
is what changed. Who changed it is the field manager that `metadata.managedFields` has for the field; where several own
parts of it, the one that wrote last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.history import HistoryChange, HistoryEntry, Outcome
from edgesmith.api.names import RETRY_ANNOTATION, short_hash
from edgesmith.decide.changes import changes
from edgesmith.decide.entries import entries_of, time_of, time_text
from edgesmith.decide.fleet import RevisionState, RolloutPhase
from edgesmith.decide.requests import Named
from edgesmith.decide.rollout import Course
from edgesmith_builder.contract import Build

PER_PROFILE = 10
"""Entries that are kept of one profile."""
IN_ALL = 40
"""Entries that are kept of one EdgeModel, but for the newest of each profile."""
BYTES = 5000
"""Most that all entries have together, so that the status stays small: each profile has its share.

The newest of each is kept in any case, since the next one is held against its hashes; where it alone has more, what is
not needed for that is left out."""
_MESSAGE = 512
_SHORT = 64
_HEX = 64


@dataclass(frozen=True, slots=True)
class Turn:
    """What a variant runs or is to run in this pass."""

    course: Course
    named: Named
    """The target."""
    build: Build | None
    """The build that the spec asks for; None where it is not known."""
    before: Mapping[str, Any] | None
    """The build of the revision before, as JSON."""
    retried: bool
    """Whether the target gets another try in this pass."""


def history_of(model: EdgeModel, turns: Iterable[Turn], now: datetime) -> tuple[HistoryEntry, ...]:
    """The history as it is after this pass, the newest entry first.

    Args:
        model: The EdgeModel, with its status as it stands.
        turns: Its variants that have a target.
        now: The hub's time.
    """
    entries = list(entries_of(model.status, "history", HistoryEntry))
    fields = _fields(model)
    for turn in turns:
        entries = _turned(entries, turn, model, fields, now)
    return tuple(_kept(entries))


def newest_of(status: Mapping[str, Any], profile: str) -> HistoryEntry | None:
    """The newest entry of a profile."""
    return next((one for one in entries_of(status, "history", HistoryEntry) if one.profile == profile), None)


def _turned(
    entries: list[HistoryEntry], turn: Turn, model: EdgeModel, fields: dict[str, str], now: datetime
) -> list[HistoryEntry]:
    """The entries with what one variant does."""
    course, target = turn.course, turn.course.target
    if target is None:
        return entries
    profile = course.variant.profile
    at = next((place for place, one in enumerate(entries) if one.profile == profile), None)
    newest = None if at is None else entries[at]
    if newest is None or at is None or newest.revision != target.revision or turn.retried:
        if newest is not None and at is not None:
            left = next((one for one in course.revisions if one.revision == newest.revision), None)
            entries[at] = _closed(newest, left, now)
        entries.insert(0, _ended(_opened(newest, turn, model, fields, now), target, course.phase, now))
    else:
        entries[at] = _ended(newest, target, course.phase, now)
    return entries


def _opened(
    newest: HistoryEntry | None, turn: Turn, model: EdgeModel, fields: dict[str, str], now: datetime
) -> HistoryEntry:
    left = turn.course.variant.left
    return HistoryEntry(
        revision=turn.named.revision,
        profile=turn.course.variant.profile,
        image=turn.named.image,
        generation=model.metadata.generation,
        started_time=time_text(now),
        outcome=Outcome.IN_PROGRESS,
        changes=_changes(newest, turn, model, fields),
        why=(f"It takes the place of revision {left}." if left else _why(newest, turn))[:_MESSAGE],
        fields=fields,
    )


def _changes(
    newest: HistoryEntry | None, turn: Turn, model: EdgeModel, fields: dict[str, str]
) -> tuple[HistoryChange, ...]:
    """The fields that changed since the entry before, each with its field manager."""
    owners = model.metadata.owners
    if turn.course.variant.left:
        found = ["rollout.rollbackTo"]
    elif turn.retried:
        return (HistoryChange(field=f"metadata.annotations[{RETRY_ANNOTATION}]"),)
    else:
        before = (newest.fields or {}) if newest else {}
        found = [name for name in sorted({*before, *fields}) if newest and before.get(name) != fields.get(name)]
    return tuple(HistoryChange(field=f"spec.{name}", manager=owners.get(name)) for name in found)


def _why(newest: HistoryEntry | None, turn: Turn) -> str:
    """What differs from the build before, in words."""
    if newest is None:
        return "It is the first revision."
    if turn.retried:
        return "A retry was asked for."
    found = changes(turn.build, turn.before) if turn.build else ()
    said = "; ".join(f"{one.field} {_short(one.old)} → {_short(one.new)}" for one in found)
    return said or "Its build is that of the revision before; how it is served, or which candidate, is another."


def _short(value: str | None) -> str:
    """A value in a line: digests by their beginning."""
    if value is None:
        return "(absent)"
    return f"{value[:12]}…" if len(value) == _HEX else value


def _closed(entry: HistoryEntry, state: RevisionState | None, now: datetime) -> HistoryEntry:
    """An entry that another one follows; its hashes are of no use any more."""
    entry = entry.model_copy(update={"fields": None})
    if state and state.rolled_back and entry.outcome is not Outcome.ROLLED_BACK:
        return _rolled_back(entry, state, now)
    if entry.outcome is not Outcome.IN_PROGRESS:
        return entry
    return entry.model_copy(update={"outcome": Outcome.SUPERSEDED, "ended_time": time_text(now)})


def _ended(entry: HistoryEntry, state: RevisionState, phase: RolloutPhase, now: datetime) -> HistoryEntry:
    """An entry with how its revision ended, where it has; what was said of it before stays."""
    if state.rolled_back:
        return entry if entry.outcome is Outcome.ROLLED_BACK else _rolled_back(entry, state, now)
    completed = state.completed and (state.completed >= _started(entry, now) or phase is RolloutPhase.COMPLETE)
    if entry.outcome is Outcome.COMPLETE or not completed:
        return entry
    return entry.model_copy(update={"outcome": Outcome.COMPLETE, "ended_time": time_text(now)})


def _rolled_back(entry: HistoryEntry, state: RevisionState, now: datetime) -> HistoryEntry:
    said = {"reason": state.reason or None, "message": (state.rolled_back or "")[:_MESSAGE]}
    return entry.model_copy(update={"outcome": Outcome.ROLLED_BACK, "ended_time": time_text(now), **said})


def _started(entry: HistoryEntry, now: datetime) -> datetime:
    try:
        return time_of(entry.started_time)
    except (ValueError, OverflowError):  # written by somebody else
        return now


def _fields(model: EdgeModel) -> dict[str, str]:
    """A hash of each field of the spec that a revision can come of; `rollout` says only how it is rolled out."""
    spec = model.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {
        name: short_hash(json.dumps(value, sort_keys=True), 6)
        for name, value in sorted(spec.items())
        if name not in {"rollout", "nodeSelector"}
    }


def _kept(entries: Sequence[HistoryEntry]) -> Iterable[HistoryEntry]:
    """The newest entries: of each profile as many as fit into its share."""
    share = BYTES // max(len({one.profile for one in entries}), 1)
    counts: dict[str, int] = {}
    rooms: dict[str, int] = {}
    for place, entry in enumerate(entries):
        one, first = entry, entry.profile not in counts
        counts[one.profile] = counts.get(one.profile, 0) + 1
        room = rooms.get(one.profile, share)
        if first and _size(one) > share:
            one = _shortened(one)
        # Once one is left out, all older ones are: what is told has no gaps.
        rooms[one.profile] = room = room - _size(one) if room >= 0 else room
        if first or (room >= 0 and counts[one.profile] <= PER_PROFILE and place < IN_ALL):
            yield one


def _shortened(entry: HistoryEntry) -> HistoryEntry:
    """An entry with what the next one is held against, and how it ended."""
    message = entry.message[:_SHORT] if entry.message else None
    return entry.model_copy(update={"changes": (), "why": entry.why[:_SHORT], "message": message})


def _size(entry: HistoryEntry) -> int:
    """How many bytes an entry has in the status."""
    return len(entry.model_dump_json(by_alias=True, exclude_none=True).encode())
