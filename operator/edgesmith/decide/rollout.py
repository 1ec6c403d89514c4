"""Which revision each node runs next. Stateless: labels, annotations and pods are all that is known.

The rules, in the order in which they are applied, are those of docs/rollout.md:

1. A revision that fails on a reachable node before every reachable node served it is withdrawn. One that is proven and
   has none before it stays: taking it away would leave nodes that serve with nothing.
2. A withdrawn revision is taken off every label at once, offline nodes' too, and outside the budget.
3. An unproven revision goes to its canary nodes and no further, until they have all served for the bake.
4. A proven one goes to the other nodes within the budget. A node that failed on what it ran before goes last, so that
   a broken device cannot speak against a new revision.
5. Offline and closed nodes are neither moved nor counted, and a label that names no revision of the node's variant is
   taken away.

Budget: nodes on their way plus nodes moved, over all variants, never exceed it; and for a node that serves, nodes that
failed on this variant's revision count too, so that a bad revision cannot creep through the fleet one node at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

from edgesmith.decide.plan import Hold, Move


class Health(Enum):
    """How a node does with the revision that its label names."""

    IDLE = "idle"
    """No label, or one that names no revision of this variant."""
    STARTING = "starting"
    SERVING = "serving"
    FAILED = "failed"


class Phase(Enum):
    """Where a variant's rollout stands."""

    NO_NODES = "NoNodes"
    WAITING = "Waiting"
    CANARY = "Canary"
    ROLLING_OUT = "RollingOut"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    NONE_LEFT = "NoneLeft"
    DEGRADED = "Degraded"
    COMPLETE = "Complete"


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node of a variant."""

    name: str
    online: bool
    """Whether it can be moved: it is reachable, and no taint keeps new pods away."""
    label: str | None
    health: Health
    since: datetime | None = None
    """Serving since."""
    note: str = ""
    """What is wrong or awaited: the end of a sentence that begins with the node's name."""
    pull_failed: bool = False
    deadline: datetime | None = None
    """When a node on its way counts as failed."""
    closed: bool = False
    """Whether it is reachable and a taint, which `note` names, keeps new pods away."""


