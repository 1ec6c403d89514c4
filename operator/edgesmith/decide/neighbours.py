"""Other EdgeModels on the same nodes: one pull and one switch at a time on each, those of a higher priority first.

All of it is read from what is there. A node's labels and records say what each EdgeModel makes ready on it, and the
status of an EdgeModel which revision is on its way to its nodes. So every EdgeModel comes to its own decision, and none
has to be told of another's. Nobody waits for long, whatever becomes of the other one:

- for what another one makes ready, no longer than its `progressDeadline` since the node was given it. What is pulled
  and tested and only waits to be switched to keeps nobody: it waits in turn;
- for another one that tries the candidates of a build on it, no longer than that trial may take. One that only waits
  for the node's device, or for room on its disk, keeps nobody;
- for another one of a higher priority that has yet to come to the node, no longer than its `progressDeadline` since its
  revision was proven, or its newest partition opened.

What goes back waits for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import node_label
from edgesmith.api.trial_status import TrialStatus
from edgesmith.api.units import parse_duration
from edgesmith.decide.entries import listed
from edgesmith.decide.fleet import ServerState
from edgesmith.decide.marks import Mark, marks_of
from edgesmith.decide.placement import placement
from edgesmith.decide.record import parse_record
from edgesmith.decide.requests import Named
from edgesmith.decide.snapshot import Node, Snapshot
from edgesmith.decide.trial_records import in_the_past, time_left, trials_of
from edgesmith.decide.window import opening_of

_STARTING = f'"{ServerState.STARTING.value}"'
"""What is in every record that says so: most do not, and to read them all would take long."""
_CLAIMED = "Another EdgeModel changes it at this moment."
_SOON = timedelta(seconds=1)


class Kept(NamedTuple):
    """What keeps a node from being changed now."""

    why: str
    """In one sentence."""
    until: datetime
    """When it no longer does, whatever happens."""


class _Coming(NamedTuple):
    """What an EdgeModel of a higher priority brings to its nodes."""

    called: str
    key: str
    wanted: Mapping[str, str]
    """By profile: the revision that is on its way."""
    profiles: Mapping[str, str]
    """By revision: its profile."""
    until: datetime


class Neighbours:
    """The other EdgeModels of a cluster, as one of them sees them. Nothing is looked at before it is asked for."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        """Look at them.

        Args:
            snapshot: Everything that is known of one EdgeModel.
            now: The hub's time.
        """
        self._now = now
        self._claimed = snapshot.claimed
        self._others = {node_label(*_named(one)): one for one in snapshot.others}
        self._nodes = {node.name: node for node in snapshot.nodes} if self._others or self._claimed else {}
        priority = snapshot.model.spec.rollout.priority
        self._coming = tuple(_coming(self._others, priority, now))
        self._kept: dict[str, Kept | None] = {}
        self._worked: dict[str, Kept | None] = {}

    def keep(self, name: str) -> str:
        """Why a node is not to be changed now, in one sentence; empty where it may be."""
        return self._why(name, self._kept, self._keeps)

    def at_work(self, name: str) -> str:
        """Why what has begun on a node is not to go on now, in one sentence; empty where it is.

        It waits for nobody who has yet to come there, whatever the priorities: that one waits for it.
        """
        return self._why(name, self._worked, self._works)

    def _why(self, name: str, known: dict[str, Kept | None], find: Callable[[Node], Kept | None]) -> str:
        """What is found of a node, once; empty where that is nothing, or where there is no other EdgeModel."""
        if not self._nodes:
            return ""
        if name not in known:
            known[name] = find(self._nodes[name])
        found = known[name]
        return found.why if found else ""

    @property
    def look_again(self) -> float | None:
        """Seconds until the first node that was asked for may be changed, whatever happens; None where none waits."""
        asked = (*self._kept.values(), *self._worked.values())
        first = min((found.until for found in asked if found), default=None)
        return max((first - self._now).total_seconds(), 0.0) if first else None

    def _keeps(self, node: Node) -> Kept | None:
        if found := self._works(node):
            return found
        return next((found for one in self._coming if (found := self._awaited(node, one))), None)

    def _works(self, node: Node) -> Kept | None:
        """Whether another EdgeModel is at work on a node."""
        if node.name in self._claimed:
            return Kept(_CLAIMED, self._now + _SOON)
        for key, text in node.records.items():
            other = self._others.get(key) if _STARTING in text else None
            if other and (found := self._making_ready(node, key, other, text)):
                return found
        return self._trying.get(node.name)

    @cached_property
    def _trying(self) -> dict[str, Kept]:
        """The nodes on which other EdgeModels try candidates; of several on one, the one that may take longest."""
        found: dict[str, Kept] = {}
        for _, other in sorted(self._others.items()):
            for record in trials_of(other.status).values() if other.spec.optimize.trial != "Never" else ():
                kept = self._tries(other, in_the_past(record, self._now))
                name = record.node or ""
                if kept and (name not in found or found[name].until < kept.until):
                    found[name] = kept
        return found

    def _tries(self, other: EdgeModel, record: TrialStatus) -> Kept | None:
        """Whether a trial of another EdgeModel is at work on its node; not so before its time began."""
        node = self._nodes.get(record.node or "")
        if node is None or record.started_time is None or record.completed_time:
            return None
        deadline = parse_duration(other.spec.rollout.progress_deadline)
        until = self._now + time_left(record, deadline, self._now, ready=node.ready)
        if until <= self._now:
            return None
        what = f"EdgeModel {_called(other)} tries the candidates of a build on it"
        return Kept(f"{what}; one EdgeModel at a time changes a node.", until)

    def _making_ready(self, node: Node, key: str, other: EdgeModel, text: str) -> Kept | None:
        """Whether another EdgeModel pulls, tests or starts something on a node."""
        record, given = parse_record(text, self._now), placement(node, key).label
        if record is None or record.state is not ServerState.STARTING or record.revision != given:
            return None
        # A node that comes and goes is given its time anew at each return; others wait for it once.
        until = (record.unsteady or record.moved) + parse_duration(other.spec.rollout.progress_deadline)
        if until <= self._now:
            return None
        what = f"EdgeModel {_called(other)} makes revision {given} ready on it"
        return Kept(f"{what}; one EdgeModel at a time changes a node.", until)

    def _awaited(self, node: Node, one: _Coming) -> Kept | None:
        """Whether an EdgeModel of a higher priority has yet to come to a node."""
        given = placement(node, one.key).label
        wanted = one.wanted.get(one.profiles.get(given or "", ""))
        if wanted is None or given == wanted:
            return None
        record = parse_record(node.records.get(one.key), self._now)
        if record and wanted in record.failures:
            return None
        return Kept(
            f"EdgeModel {one.called} has a higher priority and brings revision {wanted} to it first.", one.until
        )


def _coming(others: Mapping[str, EdgeModel], priority: int, now: datetime) -> Iterable[_Coming]:
    """What EdgeModels of a higher priority are bringing to their nodes; those that stand still bring nothing."""
    for key, other in sorted(others.items()):
        rollout = other.spec.rollout
        if rollout.priority <= priority or rollout.paused:
            continue
        is_open = opening_of(rollout.windows, now).open
        if not (is_open or rollout.override):
            continue
        marks = marks_of(other.status).values()
        newest: dict[str, tuple[datetime, str]] = {}
        for mark in marks:
            one = mark.state
            if one.proven and not one.rolled_back:
                newest[mark.profile] = max(newest.get(mark.profile, (one.proven, "")), (one.proven, one.revision))
        deadline = parse_duration(rollout.progress_deadline)
        wanted, until = {}, now
        for mark in marks:
            one = mark.state
            # Where the hub's clock was set back, a time to come says nothing.
            began = max((time for time in (one.proven, one.opened) if time and time <= now), default=None)
            ends = began + deadline if began else now
            if newest.get(mark.profile, (None, ""))[1] != one.revision or one.completed or ends <= now:
                continue
            if is_open or _overridden(other, mark):
                wanted[mark.profile], until = one.revision, max(until, ends)
        if wanted:
            profiles = {mark.state.revision: mark.profile for mark in marks}
            yield _Coming(_called(other), key, wanted, profiles, until)


def _overridden(other: EdgeModel, mark: Mark) -> bool:
    """Whether windows do not hold a revision up: an override names it, its build or its image."""
    own = (mark.profile, mark.state.revision)
    found = next(
        (one for one in listed(other.status, "variants") if (one.get("profile"), one.get("revision")) == own), {}
    )
    named = Named(mark.state.revision, str(found.get("image", "")), str(found.get("buildKey", "")))
    return any(map(named.is_called, other.spec.rollout.override))


def _named(model: EdgeModel) -> tuple[str, str]:
    return model.metadata.namespace, model.metadata.name


def _called(model: EdgeModel) -> str:
    return "/".join(_named(model))
