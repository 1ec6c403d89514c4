"""Trials take their turn on a node, and their place among those that pull."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from clusters import Cluster
from snapshots import NOW, model, node, profile, sentence, snapshot

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import node_label
from edgesmith.decide import decide
from edgesmith.decide.entries import time_text
from edgesmith.decide.fleet import ServerState
from edgesmith.decide.neighbours import Neighbours
from edgesmith.decide.plan import Plan
from edgesmith.decide.record import Record
from edgesmith.decide.snapshot import Node

OTHER = node_label("plant", "other")


def trying(seconds: float | None, on: str = "e1", **more: Any) -> dict[str, Any]:
    """A trial of two finalists that began so many seconds ago; None: it waits."""
    began = {} if seconds is None else {"startedTime": time_text(NOW - timedelta(seconds=seconds))}
    finalists = [{"precision": one, "image": one, "size": 1} for one in ("int8", "fp32")]
    return {"profile": "amd64", "buildKey": "k", "node": on, "finalists": finalists, **began, **more}


def other(*trials: dict[str, Any], trial: str = "Auto", **status: Any) -> EdgeModel:
    """Another EdgeModel; its progressDeadline is 5 minutes."""
    found = model(name="other", rollout={"progressDeadline": "5m", "priority": 5}, optimize={"trial": trial})
    return found.model_copy(update={"status": {"trials": list(trials)} | status})


def seen(*others: EdgeModel, ready: bool = True) -> Neighbours:
    at = replace(node("e1"), ready=ready)
    return Neighbours(snapshot(model(), nodes=(at, node("e2")), others=others), NOW)


TRIALS: dict[str, tuple[dict[str, Any] | None, str, bool, float | None]] = {
    "none": (None, "Auto", True, None),
    "it goes on": (trying(60), "Auto", True, 540),
    "its time is not over": (trying(599), "Auto", True, 1),
    "its time is over": (trying(600), "Auto", True, None),
    "its node went": (trying(60), "Auto", False, 240),
    "its node went long ago": (trying(300), "Auto", False, None),
    "it waits": (trying(None), "Auto", True, None),
    "it has ended": (trying(60, completedTime=time_text(NOW)), "Auto", True, None),
    "it began by a clock that was set back since": (trying(-900), "Auto", True, 600),
    "it is elsewhere": (trying(60, "e2"), "Auto", True, None),
    "it is nowhere yet": (trying(None, ""), "Auto", True, None),
    "nobody wants it any more": (trying(60), "Never", True, None),
    "it cannot be read": ({"node": "e1", "startedTime": time_text(NOW)}, "Auto", True, None),
}


@pytest.mark.parametrize("row", TRIALS)
def test_a_node_on_which_another_edge_model_tries_something_is_left_alone(row: str) -> None:
    found, trial, ready, wait = TRIALS[row]
    here = seen(other(*([found] if found else []), trial=trial), ready=ready)
    kept = wait is not None
    assert bool(here.keep("e1")) is kept
    assert here.look_again == wait
    assert bool(here.at_work("e1")) is kept
    assert not kept or here.keep("e1") == (
        "EdgeModel plant/other tries the candidates of a build on it; one EdgeModel at a time changes a node."
    )


def test_of_two_trials_on_a_node_the_one_that_may_take_longest_says_when_to_look_again() -> None:
    for order in ((60, 120), (120, 60)):
        here = seen(other(*(trying(one, buildKey=str(one)) for one in order)))
        assert (bool(here.keep("e1")), here.look_again) == (True, 540)


def test_what_has_begun_does_not_wait_for_one_that_has_yet_to_come() -> None:
    marks = [{"name": "r1", "profile": "amd64"}, {"name": "r2", "profile": "amd64", "provenTime": time_text(NOW)}]
    at = replace(node("e1"), labels={**node("e1").labels, OTHER: "r1"})
    here = Neighbours(snapshot(model(), nodes=(at,), others=(other(revisions=marks),)), NOW)
    assert here.at_work("e1") == ""
    assert "has a higher priority" in here.keep("e1")
    assert here.at_work("e1") == "", "whatever was asked before"


def cluster(*names: str, **rollout: Any) -> Cluster:
    found = Cluster(edge_model=model(rollout=rollout), nodes={name: node(name) for name in names})
    found.latencies = {"int8": 9.0, "fp32": 3.0}
    return found


def starting(at: Node, now: Any) -> Node:
    """The node while another EdgeModel makes something ready on it."""
    record = Record("r2", ServerState.STARTING, now, now)
    return replace(at, labels={**at.labels, OTHER: "r2"}, records={OTHER: record.to_json()})


def idle(at: Node) -> Node:
    return replace(at, labels={key: one for key, one in at.labels.items() if key != OTHER}, records={})


def passes(here: Cluster, number: int, others: Iterable[EdgeModel] = (), **more: Any) -> Plan:
    for _ in range(number):
        plan = decide(replace(here.snapshot(), others=tuple(others), **more), here.now)
        here.apply(plan)
        here.tick(10)
    return plan


def test_a_trial_begins_on_a_node_that_nobody_else_changes() -> None:
    here = cluster("e1", "e2")
    here.nodes["e1"] = starting(here.nodes["e1"], here.now)
    plan = passes(here, 2, [other()])
    assert [one.node for one in plan.trials] == ["e2"]
    assert plan.awaited == frozenset()


def test_where_others_are_at_work_on_all_it_waits_and_its_time_begins_with_its_turn() -> None:
    here = cluster("e1")
    here.nodes["e1"] = starting(here.nodes["e1"], here.now + timedelta(seconds=10))
    plan = passes(here, 2, [other()])
    assert plan.trials == ()
    assert plan.awaited == {"e1"}
    assert sentence(plan, "RolloutComplete") == (
        "The trial of int8 and fp32 for amd64 waits for its turn on node e1. EdgeModel plant/other makes revision r2 "
        "ready on it; one EdgeModel at a time changes a node."
    )
    assert plan.look_again == 300
    record = here.edge_model.status["trials"][0]
    assert (record.get("node"), record.get("startedTime")) == (None, None)
    here.nodes["e1"] = idle(here.nodes["e1"])
    began = time_text(here.now)
    plan = passes(here, 1, [other()])
    assert [one.node for one in plan.trials] == ["e1"]
    assert here.edge_model.status["trials"][0]["startedTime"] == began


def test_a_node_that_a_pass_changes_is_not_begun_on() -> None:
    here = cluster("e1", "e2")
    assert [one.node for one in passes(here, 2, claimed=frozenset({"e1"})).trials] == ["e2"]


def test_it_waits_rather_than_go_to_one_that_did_not_finish_before() -> None:
    here = cluster("e1", "e2", progressDeadline="1m")
    passes(here, 2)
    here.nodes["e1"] = replace(here.nodes["e1"], ready=False)
    for _ in range(10):
        here.nodes["e2"] = starting(here.nodes["e2"], here.now)
        here.nodes["e1"] = replace(here.nodes["e1"], ready=here.edge_model.status["trials"][0].get("lost") is not None)
        plan = passes(here, 1, [other()])
    assert here.edge_model.status["trials"][0]["lost"] == ["e1"]
    assert plan.trials == ()
    assert plan.awaited == {"e2"}


def let_in(here: Cluster) -> None:
    """One of the finalists was never tried: other gates let it in now."""
    (before,) = here.edge_model.status["trials"]
    kept = [one for one in before["finalists"] if one["precision"] == "int8"]
    trial = {key: one for key, one in before.items() if key not in {"completedTime", "winner"}} | {"finalists": kept}
    here.edge_model = here.edge_model.model_copy(update={"status": {**here.edge_model.status, "trials": [trial]}})


def test_one_that_is_let_in_later_waits_for_its_turn_on_the_node_of_the_others() -> None:
    here = cluster("e1", progressDeadline="1m")
    passes(here, 12)
    let_in(here)
    for _ in range(30):
        busy = starting(here.nodes["e1"], here.now)
        here.nodes["e1"] = replace(busy, records={**here.nodes["e1"].records, **busy.records})
        plan = passes(here, 1, [other()])
        assert plan.trials == ()
        assert plan.awaited == {"e1"}
    assert here.edge_model.status["trials"][0].get("lost") is None, "who waits is not late"
    began = time_text(here.now)
    plan = passes(here, 1)
    assert [list(one.images) for one in plan.trials] == [["fp32"]]
    assert here.edge_model.status["trials"][0]["startedTime"] == began


def two_profiles() -> Cluster:
    """Two nodes of two profiles, of which one may pull at a time."""
    here = cluster("e1")
    here.profiles = (profile("amd64"), profile("arm64"))
    here.nodes["e2"] = node("e2", "arm64")
    ask(here, "amd64", "arm64")
    return here


def ask(here: Cluster, *profiles: str) -> None:
    rollout = {"maxPulling": 1, "steps": [{"nodes": 1, "bake": "0s"}]}
    spec = model(rollout=rollout, deviceProfiles={"names": list(profiles)}).spec
    here.edge_model = here.edge_model.model_copy(update={"spec": spec})


def test_trials_pull_within_max_pulling() -> None:
    here = two_profiles()
    passes(here, 1)
    plan = passes(here, 1)
    assert [one.node for one in plan.trials] == ["e1"]
    waiting = next(one for one in here.edge_model.status["trials"] if one["profile"] == "arm64")
    assert (waiting["node"], waiting.get("startedTime")) == ("e2", None)
    assert waiting["message"] == (
        "Node e2 is to try int8 and fp32 for arm64 once fewer nodes than spec.rollout.maxPulling allows (1) pull an "
        "image."
    )
    told = {one.profile: one.message for one in plan.status.variants}
    assert told["arm64"] == waiting["message"]
    assert passes(here, 1).trials == (), "e1 tries them still"
    began = ""
    for _ in range(10):
        now = time_text(here.now)
        if [one.node for one in passes(here, 1).trials] == ["e2"]:
            began = now
            break
    waited = next(one for one in here.edge_model.status["trials"] if one["profile"] == "arm64")
    assert waited["startedTime"] == began, "its time begins with its turn"


def test_one_whose_node_is_away_takes_no_place() -> None:
    here = two_profiles()
    passes(here, 2)
    here.nodes["e1"] = replace(here.nodes["e1"], ready=False)
    assert [one.node for one in passes(here, 1).trials] == ["e2"]


def test_a_trial_and_a_rollout_pull_one_after_the_other() -> None:
    here = two_profiles()
    ask(here, "amd64")
    passes(here, 12)
    here.nodes["e3"] = node("e3")
    assert [move.node for move in passes(here, 1).moves] == ["e3"]
    ask(here, "amd64", "arm64")
    assert passes(here, 1).trials == (), "e3 pulls"
    assert any(passes(here, 1).trials for _ in range(3)), "e3 has pulled"
    here.nodes["e4"] = node("e4")
    plan = passes(here, 1)
    assert [(one.node, one.reason) for one in plan.pending] == [("e4", "MaxPulling")]
    passes(here, 12)
    assert here.label in here.nodes["e4"].labels
