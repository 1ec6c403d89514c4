"""Fleets in words, and one step of the planner over them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

from snapshots import NOW

from edgesmith.decide.devices import Shortage
from edgesmith.decide.fleet import Failure, NodeState, RevisionState, Rules, ServerState, Step, Variant
from edgesmith.decide.rollout import Course, plan_rollout
from edgesmith.decide.strategy import Strategy

LONG_AGO = NOW - timedelta(days=9)
HALF_MINUTE, MINUTE = timedelta(seconds=30), timedelta(minutes=1)
RULES = Rules((Step(1, HALF_MINUTE),), max_unavailable=2, max_failed=1, deadline=timedelta(minutes=5))

OLDEST = RevisionState("oldest", LONG_AGO - MINUTE, 1, proven=LONG_AGO - MINUTE, completed=LONG_AGO - MINUTE)
OLD = RevisionState("old", LONG_AGO, 1, proven=LONG_AGO, completed=LONG_AGO)
OPEN = replace(OLD, completed=None)
"""The old revision where it never was completed."""
ODD = RevisionState("odd", LONG_AGO + MINUTE)
"""One that was on its first step when another took its place."""
NEW = RevisionState("new", NOW - timedelta(minutes=9))
PROVEN = replace(NEW, steps=1, proven=NOW - timedelta(minutes=5))
COMPLETED = replace(PROVEN, completed=NOW - MINUTE)
BAD = replace(NEW, rolled_back="n0 failed.", reason="CanaryFailed")

SURGE, REPLACE = Strategy("Surge"), Strategy("Replace")

_STATES = {
    ".": ServerState.NONE,
    "?": ServerState.STARTING,
    "+": ServerState.SERVING,
    "!": ServerState.FAILED,
    "*": ServerState.FAILED,
}
_WORD = re.compile(
    r"(?P<away>[~#%]?)(?P<label>\w*)(?P<state>[.?+!*])(?P<broken>!?)(/(?P<failed>\w+)(?P<excuse>!?))?(<(?P<previous>\w+))?"
)


def fleet(text: str, start: int = 0, /, **changes: Any) -> tuple[NodeState, ...]:
    """Nodes n0, n1, … from words.

    `old+` serves for ten minutes, `new?` starts, `new!` failed, `new*` failed and its server is ready again, `new!!`
    failed as it did before, `.` has no label, `what.` has one that names nothing, `~old+` is NotReady for a minute,
    `#old+` is tainted, `%old+` lacks a device, `old+/new` failed on another revision (`old+/new!` as on the one
    before), `new+<old` ran another one before.

    Args:
        text: The words.
        start: The number of the first node.
        changes: Other fields of a node, by its name.
    """
    nodes = []
    for number, word in enumerate(text.split(), start):
        said = _WORD.fullmatch(word)
        assert said, word
        label, state = said["label"] or None, _STATES[said["state"]]
        failed = {said["failed"]: Failure(broken=bool(said["excuse"]), note="failed there")} if said["failed"] else {}
        if state is ServerState.FAILED:
            failed[str(label)] = Failure(broken=bool(said["broken"]), note="failed")
        since = NOW - timedelta(minutes=10)
        one = NodeState(
            f"n{number}",
            said["away"] != "~",
            label,
            state,
            since=since,
            moved=since,
            away=NOW - MINUTE if said["away"] == "~" or (said["away"] == "%" and said["state"] != "+") else None,
            note="failed" if state is ServerState.FAILED else "",
            deadline=NOW + MINUTE if state is ServerState.STARTING and not said["away"] else None,
            taint="maintenance:NoSchedule" if said["away"] == "#" else "",
            failures=failed,
            previous=said["previous"],
            shortage=Shortage("squat.ai/edgetpu", 1, 0) if said["away"] == "%" else None,
            answers=said["state"] == "*",
        )
        nodes.append(replace(one, **changes.get(one.name, {})))
    return tuple(nodes)


def variant(
    nodes: str | tuple[NodeState, ...],
    *revisions: RevisionState,
    target: str | None = "new",
    name: str = "p",
    **more: Any,
) -> Variant:
    """A variant of these nodes; which of them carry what is not completed follows from its revisions."""
    found = fleet(nodes) if isinstance(nodes, str) else nodes
    completed = {one.revision for one in revisions if one.completed}
    found = tuple(replace(node, unfinished=bool(node.label) and node.label not in completed) for node in found)
    return Variant(name, target, revisions, found, **more)


def step(
    nodes: str | tuple[NodeState, ...],
    *revisions: RevisionState,
    rules: Rules = RULES,
    after: float = 0,
    **more: Any,
) -> Course:
    """The next step of one variant, so many seconds after NOW."""
    return plan_rollout([variant(nodes, *revisions, **more)], rules, NOW + timedelta(seconds=after)).courses[0]


def with_rules(**changes: Any) -> Rules:
    """The rules with other fields; `steps` are (nodes, bake in seconds) or whole steps."""
    steps = changes.pop("steps", None)
    if steps is not None:
        made = (one if isinstance(one, Step) else Step(one[0], timedelta(seconds=one[1])) for one in steps)
        changes["steps"] = tuple(made)
    return replace(RULES, **changes)


WIDE = with_rules(max_unavailable=5)
TWO = with_rules(steps=[(2, 30)], max_unavailable=5)
PART = replace(NEW, steps=1)
"""The new revision in its second step."""


def moves(course: Course) -> dict[str, str | None]:
    """Node to the revision that it is given."""
    return {move.node: move.revision for move in course.moves}


def state_of(course: Course, revision: str) -> RevisionState:
    """A revision as it is after the step."""
    return next(one for one in course.revisions if one.revision == revision)


def beside(words: str, *, old: str = "old", serving: bool = True, staged: bool = False) -> tuple[NodeState, ...]:
    """Nodes that make their revision ready beside another one."""
    return tuple(
        replace(one, beside=old, beside_serving=serving, staged=staged) if one.label == "new" else one
        for one in fleet(words)
    )


def writes(course: Course) -> dict[str, tuple[str | None, str | None]]:
    """Node to its labels after the step: what it runs, and what it makes ready."""
    return {move.node: (move.label, move.next) for move in course.moves}


def why(course: Course, revision: str = "new") -> tuple[str, str | None]:
    """Why a revision is out, and since when it is rolled back."""
    one = state_of(course, revision)
    return one.reason, one.rolled_back
