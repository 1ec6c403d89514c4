"""How many nodes are without a server or on their way to one, and how many may be: `maxUnavailable`.

Nodes that are without a ready server and nodes that are given another revision in this pass, over all variants, never
exceed it where a server that works has to end for it. A node that serves nothing has nothing to lose; it only waits
until fewer nodes than that are on their way. A percentage holds for each variant as well, as if it were alone, so that
no small profile is without all of its servers within the budget of a large fleet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from edgesmith.api.status import PendingReason
from edgesmith.decide.absent import kept_by_leaving, kept_places
from edgesmith.decide.fleet import NodeState, Rules, ServerState
from edgesmith.decide.hold import hold_for
from edgesmith.decide.judge import Judgement
from edgesmith.decide.staging import only_held

BROUGHT_DOWN = frozenset({ServerState.STARTING, ServerState.FAILED})


@dataclass(slots=True)
class Budget:
    """Nodes without a server, and nodes on their way to one."""

    limit: int
    starting: int
    """Nodes on their way: those that start and are not late, those moved in this pass, and those that lent their device
    to a trial. Not those that only wait for a pause or a closed window to end."""
    down: int
    """Other nodes that count as unavailable: failed ones whose server does not answer, and those that carry what is not
    completed and lost their device and their server, or became NotReady, or come and go, and keep their place."""
    staged: int = 0
    """Of the nodes on their way, those whose old server is ready still."""
    pulls: int | None = None
    """Most nodes that may pull at once; None: as many as are on their way."""
    pulling: int = 0
    """Nodes on their way whose image is not known to be there, and those that pull what they are to try."""
    excused: frozenset[str] = frozenset()
    """Nodes that are without a server and are not part of `down`."""
    profile: str = ""
    """The DeviceProfile whose nodes it is for alone; empty: those of all."""
    within: Budget | None = None
    """What all variants share, of which this is one variant's part."""

    def lacks(self, node: NodeState, *, back: bool = False, pulls: bool = True) -> tuple[PendingReason, str] | None:
        """Why a node may not be moved, for machines and in one sentence; None where it may be. Nothing is counted.

        Args:
            node: The node. One that is on its way already costs nothing more.
            back: Whether it leaves a revision that was rolled back or failed there: then only nodes on their way count,
                since failed ones must not keep the others on it.
            pulls: Whether it is given a revision; one that is given none pulls nothing, so no other one keeps it.
        """
        ends_a_server = node.has_server and not back
        taken = self.starting + (self.down if ends_a_server else 0)
        if not _on_its_way(node) and taken >= self.limit:
            return PendingReason.MAX_UNAVAILABLE, _full(self.limit, self.profile)
        if pulls and not back and self.pulls is not None and self.pulling - _pulls(node) >= self.pulls:
            message = f"As many nodes as spec.rollout.maxPulling allows ({self.pulls}) pull an image."
            return PendingReason.MAX_PULLING, message
        return self.within.lacks(node, back=back, pulls=pulls) if self.within else None

    def switch(self, node: NodeState, *, back: bool = False) -> bool:
        """Whether the old server of a staged node may end before the new one starts; if so, it is counted.

        Nodes that are staged have a place already, but more nodes may have lost their servers since. One that was late
        has one again. Where the old server is gone, whatever the budget says.

        Args:
            node: The node.
            back: As `lacks` has it.
        """
        counted = (self, self.within) if self.within else (self,)
        if node.beside_serving and any(one.waits(back=back) for one in counted):
            return False
        for one in counted:
            if _on_its_way(node):
                one.staged -= node.beside_serving
            else:
                one.starting += 1
        return True

    def waits(self, *, back: bool) -> bool:
        """Whether a staged node is to keep its old server, `back` as `lacks` has it; of this part alone."""
        return self.starting - self.staged + (0 if back else self.down) >= self.limit

    def restart(self, node: NodeState) -> None:
        """Count a node that is moved, whatever the budget says."""
        self.end(node)
        self.pulling += not _pulls(node)
        if self.within:
            self.within.pulling += not _pulls(node)

    def end(self, node: NodeState) -> None:
        """Count a node that is given nothing in place of its server, whatever the budget says: it pulls nothing."""
        if not _on_its_way(node):
            self.starting += 1
        if node.server is ServerState.FAILED and not node.answers and node.name not in self.excused:
            self.down = max(self.down - 1, 0)
        if self.within:
            self.within.end(node)


@lru_cache(maxsize=64)
def _full(limit: int, profile: str) -> str:
    """Why a node waits for a place, in one sentence: all that wait are told the same."""
    nodes = f"nodes of DeviceProfile {profile}" if profile else "nodes"
    return f"As many {nodes} as spec.rollout.maxUnavailable allows ({limit}) are without a ready server."


