"""What a rollout holds its nodes to: the rules of the spec, and each variant's revisions as they stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.units import parse_duration
from edgesmith.decide.allowance import Allowance, Terms
from edgesmith.decide.fleet import Partitions, RevisionState, Rules, Step
from edgesmith.decide.marks import Mark, in_the_past, marks_of
from edgesmith.decide.needs import Needs, needs_in, needs_of
from edgesmith.decide.requests import NO_NAMES, REQUESTED, Named, Requests
from edgesmith.decide.retry import requested
from edgesmith.decide.snapshot import Revision, Snapshot
from edgesmith.decide.window import opening_of


class RolloutTerms:
    """The terms of one EdgeModel's rollout. Made once per pass; nothing in it changes afterwards."""

    def __init__(
        self,
        snapshot: Snapshot,
        profiles: Iterable[DeviceProfile],
        asked: Mapping[str, Named],
        now: datetime,
        without: Mapping[str, Named] = NO_NAMES,
    ) -> None:
        """Read them.

        Args:
            snapshot: Everything that is known of one EdgeModel.
            profiles: The DeviceProfiles that can be used.
            asked: The revision that the spec asks for, by the profile's name.
            now: The hub's time.
            without: What variants are called of which nothing can be rolled out now; see `Requests`.
        """
        self.now, self.attempt = now, requested(snapshot.model)
        self.marks = in_the_past(marks_of(snapshot.model.status), now)
        self.requests = Requests(snapshot, asked, self.marks, without)
        self.targets: Mapping[str, str] = self.requests.targets
        self.rules = rules_of(snapshot, now)
        """`spec.rollout`, as the planner reads it."""
        self.by_revision = {revision.revision: revision for revision in snapshot.revisions}
        self.retried = frozenset(
            target for target in self.targets.values() if (mark := self.marks.get(target)) and self._retried(mark)
        )
        names = {*self.targets, *(one.profile for one in snapshot.revisions)}
        self.states = {name: self._states(name) for name in names}
        """Every variant's revisions, by the profile's name."""
        self._completed = {one.revision for states in self.states.values() for one in states if one.completed}
        self._proven = {one.revision for states in self.states.values() for one in states if one.proven}
        deadline, bake = self.rules.deadline, max((step.bake for step in self.rules.steps), default=None)
        self._for_completed = Allowance(deadline, unfinished=False, grace=self.rules.grace)
        self._for_open = Allowance(deadline, unfinished=True, grace=self.rules.grace)
        self._for_canary = Allowance(deadline, unfinished=True, bake=bake, grace=self.rules.grace)
        self._needs = {one.metadata.name: needs_of(one, snapshot.model) for one in profiles}

    def rolled_back(self, label: str | None) -> bool:
        """Whether a label names a revision that was rolled back."""
        mark = self.marks.get(label or "")
        return bool(mark and mark.state.rolled_back)

    def of(self, label: str | None, profile: str | None) -> Terms:
        """What holds for every node of a profile with this label."""
        revision = self.by_revision.get(label or "")
        ours = label is not None and (
            label == self.targets.get(profile or "") or (revision is not None and revision.profile == profile)
        )
        needs = self._needed(revision, profile)
        return Terms(
            label,
            known=ours or revision is not None,
            allowed=self._allowance(label, profile),
            now=self.now,
            tolerations=needs.tolerations,
            devices=needs.devices,
            attempt=self.attempt,
            foreign=revision is not None and not ours,
        )

    def _needed(self, revision: Revision | None, profile: str | None) -> Needs:
        """What pods need on a node of a profile; where that cannot be used, what those need that are there."""
        found = self._needs.get(profile or "")
        if found is not None:
            return found
        return needs_in(revision.manifest) if revision else Needs()

    def _allowance(self, label: str | None, profile: str | None) -> Allowance:
        """What the revision that a label names is given on a node of a profile."""
        if label in self._completed:
            return self._for_completed
        tried = label is not None and label == self.targets.get(profile or "") and label not in self._proven
        return self._for_canary if tried else self._for_open

    def _retried(self, mark: Mark) -> bool:
        """Whether the user asked for another try of a revision that was rolled back."""
        return bool(mark.state.rolled_back and self.attempt and self.attempt != mark.attempt)

    def _states(self, profile: str) -> tuple[RevisionState, ...]:
        """The revisions of a profile as they stand; a target that has no DaemonSet yet is new."""
        target = self.targets.get(profile)
        created = {one.revision: one.created for one in self.by_revision.values() if one.profile == profile}
        if target:
            created.setdefault(target, self.now)
        states = []
        left = self.requests.left.get(profile)
        if left:
            created.setdefault(left, self.now)
        for revision, at in created.items():
            mark = self.marks.get(revision)
            fresh = mark is None or revision in self.retried
            state = RevisionState(revision, at) if fresh or not mark else replace(mark.state, created=at)
            states.append(left_state(state, str(target)) if revision == left else state)
        return tuple(sorted(states, key=lambda state: (state.created, state.revision)))


def left_state(state: RevisionState, to: str) -> RevisionState:
    """A revision that rollbackTo leaves, as one that was rolled back: no node is given it again but for a retry."""
    why = f"spec.rollout.rollbackTo asks for revision {to} in its place."
    return replace(state, rolled_back=state.rolled_back or why, reason=state.reason or REQUESTED)


def rules_of(snapshot: Snapshot, now: datetime) -> Rules:
    """`spec.rollout`, as the planner reads it."""
    spec = snapshot.model.spec
    rollout, parted = spec.rollout, spec.rollout.partitions
    return Rules(
        steps=tuple(Step(step.nodes, parse_duration(step.bake), step.node_selector) for step in rollout.steps),
        max_unavailable=rollout.max_unavailable,
        max_failed=rollout.max_failed,
        max_pulling=rollout.max_pulling,
        jitter=parse_duration(rollout.jitter),
        deadline=parse_duration(rollout.progress_deadline),
        grace=timedelta(seconds=snapshot.settings.node_grace_seconds),
        paused=rollout.paused,
        opening=opening_of(rollout.windows, now),
        partitions=Partitions(parted.label, parted.order, parse_duration(parted.bake)) if parted else None,
    )
