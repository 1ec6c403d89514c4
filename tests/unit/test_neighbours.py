"""Several EdgeModels on one node: who waits for whom, why, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from clusters import Cluster, publish, three_nodes
from rollout_words import NEW, OLD, PROVEN, fleet, variant, with_rules
from snapshots import NOW, model, node, snapshot

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import next_label, node_label, staging_value
from edgesmith.decide import decide
from edgesmith.decide.fleet import Failure, RevisionState, ServerState
from edgesmith.decide.neighbours import Neighbours
from edgesmith.decide.record import Record
from edgesmith.decide.rollout import Course, plan_rollout
from edgesmith.decide.snapshot import Node

OTHER = node_label("plant", "other")
STARTING, STAGED, SERVING, FAILED = ServerState.STARTING, ServerState.STAGED, ServerState.SERVING, ServerState.FAILED


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def other(*marks: Mapping[str, Any], status: Mapping[str, Any] | None = None, **rollout: Any) -> EdgeModel:
    """Another EdgeModel; its progressDeadline is 5 minutes."""
    found = model(name="other", rollout={"progressDeadline": "5m"} | rollout)
    return found.model_copy(update={"status": status or {"revisions": list(marks)}})


def mark(name: str, minutes: float | None = None, **more: Any) -> dict[str, Any]:
    """A revision of it, proven so many minutes ago."""
    proven = {"provenTime": ago(minutes=minutes).isoformat()} if minutes is not None else {}
    return {"name": name, "profile": "amd64", **proven, **more}


def carrying(state: ServerState, revision: str = "r2", *, upcoming: str = "", seconds: float = 60, **more: Any) -> Node:
    """Node e1 with what another EdgeModel keeps of it; `r1` is what it runs where it makes something ready."""
    record = Record(revision, state, ago(seconds=seconds), ago(seconds=seconds), **more)
    at = node("e1")
    labels = {OTHER: "r1", next_label(OTHER): upcoming} if upcoming else {OTHER: revision}
    return replace(at, labels={**at.labels, **labels}, records={OTHER: record.to_json()})


def seen(at: Node, *others: EdgeModel, **more: Any) -> Neighbours:
    own = more.pop("own", {})
    return Neighbours(snapshot(model(rollout=own), nodes=(at,), others=others, **more), NOW)


WORK: dict[str, tuple[Node, bool]] = {
    "it runs nothing of it": (node("e1"), False),
    "a server starts": (carrying(STARTING), True),
    "one is made ready beside another": (carrying(STARTING, upcoming="r2"), True),
    "an image is pulled and tested": (carrying(STARTING, upcoming=staging_value("r2")), True),
    "what is tested waits to be switched to": (carrying(STAGED, upcoming=staging_value("r2")), False),
    "it serves": (carrying(SERVING), False),
    "it failed": (carrying(FAILED), False),
    "its deadline is over": (carrying(STARTING, seconds=300), False),
    "its deadline is not over": (carrying(STARTING, seconds=299), True),
    "it comes and goes, for less than its deadline": (carrying(STARTING, seconds=1, unsteady=ago(seconds=299)), True),
    "it comes and goes, and its deadline is over": (carrying(STARTING, seconds=1, unsteady=ago(seconds=300)), False),
    "the record is about another revision": (carrying(STARTING, upcoming="r3"), False),
    "the record cannot be read": (replace(carrying(STARTING), records={OTHER: '{"state":"Starting"}'}), False),
}


@pytest.mark.parametrize("row", WORK)
def test_a_node_on_which_another_edge_model_is_at_work_is_left_alone(row: str) -> None:
    at, kept = WORK[row]
    assert bool(seen(at, other()).keep("e1")) is kept
    assert seen(at).keep("e1") == "", "an EdgeModel that is gone is waited for by nobody"


def test_it_says_for_whom_and_when_to_look_again() -> None:
    found = seen(carrying(STARTING), other())
    assert found.look_again is None
    assert found.keep("e1") == (
        "EdgeModel plant/other makes revision r2 ready on it; one EdgeModel at a time changes a node."
    )
    assert found.look_again == 240


def test_a_node_that_a_pass_is_moving_is_left_alone_for_a_moment() -> None:
    found = seen(node("e1"), claimed=frozenset({"e1"}))
    assert found.keep("e1") == "Another EdgeModel changes it at this moment."
    assert found.look_again == 1


CLOSED = [{"start": "01:00", "end": "02:00"}]

COMING: dict[str, tuple[EdgeModel, Node, bool]] = {
    "it has a higher priority and brings another revision": (
        other(mark("r1", 900), mark("r2", 1), priority=1),
        carrying(SERVING, "r1"),
        True,
    ),
    "it has the same priority": (other(mark("r1", 900), mark("r2", 1)), carrying(SERVING, "r1"), False),
    "the node has it": (other(mark("r1", 900), mark("r2", 1), priority=1), carrying(SERVING, "r2"), False),
    "the node does not run it": (other(mark("r1", 900), mark("r2", 1), priority=1), node("e1"), False),
    "it failed there": (
        other(mark("r1", 900), mark("r2", 1), priority=1),
        carrying(SERVING, "r1", failures={"r2": Failure()}),
        False,
    ),
    "it goes through its steps": (other(mark("r1", 900), mark("r2"), priority=1), carrying(SERVING, "r1"), False),
    "it was proven longer ago than its progressDeadline": (
        other(mark("r1", 900), mark("r2", 5), priority=1),
        carrying(SERVING, "r1"),
        False,
    ),
    "it was proven by a clock that was set back since": (
        other(mark("r1", 900), mark("r2", -9000), priority=1),
        carrying(SERVING, "r1"),
        False,
    ),
    "its newest partition opened since": (
        other(mark("r1", 900), mark("r2", 50, partition="b", partitionTime=ago(minutes=4).isoformat()), priority=1),
        carrying(SERVING, "r1"),
        True,
    ),
    "it is completed": (
        other(mark("r1", 900), mark("r2", 1, completedTime=ago(minutes=0).isoformat()), priority=1),
        carrying(SERVING, "r1"),
        False,
    ),
    "it was rolled back": (
        other(mark("r1", 900), mark("r2", 1, rolledBack=True), priority=1),
        carrying(SERVING, "r1"),
        False,
    ),
    "it is paused": (
        other(mark("r1", 900), mark("r2", 1), priority=1, paused=True),
        carrying(SERVING, "r1"),
        False,
    ),
    "no window of it is open": (
        other(mark("r1", 900), mark("r2", 1), priority=1, windows=CLOSED),
        carrying(SERVING, "r1"),
        False,
    ),
    "the node is of another profile": (
        other(mark("r1", 900, profile="arm64"), mark("r2", 1), priority=1),
        carrying(SERVING, "r1"),
        False,
    ),
    "its status cannot be read": (other(status={"revisions": 7}, priority=1), carrying(SERVING, "r1"), False),
}


@pytest.mark.parametrize("row", COMING)
def test_an_edge_model_of_a_higher_priority_comes_first(row: str) -> None:
    first, at, kept = COMING[row]
    found = seen(at, first)
    assert bool(found.keep("e1")) is kept
    assert seen(at, first, own={"priority": 1}).keep("e1") == ""
    if kept:
        assert "plant/other has a higher priority and brings revision r2 to it first" in found.keep("e1")
        assert found.look_again in {60, 240}


ONE, TWO = "1" * 10, "2" * 10
KEYS = {ONE: "1" * 32, TWO: "2" * 32}


@pytest.mark.parametrize("word", [TWO, KEYS[TWO], ONE, KEYS[ONE]])
def test_without_a_window_it_comes_first_with_what_an_override_names(word: str) -> None:
    brought = [{"profile": "amd64", "revision": TWO, "buildKey": KEYS[TWO]}]
    status = {"revisions": [mark(ONE, 900), mark(TWO, 1)], "variants": brought}
    first = other(status=status, priority=1, windows=CLOSED, override=[word])
    assert bool(seen(carrying(SERVING, ONE), first).keep("e1")) is (word in {TWO, KEYS[TWO]})
    assert bool(seen(carrying(SERVING, ONE), other(status=status, priority=1, override=[word])).keep("e1"))


def course(text: str, *revisions: RevisionState, busy: Mapping[str, str], **rules: Any) -> Course:
    """A step of the planner where another EdgeModel is at work on some nodes."""
    found = variant(fleet(text), *revisions, busy=lambda name: busy.get(name, ""), **rules.pop("variant", {}))
    return plan_rollout([found], with_rules(**{"max_unavailable": 9} | rules), NOW).courses[0]


def moved(found: Course) -> dict[str, str | None]:
    return {move.node: move.revision for move in found.moves}


def test_a_busy_node_is_passed_over_and_says_why() -> None:
    found = course("old+ old+ .", OLD, PROVEN, busy={"n0": "Somebody else is there."})
    assert moved(found) == {"n1": "new", "n2": "new"}
    assert [(one.node, one.reason, one.message) for one in found.pending] == [
        ("n0", "NodeBusy", "Somebody else is there.")
    ]
    assert moved(course("old+ old+", OLD, NEW, busy={"n0": "It is."})) == {"n1": "new"}, "the canary is another one"
    assert not course(". old+", OLD, NEW, busy={"n0": "It is."}, paused=True).moves


def test_a_busy_node_takes_no_place_of_the_budget_and_without_a_place_nobody_asks() -> None:
    asked: list[str] = []

    def busy(name: str) -> str:
        asked.append(name)
        return "It is." if name == "n0" else ""

    found = replace(variant(fleet("old+ old+ old+ old+"), OLD, PROVEN), busy=busy)
    planned = plan_rollout([found], with_rules(max_unavailable=1), NOW).courses[0]
    assert moved(planned) == {"n1": "new"}
    assert asked == ["n0", "n1"]


@pytest.mark.parametrize("text", ["bad+", "bad!", "bad?"])
def test_what_goes_back_waits_for_nobody(text: str) -> None:
    bad = RevisionState("bad", NOW, rolled_back="n9 failed.", reason="CanaryFailed")
    assert moved(course(text, OLD, bad, busy={"n0": "It is."}, variant={"target": "bad"})) == {"n0": "old"}
    assert moved(course("new!", OLD, PROVEN, busy={"n0": "It is."}, max_failed=1)) == {"n0": "old"}


def test_a_node_of_two_edge_models_changes_one_after_the_other() -> None:
    """The second one's canary is another node, and the node that the first one is on comes when that serves."""
    cluster = three_nodes()
    cluster.edge_model = model(rollout={"steps": [{"nodes": 1, "bake": "0s"}], "maxUnavailable": 3})
    cluster.run(12)
    publish(cluster, "b", rollout={"steps": [{"nodes": 1, "bake": "0s"}], "maxUnavailable": 3})
    record = Record("r2", STARTING, cluster.now, cluster.now)
    taken = cluster.nodes["e1"]
    cluster.nodes["e1"] = replace(
        taken, labels={**taken.labels, OTHER: "r2"}, records={**taken.records, OTHER: record.to_json()}
    )
    plan = _run(cluster, 8)
    assert [(one.name, one.reason) for one in plan.status.pending] == [("e1", "NodeBusy")]
    served = replace(record, state=SERVING)
    taken = cluster.nodes["e1"]
    cluster.nodes["e1"] = replace(taken, records={**taken.records, OTHER: served.to_json()})
    assert not _run(cluster, 4).status.pending


def _run(cluster: Cluster, passes: int) -> Any:
    for _ in range(passes):
        found = replace(cluster.snapshot(), others=(other(progressDeadline="1h"),))
        plan = decide(found, cluster.now)
        cluster.apply(plan)
        cluster.tick(10)
    return plan
