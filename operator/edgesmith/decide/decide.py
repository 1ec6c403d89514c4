"""The spine: one pass over one EdgeModel, snapshot in, plan out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter

from edgesmith.api.conditions import Reason
from edgesmith.api.status import EdgeModelStatus
from edgesmith.decide.built_for_sites import for_sites
from edgesmith.decide.conditions import Finding, Severity
from edgesmith.decide.digests import undigested
from edgesmith.decide.drift import Drifting
from edgesmith.decide.history import Turn, history_of, newest_of
from edgesmith.decide.holding import held, released
from edgesmith.decide.marks import status_marks
from edgesmith.decide.plan import ApplyRevision, Delete, Keep, Move, Pending, Plan
from edgesmith.decide.record import Record, is_written, new_record
from edgesmith.decide.remaking import made_anew
from edgesmith.decide.request_status import request_statuses
from edgesmith.decide.retention import awaited_by_others, old_jobs, old_revisions, old_staging
from edgesmith.decide.retraining import retrain
from edgesmith.decide.rollout import Course, plan_rollout
from edgesmith.decide.snapshot import Snapshot
from edgesmith.decide.status import events_of, status_of, unread_events
from edgesmith.decide.transfer import transfer_of
from edgesmith.decide.variant_status import VariantFacts, counts
from edgesmith.decide.view import View
from edgesmith.decide.watched import fleet_drift, sources_of, unwatched, watched


def decide(snapshot: Snapshot, now: datetime) -> Plan:
    """Decide what to do for one EdgeModel; the same snapshot and time always give the same plan."""
    if snapshot.model.metadata.deletion_timestamp:
        return _nothing(snapshot)
    view = View(snapshot, now)
    rollout = plan_rollout(view.variants(), view.terms.rules, now, view.leaving, len(view.trials.pulling))
    courses = rollout.courses
    found = (*rollout.leaving, *(move for course in courses for move in course.moves))
    moves = tuple(_recorded(view, move) for move in sorted(found, key=lambda move: (not move.urgent, move.node)))
    pending = sorted((*rollout.pending, *(one for course in courses for one in course.pending)), key=_node)
    revisions = _revisions(view, courses)
    sources = sources_of(snapshot, revisions)
    retrained = retrain(
        snapshot.model,
        fleet_drift(view, courses, sources),
        snapshot.retraining_jobs,
        builds=snapshot.settings.builds,
        places={one.sha256: one.uri for one in sources.values()},
    )
    status = _status(view, courses, pending, retrained.drift)
    moved = {move.node for move in moves}
    profiles = {one.metadata.name: one for one in view.resolved.profiles}
    reports = watched(snapshot, courses, profiles, revisions)
    unknown = {*view.resolved.unusable, *snapshot.unreadable_profiles}
    holds = held(snapshot, courses, profiles, revisions)
    states = [*view.builds.values(), *(one for found in view.contestants.values() for one in found.states)]
    waits = [course.look_again for course in courses] + [state.look_again for state in states]
    waits += [view.looks.look_again, view.neighbours.look_again]
    return Plan(
        revisions=revisions,
        status=status,
        moves=moves,
        records=_kept(view, moved),
        builds=tuple(start for one in view.contestants.values() for start in one.starts),
        trials=view.trials.starts,
        deletes=(
            *old_jobs(snapshot.jobs, {state.build.key for state in states}, awaited_by_others(snapshot)),
            *_unused(view, courses, moves),
            *unwatched(snapshot, reports, unknown),
            *released(snapshot, holds, unknown),
            *view.trials.deletes,
            *made_anew((one.state for one in view.observed.values()), moved),
            *view.looks.deletes,
        ),
        service=bool(revisions or snapshot.revisions),
        events=(*unread_events(snapshot.model), *events_of(status, snapshot.model.status)),
        pending=tuple(pending),
        look_again=min((wait for wait in waits if wait is not None), default=None),
        builds_wait=any(state.no_slot for state in states),
        look=view.looks.start,
        look_waits=view.looks.waits,
        awaited=view.trials.waits,
        held=view.looks.held,
        holds=holds,
        reports=reports,
        retraining=retrained.starts,
    )


_node = attrgetter("node")


def _nothing(snapshot: Snapshot) -> Plan:
    """An EdgeModel that is being deleted: its children go with it, its labels are swept, its status stays."""
    status = EdgeModelStatus.model_validate(snapshot.model.status)
    return Plan((), status, (), (), (), (), (), service=False, events=(), pending=(), look_again=None)


def _status(
    view: View, courses: Sequence[Course], pending: Sequence[Pending], drift: Drifting | None
) -> EdgeModelStatus:
    """The status of the EdgeModel after the decisions of a pass; `pending` is in the order of the nodes' names."""
    snapshot = view.snapshot
    return status_of(
        snapshot.model,
        replace(view.resolved, refused={**view.resolved.refused, **view.only_built.refused}),
        view.assignment,
        variants=[_facts(view, course) for course in courses],
        pending=pending,
        revisions=status_marks(
            [(course.variant.profile, state) for course in courses for state in course.revisions],
            view.terms.marks,
            attempt=view.terms.attempt,
            retried=view.terms.retried,
            left=frozenset(view.terms.requests.left.values()),
        ),
        requests=request_statuses(view.terms.requests, courses, view.terms.rules),
        troubles=_troubles(view),
        history=history_of(snapshot.model, _turns(view, courses), view.now),
        trials=view.trials.records,
        looks=view.looks,
        unreadable=snapshot.unreadable_profiles,
        drift=drift,
        now=view.now,
    )