def budget_within(judged: Judgement, rules: Rules, now: datetime, whole: Budget) -> Budget:
    """What one variant has of the budget of all: a percentage is one of its own nodes, too.

    Args:
        judged: The variant.
        rules: The rules.
        now: The hub's time.
        whole: What all variants share.
    """
    if isinstance(rules.max_unavailable, int):
        return whole  # no part has more nodes without a server than all have
    own = budget_of([judged], rules, now)
    return replace(own, pulls=None, profile=judged.variant.profile, within=whole)


def budget_of(
    judgements: Sequence[Judgement],
    rules: Rules,
    now: datetime,
    leaving: Sequence[NodeState] = (),
    trying: int = 0,
) -> Budget:
    """Count the nodes of all variants that are without a server.

    Args:
        judgements: The variants.
        rules: The rules.
        now: The hub's time.
        leaving: Nodes of no variant that still carry a revision.
        trying: How many nodes pull what they are to try.
    """
    desired = sum(len(one.variant.nodes) for one in judgements)
    on_their_way = [node for one in judgements for node in _on_their_way(one, rules)]
    known = [_down(one, rules) for one in judgements]
    down = sum(one.counted for one in known)
    revisions = {name: state for one in judgements for name, state in one.revisions.items()}
    down += sum(kept_places(one, rules, now) for one in judgements) + kept_by_leaving(leaving, revisions, rules, now)
    staged = sum(node.beside_serving for node in on_their_way)
    pulling = trying + pulling_of(node for one in judgements for node in one.variant.unwell)
    desired += len(leaving)
    excused = frozenset(name for one in known for name in one.excused)
    return Budget(rules.unavailable(desired), len(on_their_way), down, staged, rules.pulling(desired), pulling, excused)


def _on_their_way(judged: Judgement, rules: Rules) -> list[NodeState]:
    """Nodes of a variant that are on their way, but for those that nothing but a hold keeps: nobody waits for that."""
    hold = hold_for(judged, rules)
    return [node for node in judged.variant.unwell if _starts(node) and not only_held(judged, node, hold)]


def pulling_of(nodes: Iterable[NodeState]) -> int:
    """How many of some nodes pull the image of a revision, or may do so."""
    return sum(_starts(node) and _pulls(node) for node in nodes)


def _starts(node: NodeState) -> bool:
    return node.movable and _on_its_way(node)


def _on_its_way(node: NodeState) -> bool:
    """Whether a node has a place of the budget: it starts a server, or gave one up and is to have one again."""
    return (node.server is ServerState.STARTING and not node.late) or node.lent is not None


def _pulls(node: NodeState) -> bool:
    """Whether a node counts as one that pulls."""
    return node.fetching and not node.late


class _Down(NamedTuple):
    """Nodes of a variant that can be reached, are without a server and do not start."""

    counted: int
    """How many of them count."""
    excused: Sequence[str]
    """Those that do not."""


def _down(judged: Judgement, rules: Rules) -> _Down:
    """Nodes of a variant that can be reached, count as unavailable and do not start.

    Devices that are known to be broken are left out as far as `maxFailed` goes: one such device must not stop every
    rollout. They failed on a revision that is completed; or, with nothing left to go back to, on the revision before as
    well, or on one that was proven and is not the target any more, while their partition keeps the target from them; or
    they went while the node has one that is not completed.
    """
    failed = 0
    lacking: list[str] = []
    broken: list[str] = []
    target = judged.target.revision if judged.target else None
    for node in judged.variant.unwell:
        revision = judged.revisions.get(node.label or "")
        if not node.ready:
            continue
        if node.shortage is not None:
            went = node.server in BROUGHT_DOWN and node.unfinished and not node.taint
            lacking += [node.name] * (went and not node.late)  # from then on it is one that `kept_places` counts
        elif node.server is ServerState.FAILED and not (node.taint or node.answers):
            one = node.failures.get(node.label or "")
            back, closed = judged.fallback(node), judged.closed(node)
            stays = back is None or back in node.failures or (back == target and closed)
            past = closed and bool(revision and revision.proven and revision.revision != target)
            known = bool(revision and revision.completed) or (stays and (past or bool(one and one.broken)))
            broken += [node.name] * known
            failed += not known
    # Those without their device cannot be moved, so they come first: where one is moved that counts, one less does.
    left_out, allowed = [*lacking, *broken], rules.failed(len(judged.variant.nodes))
    return _Down(failed + max(len(left_out) - allowed, 0), left_out[:allowed])