@dataclass(frozen=True, slots=True)
class RevisionState:
    """One revision of a variant, with what is annotated on its DaemonSet."""

    revision: str
    created: datetime
    proven: datetime | None = None
    completed: datetime | None = None
    withdrawn: str | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant: its nodes, its revisions, and the one that the spec asks for."""

    profile: str
    target: str | None
    """None while its image is not known."""
    revisions: tuple[RevisionState, ...]
    """The target among them."""
    nodes: tuple[NodeState, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """`spec.rollout`, in numbers."""

    canary_nodes: int
    bake: timedelta
    budget: int
    """Nodes that may be without a ready server at once, over all variants."""


@dataclass(frozen=True, slots=True)
class Course:
    """What one variant does next."""

    profile: str
    phase: Phase
    target: RevisionState | None
    """As it is after this pass."""
    stable: RevisionState | None
    """What nodes run that do not run the target: the proven revision before it."""
    revisions: tuple[RevisionState, ...]
    """All of them, as they are after this pass."""
    moves: tuple[Move, ...]
    holds: tuple[Hold, ...]
    look_again: float | None


@dataclass(slots=True)
class _Budget:
    """Counts nodes on their way."""

    limit: int
    used: int

    def take(self, node: NodeState, failed: int) -> bool:
        """Whether a node may be moved; if so, it is counted.

        A node that is on its way already costs nothing more. `failed` counts against nodes that serve only: a node
        that serves nothing has nothing to lose.
        """
        if node.health is Health.STARTING:
            return True
        if self.used + (failed if node.health is Health.SERVING else 0) >= self.limit:
            return False
        self.used += 1
        return True


def plan_rollout(variants: Sequence[Variant], rules: Rules, now: datetime) -> tuple[Course, ...]:
    """Decide the next step of every variant.

    A variant that fails does not hold up another; they share the budget only.
    """
    judged = [_Judged(variant, rules, now) for variant in variants]
    budget = _Budget(rules.budget, sum(one.on_their_way() for one in judged))
    return tuple(one.course(budget) for one in judged)


@dataclass
class _Judged:
    """One variant in one pass: first what its revisions have shown themselves to be, then the moves."""

    variant: Variant
    rules: Rules
    now: datetime
    revisions: dict[str, RevisionState] = field(init=False)
    moves: dict[str, Move] = field(init=False, default_factory=dict)
    holds: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.revisions = {revision.revision: revision for revision in self.variant.revisions}
        self.online = sorted((node for node in self.variant.nodes if node.online), key=lambda node: node.name)
        for revision in tuple(self.revisions.values()):
            self._withdraw_if_failing(revision)
        self._prove()
        self._complete()

    # What the revisions are

    @property
    def target(self) -> RevisionState | None:
        return self.revisions[self.variant.target] if self.variant.target else None

    @property
    def stable(self) -> RevisionState | None:
        """The proven revision before the target: of those not withdrawn, the one proven last."""
        return self._before(self.variant.target)

    @property
    def approved(self) -> RevisionState | None:
        """What any node may run: the target once it is proven, until then the one before it."""
        target = self.target
        return target if target and target.proven and not target.withdrawn else self.stable

    def _before(self, revision: str | None) -> RevisionState | None:
        proven = [
            (one.proven, one.revision)
            for one in self.revisions.values()
            if one.proven and not one.withdrawn and one.revision != revision
        ]
        return self.revisions[max(proven)[1]] if proven else None

    def _carriers(self, revision: str) -> list[NodeState]:
        return [node for node in self.online if node.label == revision]

    def _failed_on(self, revision: str) -> list[NodeState]:
        return [node for node in self._carriers(revision) if node.health is Health.FAILED]

    def _withdraw_if_failing(self, revision: RevisionState) -> None:
        if revision.withdrawn or revision.completed:
            return
        failing = self._failed_on(revision.revision)
        if not failing or (revision.proven and not self._before(revision.revision)):
            return
        why = f"{failing[0].name} {failing[0].note}."
        self.revisions[revision.revision] = replace(revision, withdrawn=why)

    def _prove(self) -> None:
        target = self.target
        if target is None or target.withdrawn:
            return
        if target.proven:
            # The spec went back to a revision that had held before: it is the newest approved one again.
            others = [one.proven for one in self.revisions.values() if one.proven and not one.withdrawn]
            if max(others) > target.proven:
                self.revisions[target.revision] = replace(target, proven=self.now)
            return
        carriers = self._carriers(target.revision)
        needed = min(self.rules.canary_nodes, len(self.online))
        if carriers and len(carriers) >= needed and all(self._baked(node) for node in carriers):
            self.revisions[target.revision] = replace(target, proven=self.now)

    def _baked(self, node: NodeState) -> bool:
        return node.health is Health.SERVING and node.since is not None and self.now - node.since >= self.rules.bake

    def _complete(self) -> None:
        target = self.target
        if target is None or target.withdrawn or not target.proven or target.completed:
            return
        serving = [node.label == target.revision and node.health is Health.SERVING for node in self.online]
        broken = [node.label != target.revision and node.health is Health.FAILED for node in self.online]
        if any(serving) and all(a or b for a, b in zip(serving, broken, strict=True)):
            self.revisions[target.revision] = replace(target, completed=self.now)

    def _is_withdrawn(self, node: NodeState) -> bool:
        revision = self.revisions.get(node.label or "")
        return revision is not None and revision.withdrawn is not None

    def on_their_way(self) -> int:
        """Reachable nodes that have been moved, or are moved back in this pass, and do not serve yet."""
        rolled_back = sum(self._is_withdrawn(node) for node in self.online) if self.approved else 0
        starting = sum(node.health is Health.STARTING and not self._is_withdrawn(node) for node in self.online)
        return rolled_back + starting

    # The moves

    def course(self, budget: _Budget) -> Course:
        """Decide the moves."""
        self._roll_back()
        target = self.target
        if target and not target.withdrawn and not target.proven:
            self._canary(target, budget)
        for node in self._in_order():
            self._follow(node, budget)
        for node in self.variant.nodes:
            if node.label is not None and node.health is Health.IDLE and node.name not in self.moves:
                self._move(node, None, f"Revision {node.label} is not one for profile {self.variant.profile}.")
        for node in self.variant.nodes:
            approved = self.approved
            if not node.online and approved and node.label != approved.revision and node.name not in self.moves:
                away = f"{node.note}; it" if node.closed else "is offline and"
                self.holds[node.name] = (
                    f"It {away} will be caught up when {'that ends' if node.closed else 'it returns'}."
                )
        return Course(
            self.variant.profile,
            self._phase(),
            target,
            self.stable,
            tuple(self.revisions[name] for name in sorted(self.revisions)),
            tuple(self.moves[name] for name in sorted(self.moves)),
            tuple(Hold(name, self.holds[name]) for name in sorted(self.holds)),
            self._look_again(),
        )

    def _move(self, node: NodeState, revision: str | None, reason: str) -> None:
        self.moves[node.name] = Move(node.name, revision, reason)
        self.holds.pop(node.name, None)

    def _roll_back(self) -> None:
        approved = self.approved
        for node in self.variant.nodes:
            if self._is_withdrawn(node):
                why = self.revisions[node.label or ""].withdrawn
                self._move(
                    node, approved.revision if approved else None, f"Revision {node.label} was taken back: {why}"
                )

    def _canary(self, target: RevisionState, budget: _Budget) -> None:
        missing = min(self.rules.canary_nodes, len(self.online)) - len(self._carriers(target.revision))
        candidates = [node for node in self.online if node.label != target.revision and node.name not in self.moves]
        for node in sorted(candidates, key=self._canary_rank):
            if missing <= 0:
                return
            if budget.take(node, failed=0):
                self._move(node, target.revision, f"It is a canary of revision {target.revision}.")
                missing -= 1
            else:
                self.holds[node.name] = self._full(budget)

    def _canary_rank(self, node: NodeState) -> tuple[int, str]:
        """Best first: a node that tries another unproven revision, then healthy ones, broken ones last."""
        runs = self.revisions.get(node.label or "")
        if node.health is Health.SERVING:
            return (0 if runs and not runs.proven else 1), node.name
        return {Health.IDLE: 2, Health.STARTING: 3}.get(node.health, 4), node.name

    def _in_order(self) -> Iterator[NodeState]:
        """Reachable nodes that were not moved yet: those with least to lose first, broken ones last."""
        rank = {Health.STARTING: 0, Health.IDLE: 1, Health.SERVING: 2, Health.FAILED: 3}
        for node in sorted(self.online, key=lambda node: (rank[node.health], node.name)):
            if node.name not in self.moves:
                yield node

    def _follow(self, node: NodeState, budget: _Budget) -> None:
        """Move one node to what is approved, or say why not."""
        target, approved = self.target, self.approved
        trying = target is not None and not target.withdrawn and not target.proven
        if target and not target.withdrawn and node.label == target.revision:
            return
        if approved is None or node.label == approved.revision or not self._may_leave(node, approved):
            if trying and target:
                self.holds.setdefault(node.name, f"It waits until revision {target.revision} has held on its canary.")
            return
        if approved is target and node.health is Health.FAILED and not approved.completed:
            self.holds[node.name] = f"It {node.note} on revision {node.label}, so it is moved last."
        elif budget.take(node, len(self._failed_on(approved.revision))):
            self._move(node, approved.revision, f"Revision {approved.revision} is approved.")
        else:
            self.holds[node.name] = self._full(budget)

    def _may_leave(self, node: NodeState, approved: RevisionState) -> bool:
        """Whether a node is to leave what it runs for what is approved.

        While the target is not proven or not known, a node keeps what it has. With the target taken back, a node that
        tries yet another unproven revision goes back as well.
        """
        if approved is self.target or node.health is Health.IDLE:
            return True
        current = self.revisions.get(node.label or "")
        return bool(current and not current.proven and self.target and self.target.withdrawn)

    @staticmethod
    def _full(budget: _Budget) -> str:
        return f"As many nodes as spec.rollout.maxUnavailable allows ({budget.limit}) are without a ready server."

    # What to say of it

    def _phase(self) -> Phase:
        target = self.target
        if not self.variant.nodes:
            return Phase.NO_NODES
        if target is None:
            return Phase.WAITING
        moving = any(node.name in self.moves or node.health is Health.STARTING for node in self.online)
        if target.withdrawn and moving:
            return Phase.ROLLING_BACK
        if target.withdrawn:
            return Phase.ROLLED_BACK if self.stable else Phase.NONE_LEFT
        return self._phase_forward(target, moving=moving)

    def _phase_forward(self, target: RevisionState, *, moving: bool) -> Phase:
        if not self.online:
            return Phase.COMPLETE if target.completed else Phase.WAITING
        if not target.proven:
            return Phase.CANARY
        if all(node.label == target.revision and node.health is Health.SERVING for node in self.online):
            return Phase.COMPLETE
        # A node that only waits for another variant's share of the budget is not in trouble.
        failed = any(node.health is Health.FAILED for node in self.online)
        return Phase.DEGRADED if failed and not moving else Phase.ROLLING_OUT

    def _look_again(self) -> float | None:
        ends: list[datetime] = [node.deadline for node in self.online if node.deadline]
        target = self.target
        if target and not target.proven and not target.withdrawn:
            ends += self._bakes(self._carriers(target.revision))
        return min(((end - self.now).total_seconds() for end in ends if end > self.now), default=None)

    def _bakes(self, nodes: Iterable[NodeState]) -> list[datetime]:
        return [node.since + self.rules.bake for node in nodes if node.since]