def _recorded(view: View, move: Move) -> Move:
    """A move with what is to be kept of its node."""
    observation = view.observed[move.node]
    record, state = observation.record, observation.state
    before: Record = record or new_record(state.label or "", state.server, view.now)
    if move.revision is None and state.name in view.trials.trying.values():
        # It is to have a server again, and what it gives up is then what it goes back to.
        return replace(move, record=before.to_json())
    if move.revision is None:
        kept = (
            record.without_room(state.label, state.lacks, view.now)
            if record and state.lacks and state.label
            else record
        )
        return replace(move, record=kept.to_json() if kept and (kept.failures or kept.full) else None)
    if move.revision == state.label:
        return replace(move, record=before.switched(view.now, alone=not move.beside).to_json())
    label = before.revision if state.lent and record else state.label
    moved = before.moved_to(move.revision, label, view.now, state.beside, observation.boot)
    if state.lacks and state.label:
        moved = moved.without_room(state.label, state.lacks, view.now)
    return replace(move, record=moved.to_json())


def _kept(view: View, moved: set[str]) -> tuple[Keep, ...]:
    """What changed of the records of nodes that are not moved; those of nodes without the model go."""
    found, key, observed = [], view.label_key, view.observed
    for node in view.snapshot.nodes:
        observation = observed.get(node.name)
        record = observation.record if observation else None
        if not is_written(record, node.records.get(key)) and node.name not in moved:
            found.append(Keep(node.name, record.to_json() if record else None))
    return tuple(sorted(found, key=_node))


def _revisions(view: View, courses: Iterable[Course]) -> tuple[ApplyRevision, ...]:
    """The DaemonSets that the spec asks for; the one that rollbackTo puts in its place is there."""
    found: list[ApplyRevision] = []
    for course in courses:
        state, target = view.builds.get(course.variant.profile), course.target
        if state is not None and target is not None and state.image is not None and not course.variant.left:
            strategy = course.variant.strategy
            room = view.room_of(course.variant.profile)
            staging = (strategy.staging or ("Pull" if room else "")) if strategy else ""
            found.append(
                ApplyRevision(state.profile, target.revision, state.image, state.build, state.built, staging, room)
            )
    return tuple(found)


