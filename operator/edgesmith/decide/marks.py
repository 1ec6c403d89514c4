"""What was found out about revisions, as the status of the EdgeModel keeps it.

The status has one writer and is written in one operation, before the moves that follow from it. It outlives the
DaemonSets: one that is deleted by hand loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Any

from edgesmith.api.revision_status import RevisionStatus
from edgesmith.decide.entries import entries_of, time_of, time_text
from edgesmith.decide.fleet import RevisionState
from edgesmith.decide.words import NAMED

_KEPT = 10
"""Marks of revisions without a DaemonSet that are kept per profile, the newest ones."""
_MESSAGE_LIMIT = 2048
"""That of the CRD."""
_LOST_KEPT = NAMED
"""Lost canaries that are kept by name: of those that are still there, the nodes themselves say it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of one revision."""

    profile: str
    state: RevisionState
    """Its `created` says nothing."""
    attempt: str
    """The retry word when it was rolled back."""


_NEXT = timedelta(seconds=1)
"""What the status tells apart."""
_NEVER = datetime.fromtimestamp(0, UTC)


def marks_of(status: Mapping[str, Any]) -> dict[str, Mark]:
    """Read the marks by revision; an entry that cannot be read is left out.

    Args:
        status: The EdgeModel's status as it stands.
    """
    found: dict[str, Mark] = {}
    for one in entries_of(status, "revisions", RevisionStatus):
        try:
            found[one.name] = _mark(one)
        except (ValueError, OverflowError):
            continue
    return found


def in_the_past(marks: Mapping[str, Mark], now: datetime) -> dict[str, Mark]:
    """The marks with no time that is still to come, which counts as now: the hub's clock was set back since.

    What was proven keeps its order, since nodes go back to what was proven last.

    Args:
        marks: As they were read.
        now: The hub's time.
    """
    found, latest = dict(marks), dict[str, datetime]()
    for name, mark in sorted(marks.items(), key=lambda one: (one[1].state.proven or _NEVER, one[0]), reverse=True):
        state, most = mark.state, latest.get(mark.profile, now)
        proven = _at_most(state.proven, most)
        latest[mark.profile] = now if proven == state.proven or proven is None else proven - _NEXT
        past = [_at_most(one, now) for one in (state.completed, state.opened, state.served)]
        if [proven, *past] != [state.proven, state.completed, state.opened, state.served]:
            told = replace(state, proven=proven, completed=past[0], opened=past[1], served=past[2])
            found[name] = replace(mark, state=told)
    return found


def status_marks(
    states: Iterable[tuple[str, RevisionState]],
    before: Mapping[str, Mark],
    *,
    attempt: str,
    retried: frozenset[str],
    left: frozenset[str] = frozenset(),
) -> tuple[RevisionStatus, ...]:
    """The marks as they are written.

    Args:
        states: Profile and state of every revision that exists, after this pass.
        before: The marks as they were read.
        attempt: The retry word.
        retried: Revisions that this pass gives another try.
        left: Revisions that spec.rollout.rollbackTo leaves: a retry that was asked for meanwhile was of no use to them.
    """
    found: dict[str, RevisionStatus] = {}
    for profile, state in states:
        was = before.get(state.revision)
        kept = was.attempt if was and was.state.rolled_back and state.revision not in retried | left else attempt
        found[state.revision] = _written(profile, state, kept)
    others = sorted(
        (mark for name, mark in before.items() if name not in found),
        key=lambda mark: (mark.state.proven or _NEVER, mark.state.revision),
        reverse=True,
    )
    counts: dict[str, int] = {}
    for mark in others:
        counts[mark.profile] = counts.get(mark.profile, 0) + 1
        if counts[mark.profile] <= _KEPT:
            found[mark.state.revision] = _written(mark.profile, mark.state, mark.attempt)
    return tuple(found[name] for name in sorted(found))


def _mark(one: RevisionStatus) -> Mark:
    state = RevisionState(
        one.name,
        _NEVER,
        steps=one.steps,
        proven=_time(one.proven_time),
        completed=_time(one.completed_time),
        rolled_back=(one.message or "It was rolled back.") if one.rolled_back else None,
        reason=one.reason or "",
        lost=one.lost or (),
        promoted=one.promoted or 0,
        partition=one.partition,
        opened=_time(one.partition_time),
        served=_time(one.partition_served_time),
    )
    return Mark(one.profile, state, one.attempt or "")


def _written(profile: str, state: RevisionState, attempt: str) -> RevisionStatus:
    return RevisionStatus(
        name=state.revision,
        profile=profile,
        steps=state.steps,
        proven_time=_text(state.proven),
        completed_time=_text(state.completed),
        rolled_back=True if state.rolled_back else None,
        reason=state.reason or None if state.rolled_back else None,
        message=state.rolled_back[:_MESSAGE_LIMIT] if state.rolled_back else None,
        attempt=attempt or None if state.rolled_back else None,
        promoted=state.promoted or None,
        partition=state.partition,
        partition_time=_text(state.opened),
        partition_served_time=_text(state.served),
        lost=None if state.rolled_back else state.lost[:_LOST_KEPT] or None,
    )


def _at_most(time: datetime | None, most: datetime) -> datetime | None:
    return min(time, most) if time else None


def _time(value: str | None) -> datetime | None:
    if value is None:
        return None
    found = time_of(value)
    if found.year == MAXYEAR:
        raise OverflowError("nothing can be proven after it")
    return found


def _text(value: datetime | None) -> str | None:
    return time_text(value) if value else None
