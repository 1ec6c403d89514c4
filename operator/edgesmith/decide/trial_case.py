"""One variant's trial: which node tries the finalists of its builds, what it found, and what is rolled out then.

The hub cannot know which of them is fastest on a device. What is measured is kept in the status; until it is known,
nodes keep what they run. Nothing else is remembered: the next step follows from the record, the pods and the nodes.

Where the server of the node holds a device that the trial needs, the node pulls the finalists first, and then gives up
its server until the trial has ended; `edgesmith.decide.lending` says when it may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from edgesmith.api.conditions import Reason
from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.api.trial_status import FinalistStatus, TrialStatus
from edgesmith.api.units import parse_duration
from edgesmith.decide.builds import BuildState
from edgesmith.decide.contestants import Contestants, name_of
from edgesmith.decide.entries import time_text
from edgesmith.decide.held import held_revision, refused_before
from edgesmith.decide.lent_nodes import asked, released
from edgesmith.decide.plan import StartTrial
from edgesmith.decide.retry import requested
from edgesmith.decide.room import Room
from edgesmith.decide.scores import bounded
from edgesmith.decide.snapshot import Pod, Revision, Snapshot, TrialPod
from edgesmith.decide.trial_nodes import Fleet, TrialNodes
from edgesmith.decide.trial_pods import TrialPods, left_of
from edgesmith.decide.trial_records import (
    Key,
    carried_on,
    measured,
    shared_facts,
    time_in,
    time_left,
    unmeasured,
)
from edgesmith.decide.trial_room import MOST, cleared, noted, resting, trial_room, until_again
from edgesmith.decide.trust import key_of
from edgesmith.decide.verdicts import Bounds, judge_trial
from edgesmith.decide.words import some
from edgesmith_builder.contract import BuildReport

NODES = 3
"""How many nodes are asked, one after the other, before the ladder's order decides."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where one variant's trial stands after this pass."""

    state: BuildState
    record: TrialStatus | None = None
    start: StartTrial | None = None
    pods: frozenset[str] = frozenset()
    """The pods that are to go on."""
    trying: str | None = None
    """The node that is to have no server."""
    waits: frozenset[str] = frozenset()
    """Nodes of which one is to try them, once it is its turn there."""
    pulls: str | None = None
    """The node that pulls what it is to try, or may do so."""


class TrialCase:
    """One variant in one pass."""

    def __init__(
        self,
        snapshot: Snapshot,
        found: Contestants,
        fleet: Fleet,
        now: datetime,
        before: Mapping[Key, TrialStatus],
    ) -> None:
        self.snapshot, self.found, self.fleet, self.now = snapshot, found, fleet, now
        self.state = found.lead
        self.model, self.profile = snapshot.model, self.state.profile.metadata.name
        self.attempt = requested(self.model)
        self.nodes = TrialNodes(snapshot, self.state.profile, fleet.profile_of, fleet.label_key)
        self.pods = TrialPods(self.model.metadata.name, snapshot.trial_pods, self.nodes)
        self.before = before.get((self.profile, self.state.build.key))

    def step(self) -> Step:
        """What is next."""
        found = self.found
        if len(found.states) == 1 and not found.built:
            return Step(self.state, self.before)
        if self.model.spec.optimize.trial == "Never":
            return self._first_in_order()
        if found.awaited and len(found.states) > 1:
            return self._kept(found.waiting())
        if not found.built:
            return Step(found.failed(), self.before)
        if not self.finalists:
            return Step(found.built[0])
        record = self._taken_in(self._begun(self.finalists))
        return self._decided(record) if all(one.reason for one in record.finalists) else self._going_on(record)

    def _first_in_order(self) -> Step:
        """The first build that is not out, untried."""
        first = next((one for one in self.found.states if one.phase != "Failed"), None)
        if first is None:
            return Step(self.found.failed(), self.before)
        if len(self.found.states) > 1 and (first.image is None or first.report is None):
            return self._kept(first)
        return Step(first)

    def _kept(self, otherwise: BuildState) -> Step:
        """While a build is awaited: what is rolled out of these builds stays."""
        return Step(self._with_image(self.rolled.image) if self.rolled else otherwise, self.before)

    def _going_on(self, record: TrialStatus) -> Step:
        """A trial that has not ended: its node, and the pod on it."""
        record = self._looked(record)
        rest = [one.node for one in resting(record, self.now)]
        if record.node in rest:
            return self._full(record)
        record = self._lost(record)
        if len(record.lost or ()) >= NODES:
            return self._untried(record)
        if record.node is None:
            able = self.nodes.able(record.lost or (), [one.node for one in record.full or ()])
            if not able:
                return self._open(record, f"The trial of {_names(self.finalists)} for {self.profile} waits for a node.")
            free = [one.name for one in able if one.name not in rest]
            if not free or len(rest) >= MOST:
                return self._full(record)
            alike = self.nodes.alike([one for one in able if one.name in free], record.lost or ())
            node = next((name for name in alike if not self.fleet.turns.keep(name)), None)
            if node is None:
                return self._waits(record, alike, self.fleet.turns.keep(alike[0]))
            record = record.model_copy(update={"node": node, "started_time": time_text(self.now)})
        node = record.node or ""
        return self._borrowing(record, node) if self.nodes.borrows(node) else self._running(record, node)

    @cached_property
    def rolled(self) -> Revision | None:
        """The revision of this build on this profile that is rolled out; None before its first rollout."""
        return held_revision(self.snapshot, self.profile, *self.found.keys)

    @cached_property
    def finalists(self) -> tuple[FinalistStatus, ...]:
        """The builds' that keep the gates, where there are several or a trial knows the one; else none.

        While the registry does not answer: those of the record that were not refused when it answered last.
        """
        tried = self.before.finalists if self.before else ()
        if self.state.report is None and len(self.found.states) == 1:
            out = refused_before(self.model.status, self.profile, None, self.state.build.key)
            refused = {one.get("precision") for one in out}
            return tuple(one for one in tried if one.precision not in refused)
        found = self.found.finalists()
        known = {one.image for one in tried if one.reason}
        return found if len(found) > 1 or all(one.image in known for one in found) else ()

    def _begun(self, finalists: tuple[FinalistStatus, ...]) -> TrialStatus:
        """The record as it stands; a new one where there is none for these finalists, or it is to be made anew."""
        if self.before and not self._outdated(self.before):
            record = carried_on(self.before, finalists)
            if record:
                return record
        return TrialStatus(
            profile=self.profile,
            build_key=self.state.build.key,
            attempt=self.attempt or None,
            finalists=finalists,
            lent=self.before.lent if self.before else None,
        )

    def _outdated(self, record: TrialStatus) -> bool:
        """Whether a trial is to be made again: the user asks, where it chose nobody, or the device changed."""
        tried = all(one.reason for one in record.finalists)
        without = (tried and record.winner is None) or len(record.lost or ()) >= NODES
        if without and self.attempt and self.attempt != (record.attempt or ""):
            return True
        completed = time_in(record.completed_time)
        if not tried or completed is None or not record.node or not record.device:
            return False
        ours = {one.revision for one in self.snapshot.revisions if one.profile == self.profile}
        return any(
            pod.revision in ours and completed < pod.created <= self.now and _differs(record.device, pod)
            for pod in self.fleet.servers.get(record.node, ())
        )

    def _taken_in(self, record: TrialStatus) -> TrialStatus:
        """The record with what its pods have left on its node."""
        pods = self.pods.of(record)
        node = record.node or next((pod.node for pod in pods if not pod.terminating), None)
        ended = {name: one for pod in pods if pod.node == node for name, one in pod.ended.items()}
        fresh = [one for one in record.finalists if one.reason is None and one.container in ended]
        if not fresh:
            return record
        devices = [finding.device for one in fresh if (finding := ended[one.container].finding) and finding.device]
        known = [record.device] if record.device else []
        finalists = tuple(measured(one, ended[one.container]) if one in fresh else one for one in record.finalists)
        facts = shared_facts([*known, *devices])
        return record.model_copy(update={"node": node, "finalists": finalists, "device": facts or None})

    def _looked(self, record: TrialStatus) -> TrialStatus:
        """The record with what its node's disk lacks; another one is asked then, where nothing was measured yet."""
        node = record.node
        if node is None or (pod := self.pods.at(record, node)) is None:
            return record
        if pod.roomy:
            return cleared(record, node)
        if not pod.lacks or any(one.node == node for one in resting(record, self.now)):
            return record
        record = noted(record, node, pod.lacks, self.now)
        if any(one.reason for one in record.finalists):
            return record.model_copy(update={"started_time": None})
        # Where it gave up its server, it is marked as such until it has one again.
        return record.model_copy(update={"node": None, "started_time": None})

    def _full(self, record: TrialStatus) -> Step:
        """A trial that waits for room: every node that may be asked has looked lately."""
        rest = resting(record, self.now)
        first, more = rest[0], len(rest) - 1
        others = f"; nor has {more} more" if more == 1 else f"; nor have {more} more" if more else ""
        said = f"The trial of {_names(self.finalists)} for {self.profile} waits for room on a node's disk"
        step = self._open(record, f"{said}: {first.node} has none, {first.message}{others}.", Reason.DISK_FULL)
        return replace(step, state=replace(step.state, look_again=max(until_again(rest, self.now), 1.0)))

    def _lost(self, record: TrialStatus) -> TrialStatus:
        """The record without its node where that cannot finish: measurements of two nodes are not to be compared."""
        node = record.node
        if node is not None and node in (record.lent or ()) and self.nodes.borrows(node):
            # It waits for its turn and nothing was measured yet, so another one may do as well.
            known = self.nodes.able(())
            gone = all(one.name != node for one in known)
            return released(record, node).model_copy(update={"node": None, "started_time": None}) if gone else record
        if node is None or not self._is_lost(record, node):
            return record
        finalists = tuple(unmeasured(one) for one in self.finalists)
        lost = (*(record.lost or ()), node)
        return record.model_copy(
            update={"node": None, "started_time": None, "device": None, "finalists": finalists, "lost": lost}
        )

    def _is_lost(self, record: TrialStatus, node: str) -> bool:
        found = next((one for one in self.snapshot.nodes if one.name == node), None)
        pod = self.pods.at(record, node)
        if found is None or self.fleet.profile_of.get(node) != self.profile or (pod is not None and pod.over):
            return True
        return self._remaining(record, ready=found.ready) <= 0

    def _remaining(self, record: TrialStatus, *, ready: bool = True) -> float:
        """Seconds that a node has left."""
        deadline = parse_duration(self.model.spec.rollout.progress_deadline)
        return time_left(record, deadline, self.now, ready=ready).total_seconds()

    def _running(self, record: TrialStatus, node: str) -> Step:
        pod, left = self.pods.trying(record, node), left_of(record)
        kept = self.pods.pulled(record, node)
        trying = node if self.nodes.devices else None
        if pod is None and (why := self._busy(record, node)):
            return replace(self._waits(record, [node], why), pods=kept, trying=trying)
        start = None
        if pod is None:
            room = None if kept else self._room(left)
            start = StartTrial(self.state.profile, self.pods.trial(record), node, left, room=room)
        said = f"Node {node} tries {_names(self.finalists)} for {self.profile}{_waiting(pod)}."
        step = self._awaited(record, said, pod.name if pod else self.pods.name(record, node), start)
        return replace(step, pods=step.pods | kept, trying=trying, pulls=None if kept else node)

    def _borrowing(self, record: TrialStatus, node: str) -> Step:
        """A node whose server holds the device: it pulls what it is to try, and then gives up that server."""
        pod, left = self.pods.pulling(record, node), left_of(record)
        if pod is not None and left.keys() <= pod.ended.keys():
            said = f"Node {node} is to give up its server, so that {_names(self.finalists)} can be tried on its device."
            # Until then it waits, and nobody for it.
            waits = asked(record, node).model_copy(update={"started_time": None})
            return replace(self._open(waits, said), pods=frozenset({pod.name}), trying=node)
        if pod is None and (why := self._busy(record, node)):
            return self._waits(record, [node], why)
        name, start = self.pods.pull_name(record, node), None
        if pod is None:
            keeps, room = self.nodes.image(node, left), self._room(left)
            start = StartTrial(self.state.profile, self.pods.pull(record), node, left, keeps=keeps, room=room)
        said = f"Node {node} pulls {_names(self.finalists)} for {self.profile}, to try them{_waiting(pod)}."
        return replace(self._awaited(record, said, name, start), pulls=node)

    def _busy(self, record: TrialStatus, node: str) -> str:
        """Why a node is not to begin now, in one sentence; who has begun, or gave up a server for it, goes first."""
        begun = record.started_time or node in (record.lent or ())
        return self.fleet.turns.at_work(node) if begun else self.fleet.turns.keep(node)

    def _waits(self, record: TrialStatus, names: Sequence[str], why: str) -> Step:
        """A trial that waits for its turn on one of some nodes, the best one first."""
        said = f"The trial of {_names(self.finalists)} for {self.profile} waits for its turn on node {names[0]}. {why}"
        return replace(self._open(record, said), waits=frozenset(names))

    def _awaited(self, record: TrialStatus, said: str, pod: str, start: StartTrial | None) -> Step:
        """A pod is awaited. A node that becomes NotReady is reported; its deadline is the shorter one."""
        if record.started_time is None:
            record = record.model_copy(update={"started_time": time_text(self.now)})
        step = self._open(record, said)
        state = replace(step.state, look_again=max(self._remaining(record), 1.0))
        return Step(state, step.record, start, frozenset({pod}))

    def _room(self, left: Mapping[str, str]) -> Room | None:
        """What a node is to have for finalists before it pulls the first of them."""
        return trial_room(left.values(), self.found.built)

    def _open(self, record: TrialStatus, message: str, reason: Reason = Reason.TRIAL) -> Step:
        """Nothing is decided yet: nodes keep what they run, also where that is this build."""
        record = record.model_copy(update={"message": message, "winner": None})
        if self.rolled is not None:
            return Step(self._with_image(self.rolled.image), record)
        return Step(self._without_image(phase="Trial", reason=reason, message=message), record)

    def _decided(self, record: TrialStatus) -> Step:
        now = record.finalists[: len(self.finalists)]
        verdicts = judge_trial(now, self.model.spec.optimize.objective, Bounds.of(self.model))
        out = {
            name_of(state, one.precision): one.rejected for state in self.found.states for one in state.refused or ()
        }
        said = out | verdicts.said
        finalists = tuple(
            one.model_copy(update={"verdict": bounded(said.get(one.name) or "") or None}) for one in record.finalists
        )
        where = f"on node {record.node} for {self.profile}"
        winner = next((one for one in finalists if one.name == verdicts.winner), None)
        if winner is not None:
            message = f"{winner.name} won the trial {where}."
        else:
            why = " ".join(f"{one.name}: {one.verdict}" for one in finalists[: len(now)])
            message = (
                f"No candidate passed the trial {where}; change the gates, publish a new source, or set annotation "
                f"{RETRY_ANNOTATION} to a new value. {why}"
            )[:2000]
        completed = record.completed_time or time_text(self.now)
        told = {"finalists": finalists, "winner": verdicts.winner, "message": message, "completed_time": completed}
        record = record.model_copy(update=told | {"full": None})
        if winner is not None:
            return Step(self._with_image(winner.image), record)
        failed = self._without_image(phase="TrialFailed", reason=Reason.TRIAL_FAILED, message=message)
        return Step(failed, record)

    def _without_image(self, **told: Any) -> BuildState:
        """The build with nothing to roll out."""
        return replace(self.state, image=None, built=self.state.tagged, report=None, start=None, **told)

    def _untried(self, record: TrialStatus) -> Step:
        """The ladder's order, since no node finished."""
        first = record.finalists[0]
        nodes = some(record.lost or ())
        why = f"no trial was finished on {nodes}, so {first.name}, the first of the ladder, is rolled out untried"
        told = {"winner": first.name, "message": f"{why[0].upper()}{why[1:]}.", "full": None}
        return Step(self._with_image(first.image, why), record.model_copy(update=told))

    def _with_image(self, image: str, warning: str = "") -> BuildState:
        """The build with the image that is rolled out, and its report."""
        state = self._of(image)
        tagged = state.tagged
        return replace(
            state,
            image=image,
            built=tagged if tagged != image else None,
            report=_report(state, image, warning),
        )

    def _of(self, image: str) -> BuildState:
        """The build that an image is of."""
        made = self.found.made(image)
        if made is None and self.rolled and self.rolled.image == image:
            made = next((one for one in self.found.states if one.build.key == key_of(self.rolled)), None)
        return made or self.state


def _report(state: BuildState, image: str, warning: str) -> BuildReport | None:
    report, digest = state.report, image.partition("@")[2]
    if report is None:
        return None
    found = next((one for one in report.finalists if one.digest == digest), report.finalists[0])
    said = report.of(found)
    return said.model_copy(update={"warnings": (*said.warnings, warning)}) if warning else said


def _waiting(pod: TrialPod | None) -> str:
    """Why a pod does not go on, as the end of a sentence."""
    return f": {pod.waiting.rstrip('.')}" if pod and pod.waiting else ""


def _names(finalists: Sequence[FinalistStatus]) -> str:
    return some([one.name for one in finalists])


def _differs(known: Mapping[str, str], pod: Pod) -> bool:
    """Whether a server's self-test says something else of the device than the trial did."""
    said = pod.selftest.device if pod.selftest else {}
    return bool(said) and any(str(said.get(name, value)) != value for name, value in known.items())