def _unused(view: View, courses: Iterable[Course], moves: Iterable[Move]) -> tuple[Delete, ...]:
    """DaemonSets to delete, judged by the labels as they were and as they will be, and by what nodes may go back to."""
    snapshot = view.snapshot
    states = [one.state for one in view.observed.values()]
    named = {one.label for one in states} | {one.beside for one in states} | {one.previous for one in states}
    in_use = {name for name in named if name} | {move.revision for move in moves if move.revision}
    in_use |= {one.revision for course in courses for one in (course.target, course.stable) if one}
    profiles = {*view.resolved.unusable, *snapshot.unreadable_profiles}
    profiles |= {profile.metadata.name for profile in view.resolved.profiles}
    limit = snapshot.settings.revision_history_limit
    found = old_revisions(snapshot.revisions, in_use=in_use, profiles=profiles, limit=limit)
    return (*found, *old_staging(snapshot, {one.name for one in found}, in_use))


def _facts(view: View, course: Course) -> VariantFacts:
    """What the status is to say of one variant."""
    profile = course.variant.profile
    shown = course.wanted
    tested = [
        (pod.node, pod.selftest)
        for pod in view.snapshot.pods
        if shown and pod.revision == shown.revision and pod.selftest
    ]
    measured = [test.p95_ms for _, test in tested if test.p95_ms is not None]
    return VariantFacts(
        profile,
        view.builds.get(profile),
        course,
        counts(course),
        max(measured, default=None),
        contestants=view.contestants.get(profile),
        unbuilt=view.resolved.refused.get(profile) or _undigested(view, profile),
        warnings=_saying((node, test.warning) for node, test in tested),
        recompiled=_saying((node, test.recompiled) for node, test in tested),
        opens=view.terms.rules.opening.message,
        unmatched=len(view.assignment.unmatched),
        transfer=transfer_of(course, course.variant.images, view.snapshot.layers),
        for_sites=profile in for_sites(view.snapshot.model, view.snapshot.settings),
    )


def _saying(said: Iterable[tuple[str, str | None]]) -> dict[str, set[str]]:
    """The nodes that say each thing; one with two pods, of which the other makes it ready, counts once."""
    found: dict[str, set[str]] = {}
    for node, words in said:
        if words:
            found.setdefault(words, set()).add(node)
    return found


def _turns(view: View, courses: Iterable[Course]) -> Iterable[Turn]:
    """What each variant runs or is to run, with what its history tells of it."""
    for course in courses:
        profile = course.variant.profile
        named, build = view.terms.requests.named(profile), view.builds.get(profile)
        if course.target is None or named is None:
            continue
        newest = newest_of(view.snapshot.model.status, profile)
        last = view.terms.by_revision.get(newest.revision) if newest else None
        retried = course.target.revision in view.terms.retried
        yield Turn(course, named, build.build if build else None, last.build if last else None, retried)


def _troubles(view: View) -> list[Finding]:
    """What `spec.rollout` asks for and cannot be had."""
    found = [
        Finding(Severity.STALLED, Reason.ROLLBACK_REFUSED, one.problem)
        for one in view.terms.requests.rollbacks.values()
        if one.problem
    ]
    opening = view.terms.rules.opening
    return [*found, *([Finding(Severity.STALLED, Reason.SPEC_INVALID, opening.message)] if opening.wrong else [])]


def _undigested(view: View, profile: str) -> Finding | None:
    """Why nothing is built for a profile that is there: the digest of a file is not known yet."""
    found = next((one for one in view.to_build if one.metadata.name == profile), None)
    missing = undigested(view.snapshot.model, found) if found else ()
    if not missing:
        return None
    known = view.looks.finding.severity is Severity.FINE
    reason = Reason.RESOLVING if known else view.looks.finding.reason
    return Finding(Severity.AWAITED, reason, f"The build for {profile} waits for the digest of spec.{missing[0]}.")
