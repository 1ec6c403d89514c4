"""Trials: before the first rollout of a build with several finalists, one node of the profile tries them all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from edgesmith.api.trial_status import TrialStatus
from edgesmith.decide.builds import BuildState
from edgesmith.decide.contestants import Contestants
from edgesmith.decide.fleet import Lent
from edgesmith.decide.lent_nodes import lent_nodes, still_lent
from edgesmith.decide.placement import Placement, placement
from edgesmith.decide.plan import Delete, StartTrial
from edgesmith.decide.snapshot import Revision, Snapshot
from edgesmith.decide.trial_case import Step, TrialCase
from edgesmith.decide.trial_nodes import Fleet
from edgesmith.decide.trial_records import Key, in_the_past, trials_of
from edgesmith.decide.trial_room import without_room
from edgesmith.decide.trust import key_of

NOTHING = Placement(None)
"""What the labels of a node say that runs nothing of the EdgeModel."""


@dataclass(frozen=True, slots=True)
class Trials:
    """What a pass decided about the trials of an EdgeModel."""

    builds: dict[str, BuildState]
    """Every variant's build, with the image that its trial chose, or without one while that is open; of several, the
    one that its nodes are to run."""
    records: tuple[TrialStatus, ...]
    starts: tuple[StartTrial, ...]
    deletes: tuple[Delete, ...]
    trying: Mapping[str, str]
    """Profile to the node that is to have no server, since a trial needs the device that this holds."""
    lent: Mapping[str, Lent]
    """The nodes that were asked to give up their server for a trial."""
    full: Mapping[str, str]
    """Nodes whose disk has no room for what they are to try, with what it lacks as the end of a sentence."""
    tried: Mapping[str, str]
    """Profile to the node that tried the finalists, so that it has the image of the one that won."""
    waits: frozenset[str]
    """Nodes that trials wait for, since another EdgeModel is at work on them or comes first."""
    pulling: frozenset[str]
    """Nodes that pull what they are to try, or may do so; those that begin in this pass among them."""


def plan_trials(snapshot: Snapshot, builds: Mapping[str, Contestants], fleet: Fleet, now: datetime) -> Trials:
    """Decide the next step of every variant's trial.

    Args:
        snapshot: Everything that is known of the EdgeModel.
        builds: Every variant's builds, by the profile's name.
        fleet: The nodes.
        now: The hub's time.
    """
    before = {key: in_the_past(one, now) for key, one in trials_of(snapshot.model.status).items()}
    steps = {name: TrialCase(snapshot, state, fleet, now, before).step() for name, state in builds.items()}
    trying = {name: one.trying for name, one in steps.items() if one.trying}
    bare = {one.name for one in snapshot.nodes if placement(one, fleet.label_key) == NOTHING}
    records = {
        (one.record.profile, one.record.build_key): still_lent(one.record, bare, goes_on=one.trying is not None)
        for one in steps.values()
        if one.record
    }
    records |= _still_known(before, records, snapshot.revisions, bare)
    wanted = {pod for one in steps.values() for pod in one.pods}
    return Trials(
        {name: one.state for name, one in steps.items()},
        tuple(records[key] for key in sorted(records)),
        tuple(one.start for one in steps.values() if one.start),
        tuple(
            Delete("Pod", pod.name, "Its trial has ended, or goes on elsewhere.")
            for pod in sorted(snapshot.trial_pods, key=lambda pod: pod.name)
            if pod.name not in wanted and not pod.terminating
        ),
        trying,
        lent_nodes(records.values(), trying.values()),
        without_room(one.record for one in steps.values() if one.record),
        {
            name: one.record.node
            for name, one in steps.items()
            if one.record and one.record.completed_time and one.record.node
        },
        frozenset(name for one in steps.values() for name in one.waits),
        _pulling(steps.values(), snapshot),
    )


def _pulling(steps: Iterable[Step], snapshot: Snapshot) -> frozenset[str]:
    """Nodes that pull what they are to try; one that is NotReady pulls nothing."""
    begins = {one.pulls: one.start is not None for one in steps if one.pulls}
    away = {node.name for node in snapshot.nodes if node.name in begins and not node.ready} if begins else set()
    return frozenset(name for name, now in begins.items() if now or name not in away)


def _still_known(
    before: Mapping[Key, TrialStatus],
    present: Mapping[Key, TrialStatus],
    revisions: Iterable[Revision],
    bare: Collection[str],
) -> dict[Key, TrialStatus]:
    """Records of builds that the spec may go back to: a DaemonSet of theirs is there; or of nodes without a server."""
    old = {key: still_lent(record, bare, goes_on=False) for key, record in before.items() if key not in present}
    kept = {(one.profile, key_of(one)) for one in revisions} if old else set()
    images = {(one.profile, one.image) for one in revisions}
    return {
        key: record
        for key, record in old.items()
        if key in kept or record.lent or any((record.profile, one.image) in images for one in record.finalists)
    }
