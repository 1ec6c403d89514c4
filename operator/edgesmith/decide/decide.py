"""The spine: one pass over one EdgeModel, snapshot in, plan out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from edgesmith.api.names import node_label
from edgesmith.api.status import EdgeModelStatus
from edgesmith.api.units import parse_duration, parse_share
from edgesmith.decide.builds import BuildState, build_states
from edgesmith.decide.health import node_state
from edgesmith.decide.plan import Annotate, ApplyRevision, Delete, Move, Plan
from edgesmith.decide.profiles import Assignment, Resolved, assign, carries, resolve
from edgesmith.decide.retention import old_jobs, old_revisions
from edgesmith.decide.retry import requested
from edgesmith.decide.rollout import Course, NodeState, RevisionState, Rules, Variant, plan_rollout
from edgesmith.decide.serving import revision_of
from edgesmith.decide.snapshot import Node, Pod, Revision, Snapshot
from edgesmith.decide.status import VariantFacts, events_of, status_of


def decide(snapshot: Snapshot, now: datetime) -> Plan:
    """Decide what to do for one EdgeModel; the same snapshot and time always give the same plan."""
    if snapshot.model.metadata.deletion_timestamp:
        return _nothing(snapshot)
    world = _World(snapshot, now)
    courses = plan_rollout(world.variants(), world.rules(), now)
    strays = world.strays()
    moves = tuple(sorted((*strays, *(move for course in courses for move in course.moves)), key=lambda m: m.node))
    holds = tuple(sorted((hold for course in courses for hold in course.holds), key=lambda hold: hold.node))
    facts = [world.facts(course) for course in courses]
    status = status_of(snapshot.model, world.resolved, world.assignment, variants=facts, holds=holds, now=now)
    builds = tuple(state.start for state in world.builds.values() if state.start)
    waits = [course.look_again for course in courses] + [state.look_again for state in world.builds.values()]
    revisions = world.revisions(courses)
    return Plan(
        builds=builds,
        revisions=revisions,
        annotations=world.annotations(courses),
        moves=moves,
        holds=holds,
        deletes=(
            *old_jobs(snapshot.jobs, {state.build.key for state in world.builds.values()}),
            *world.unused(courses, moves),
        ),
        service=bool(revisions or snapshot.revisions),
        status=status,
        events=events_of(status, snapshot.model.status),
        look_again=min((wait for wait in waits if wait is not None), default=None),
    )


def _nothing(snapshot: Snapshot) -> Plan:
    """An EdgeModel that is being deleted: its children go with it, its labels are swept, its status stays."""
    status = EdgeModelStatus.model_validate(snapshot.model.status)
    return Plan((), (), (), (), (), (), service=False, status=status, events=(), look_again=None)


@dataclass(init=False)
class _World:
    """A snapshot, seen by profile."""

    snapshot: Snapshot
    now: datetime
    resolved: Resolved
    assignment: Assignment
    builds: dict[str, BuildState]
    targets: dict[str, str]
    """Profile to the revision that the spec asks for, where its image is known."""
    nodes: dict[str, list[NodeState]]
    """Profile to its nodes."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self.snapshot, self.now = snapshot, now
        model = snapshot.model
        self.label_key = node_label(model.metadata.namespace, model.metadata.name)
        self.retry = requested(model)
        self.resolved = resolve(model, snapshot.profiles)
        self.assignment = assign(model, self.resolved.profiles, snapshot.nodes)
        self.builds = build_states(snapshot, self.resolved.profiles, now)
        self.targets = {
            name: revision_of(state.profile, state.image, model, snapshot.settings)
            for name, state in self.builds.items()
            if state.image
        }
        self.by_revision = {revision.revision: revision for revision in snapshot.revisions}
        self.nodes = self._nodes()

    def rules(self) -> Rules:
        """`spec.rollout` in numbers; percentages are of the reachable nodes of the whole EdgeModel."""
        rollout = self.snapshot.model.spec.rollout
        online = sum(node.online for nodes in self.nodes.values() for node in nodes)
        return Rules(
            canary_nodes=rollout.canary.nodes,
            bake=parse_duration(rollout.canary.bake),
            budget=parse_share(rollout.max_unavailable, online),
        )

    def variants(self) -> tuple[Variant, ...]:
        """What the planner is to plan."""
        return tuple(
            Variant(profile, self.targets.get(profile), self._states(profile), tuple(nodes))
            for profile, nodes in sorted(self.nodes.items())
        )

    def strays(self) -> tuple[Move, ...]:
        """Labels of nodes that are of no variant: taken away, but for nodes of two profiles, which are left alone."""
        ours = {node.name for nodes in self.nodes.values() for node in nodes}
        found: list[Move] = []
        for node in self.snapshot.nodes:
            label = node.labels.get(self.label_key)
            if label is None or node.name in ours:
                continue
            revision = self.by_revision.get(label)
            if node.name not in self.assignment.ambiguous:
                found.append(Move(node.name, None, "It is no longer to run the model."))
            elif revision and revision.withdrawn:
                found.append(Move(node.name, None, f"Revision {label} was taken back: {revision.withdrawn}"))
        return tuple(found)

    def revisions(self, courses: tuple[Course, ...]) -> tuple[ApplyRevision, ...]:
        """The DaemonSets that the spec asks for, with what this pass found out about them."""
        found: list[ApplyRevision] = []
        for course in courses:
            state, target = self.builds.get(course.profile), course.target
            if state is None or target is None or state.image is None:
                continue
            found.append(
                ApplyRevision(
                    state.profile,
                    target.revision,
                    state.image,
                    state.build,
                    target.proven,
                    target.withdrawn,
                    self._attempt(target),
                    target.completed,
                )
            )
        return tuple(found)

    def annotations(self, courses: tuple[Course, ...]) -> tuple[Annotate, ...]:
        """What this pass found out about other revisions."""
        found: list[Annotate] = []
        for course in courses:
            for after in course.revisions:
                before = self.by_revision.get(after.revision)
                if before is None or (course.target and after.revision == course.target.revision):
                    continue
                if _marks(before) != (after.proven, after.completed, after.withdrawn):
                    found.append(
                        Annotate(before.name, after.proven, after.withdrawn, self._attempt(after), after.completed)
                    )
        return tuple(found)

    def unused(self, courses: tuple[Course, ...], moves: tuple[Move, ...]) -> tuple[Delete, ...]:
        """DaemonSets to delete, judged by the labels as they were and as they will be."""
        in_use = {label for node in self.snapshot.nodes if (label := node.labels.get(self.label_key))}
        in_use |= {move.revision for move in moves if move.revision}
        in_use |= {one.revision for course in courses for one in (course.target, course.stable) if one}
        profiles = {*self.resolved.unusable, *(profile.metadata.name for profile in self.resolved.profiles)}
        limit = self.snapshot.settings.revision_history_limit
        return old_revisions(self.snapshot.revisions, in_use=in_use, profiles=profiles, limit=limit)

    def facts(self, course: Course) -> VariantFacts:
        """What the status is to say of one variant."""
        nodes = tuple(self.nodes[course.profile])
        shown = course.target if course.target and not course.target.withdrawn else course.stable
        measured = [
            pod.selftest.p95_ms
            for pod in self.snapshot.pods
            if shown and pod.revision == shown.revision and pod.selftest and pod.selftest.p95_ms is not None
        ]
        return VariantFacts(
            course.profile,
            self.builds.get(course.profile),
            course,
            nodes,
            max(measured, default=None),
            not_allowed=course.profile in self.resolved.not_allowed,
        )

    def _attempt(self, revision: RevisionState) -> str:
        """The retry annotation's value that a withdrawn revision answers: as it was when it was withdrawn."""
        if not revision.withdrawn:
            return ""
        before = self.by_revision.get(revision.revision)
        return before.attempt if before and before.withdrawn and not self._retried(before) else self.retry

    def _retried(self, revision: Revision) -> bool:
        """Whether the user asked for another try of a revision that was taken back."""
        return bool(revision.withdrawn and self.retry and self.retry != revision.attempt)

    def _states(self, profile: str) -> tuple[RevisionState, ...]:
        """The revisions of a profile as they stand; a target that has no DaemonSet yet is new."""
        target = self.targets.get(profile)
        states = [
            RevisionState(one.revision, one.created)
            if one.revision == target and self._retried(one)
            else RevisionState(one.revision, one.created, one.proven, one.completed, one.withdrawn)
            for one in self.snapshot.revisions
            if one.profile == profile
        ]
        if target and target not in {state.revision for state in states}:
            states.append(RevisionState(target, self.now))
        return tuple(sorted(states, key=lambda state: (state.created, state.revision)))

    def _nodes(self) -> dict[str, list[NodeState]]:
        """Every node that is to run the model, by profile.

        Of a profile that is missing nobody can say which nodes are of it, and one that the namespace may not use gets
        no new ones; those that run it are taken to be of it.
        """
        pods: dict[str, list[Pod]] = defaultdict(list)
        for pod in self.snapshot.pods:
            pods[pod.node].append(pod)
        found: dict[str, list[NodeState]] = {profile.metadata.name: [] for profile in self.resolved.profiles}
        selector: Mapping[str, str] = self.snapshot.model.spec.node_selector
        for node in sorted(self.snapshot.nodes, key=lambda node: node.name):
            label = node.labels.get(self.label_key)
            revision = self.by_revision.get(label or "")
            profile = self.assignment.profile_of.get(node.name)
            orphan = revision is not None and revision.profile in self.resolved.unusable
            left_alone = node.name in self.assignment.ambiguous or not carries(node.labels, selector)
            if profile is None and revision and orphan and not left_alone:
                profile = revision.profile
            if profile:
                found.setdefault(profile, []).append(self._judge(node, label, profile, revision, pods[node.name]))
        return found

    def _judge(
        self, node: Node, label: str | None, profile: str, revision: Revision | None, pods: list[Pod]
    ) -> NodeState:
        known = (revision is not None and revision.profile == profile) or (
            label is not None and label == self.targets.get(profile)
        )
        deadline = parse_duration(self.snapshot.model.spec.rollout.progress_deadline)
        of = next((one for one in self.resolved.profiles if one.metadata.name == profile), None)
        return node_state(
            node,
            label=label,
            known=known,
            pods=pods,
            podless_since=self.snapshot.podless.get(node.name),
            tolerations=of.spec.runtime.tolerations if of else (),
            deadline=deadline,
            now=self.now,
        )


def _marks(revision: Revision) -> tuple[datetime | None, datetime | None, str | None]:
    return revision.proven, revision.completed, revision.withdrawn
