"""From a revision that a node is to get to one that it runs: what it makes ready first, and when it switches."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from clusters import labels as labels_of_nodes
from clusters import publish as publish_source
from clusters import three_nodes, upcoming
from rollout_words import (
    BAD,
    COMPLETED,
    LONG_AGO,
    NEW,
    ODD,
    OLD,
    PROVEN,
    REPLACE,
    RULES,
    SURGE,
    beside,
    fleet,
    state_of,
    step,
    variant,
    with_rules,
    writes,
)
from snapshots import LABEL, NEXT, NOW, SETTINGS, model, pod, profile

from edgesmith.api.names import daemon_set_name, staging_value
from edgesmith.decide import decide
from edgesmith.decide.budget import Budget, budget_of
from edgesmith.decide.builds import build_for
from edgesmith.decide.choose import leave
from edgesmith.decide.chosen import Chosen
from edgesmith.decide.fleet import NodeState, RevisionState, RolloutPhase, ServerState
from edgesmith.decide.judge import judge
from edgesmith.decide.placement import Placement
from edgesmith.decide.plan import ApplyRevision, Plan
from edgesmith.decide.rollout import plan_rollout
from edgesmith.decide.serving import serving
from edgesmith.decide.staging import place
from edgesmith.decide.strategy import Strategy
from edgesmith.resources import staging_daemon_set


@pytest.mark.parametrize(
    ("strategy", "upcoming_value"),
    [(SURGE, "new"), (REPLACE, "new.staging"), (Strategy("Replace", "why"), "new.staging")],
)
def test_a_node_that_serves_is_staged_and_one_that_serves_nothing_gets_the_label(
    strategy: Strategy, upcoming_value: str
) -> None:
    course = step("old+ . old+", OLD, PROVEN, strategy=strategy, rules=with_rules(max_unavailable=3))
    assert writes(course) == {
        "n0": ("old", upcoming_value),
        "n1": ("new", None),
        "n2": ("old", upcoming_value),
    }


def test_without_a_daemon_set_that_stages_it_a_revision_of_before_is_switched_to_at_once() -> None:
    for stageable, expected in ((frozenset(), ("old", None)), (frozenset({"old"}), ("new", "old.staging"))):
        course = step("new+ new!", OLD, BAD, strategy=REPLACE, stageable=stageable)
        assert writes(course)["n0"] == expected
        assert writes(course)["n1"] == ("old", None), "it serves nothing"


def test_staged_nodes_take_places_of_the_budget() -> None:
    course = step(beside("new? old+ old+"), OLD, PROVEN, strategy=SURGE)
    assert set(writes(course)) == {"n1"}, "maxUnavailable is 2"


def test_with_surge_the_old_server_ends_when_the_new_one_is_ready() -> None:
    course = step(beside("new+ new? old+"), OLD, NEW, strategy=SURGE)
    assert writes(course) == {"n0": ("new", None)}
    assert {one.node: one.reason.value for one in course.pending}["n1"] == "Staged"


def test_paused_lets_a_surge_end_and_starts_no_replacement() -> None:
    paused = with_rules(paused=True)
    assert writes(step(beside("new+ old+"), OLD, NEW, strategy=SURGE, rules=paused)) == {"n0": ("new", None)}
    course = step(beside("new? old+", staged=True), OLD, NEW, strategy=REPLACE, rules=paused)
    assert writes(course) == {}
    assert {one.node: one.reason.value for one in course.pending} == {"n0": "Paused", "n1": "Paused"}


def test_a_node_that_is_away_is_not_switched_whatever_was_last_seen_of_it() -> None:
    assert "n0" not in writes(step(beside("~new+ old+"), OLD, NEW, strategy=SURGE))


def test_off_what_was_rolled_back_a_pause_holds_no_node() -> None:
    nodes = beside("new? old+", old="bad", staged=True)
    bad = replace(BAD, revision="bad", created=LONG_AGO)
    course = step(nodes, OLD, bad, NEW, strategy=REPLACE, rules=with_rules(paused=True))
    assert writes(course)["n0"] == ("new", None)


def test_a_tainted_node_is_not_staged() -> None:
    for strategy in (SURGE, REPLACE):
        course = step("#new+ . .", OLD, BAD, strategy=strategy, stageable=frozenset({"old"}), target=None)
        assert "n0" not in writes(course), "no pod may start there, beside its server or in its place"


@pytest.mark.parametrize("word", ["#old+", "%old+"])
@pytest.mark.parametrize("strategy", [SURGE, REPLACE])
def test_a_move_of_a_node_where_no_pod_may_start_stages_nothing(word: str, strategy: Strategy) -> None:
    judged = judge(variant(word, OLD, NEW, strategy=strategy), RULES, NOW)
    chosen = Chosen()
    chosen.move(judged.variant.nodes[0], "new", "It is said so.")
    place(judged, budget_of([judged], RULES, NOW), chosen)
    assert [(move.label, move.next) for move in chosen.moves.values()] == [("new", None)]


@pytest.mark.parametrize("strategy", [SURGE, REPLACE])
def test_a_node_that_is_away_with_what_was_rolled_back_never_comes_back_to_it(strategy: Strategy) -> None:
    nodes = fleet("~new+ old+", n0={"moved": NOW - timedelta(minutes=2)})
    course = step(nodes, OLD, BAD, strategy=strategy, stageable=frozenset({"old"}))
    assert writes(course) == {"n0": ("old", None)}, "staged, it would start what was rolled back when it returns"


def twice_rolled_back(words: str) -> tuple[tuple[NodeState, ...], tuple[RevisionState, ...]]:
    """Nodes that make what was rolled back ready beside what was rolled back before, and all revisions."""
    return beside(words, old="odd"), (OLD, replace(ODD, rolled_back="n1 failed.", reason="CanaryFailed"), BAD)


@pytest.mark.parametrize(("limit", "moved"), [(1, 0), (2, 1), (3, 2)])
def test_a_server_that_ends_for_a_third_revision_takes_a_place_of_the_budget(limit: int, moved: int) -> None:
    nodes, revisions = twice_rolled_back("new? new? old?")
    rules = with_rules(max_unavailable=limit)
    course = step(nodes, *revisions, strategy=REPLACE, rules=rules)
    assert [label for label, _ in writes(course).values()] == ["old"] * moved, "n2 has no server already"
    waiting = {one.node: str(one.reason) for one in course.pending if one.node != "n2"}
    assert list(waiting.values()) == ["MaxUnavailable"] * (2 - moved)


def test_a_server_that_ends_for_a_third_revision_is_staged_where_that_can_be() -> None:
    nodes, revisions = twice_rolled_back("new? old+")
    assert writes(step(nodes, *revisions, strategy=SURGE)) == {"n0": ("odd", "old")}
    stageable = frozenset({"old"})
    assert writes(step(nodes, *revisions, strategy=REPLACE, stageable=stageable)) == {"n0": ("odd", "old.staging")}


def test_where_no_pod_may_start_a_node_keeps_the_server_that_was_rolled_back_before() -> None:
    nodes, revisions = twice_rolled_back("#new? old+")
    for strategy in (SURGE, REPLACE):
        assert writes(step(nodes, *revisions, strategy=strategy)) == {"n0": ("odd", None)}
    gone = tuple(replace(one, beside_serving=False) for one in nodes)
    assert writes(step(gone, *revisions, strategy=SURGE)) == {"n0": ("old", None)}, "there is nothing to keep"


def test_old_servers_end_one_after_the_other_where_fewer_may_be_down_than_are_staged() -> None:
    nodes = beside("new? new? old+", staged=True)
    for limit, ended in ((1, 1), (2, 2)):
        course = step(nodes, OLD, PROVEN, strategy=REPLACE, rules=with_rules(max_unavailable=limit))
        assert [name for name, after in writes(course).items() if after == ("new", None)] == ["n0", "n1"][:ended]


def test_a_node_that_is_no_longer_to_run_the_model_first_makes_nothing_ready_any_more() -> None:
    nodes = (*beside("new? new+"), *fleet("old+", 2))
    left = leave(nodes, with_rules(max_unavailable=1), Budget(1, 0, 1), {})
    assert {name: (move.label, move.next) for name, move in left.moves.items()} == {
        "n0": ("old", None),
        "n1": ("old", None),
    }
    assert [str(one.reason) for one in left.pending.values()] == ["MaxUnavailable"], "n2 would lose a server"


def test_with_replace_the_old_server_ends_within_the_budget() -> None:
    nodes = beside("new? old+", staged=True)
    assert writes(step(nodes, OLD, NEW, strategy=REPLACE)) == {"n0": ("new", None)}
    one = with_rules(max_unavailable=1)
    assert writes(step(nodes, OLD, NEW, strategy=REPLACE, rules=one)) == {"n0": ("new", None)}
    lost = (*nodes, *fleet("old?", 2))
    course = step(lost, OLD, NEW, strategy=REPLACE, rules=one)
    assert "n0" not in writes(course), "another node has lost its server meanwhile"
    dead = beside("new? old+", staged=True, serving=False)
    assert writes(step((*dead, *fleet("old?", 2)), OLD, NEW, strategy=REPLACE, rules=one))["n0"] == ("new", None)


def test_where_replace_becomes_surge_a_node_that_tested_the_revision_keeps_its_server() -> None:
    course = step(beside("new? old+", staged=True), OLD, NEW, strategy=SURGE)
    assert writes(course) == {"n0": ("old", "new")}
    paused = with_rules(paused=True)
    assert writes(step(beside("new? old+", staged=True), OLD, NEW, strategy=SURGE, rules=paused)) == {}
    dead = beside("new? old+", staged=True, serving=False)
    assert writes(step(dead, OLD, NEW, strategy=SURGE)) == {"n0": ("new", None)}, "it serves nothing"


def test_what_fails_beside_the_old_server_is_taken_away_and_the_server_is_not_touched() -> None:
    course = step(beside("new! old+ old+"), OLD, NEW, strategy=SURGE)
    assert state_of(course, "new").reason == "CanaryFailed", "it is evidence as before"
    assert writes(course) == {"n0": ("old", None)}
    later = step(beside("new! new+ new+ new+"), OLD, COMPLETED, strategy=SURGE)
    assert writes(later)["n0"] == ("old", None), "after completion, too, since the old server is there"


def test_what_was_rolled_back_is_no_longer_made_ready_on_nodes_that_are_away_either() -> None:
    course = step(beside("new+ ~new? new?"), OLD, BAD, strategy=SURGE)
    assert writes(course) == dict.fromkeys(("n0", "n1", "n2"), ("old", None))
    assert all(move.urgent for move in course.moves)


def test_nor_on_nodes_that_became_those_of_another_profile_or_of_none() -> None:
    """Their own variant knows nothing of it."""
    own = variant("old+ new!", OLD, NEW, strategy=SURGE)
    for paused in (False, True):
        rules = with_rules(paused=paused)
        for word in ("~new?", "new?"):
            nodes = tuple(replace(one, foreign=True) for one in beside(word))
            nodes = tuple(replace(one, name="other") for one in nodes)
            theirs = variant(nodes, ODD, target="odd", name="q", strategy=SURGE)
            found = plan_rollout([own, theirs], rules, NOW)
            assert writes(found.courses[1]) == {"other": ("old", None)}
            assert found.courses[1].moves[0].urgent
            gone = plan_rollout([own], rules, NOW, nodes)
            assert [(move.node, move.label, move.next) for move in gone.leaving] == [("other", "old", None)]
    good = variant("old+ new+", OLD, NEW, strategy=SURGE)
    kept = plan_rollout([good], RULES, NOW, tuple(replace(one, name="other") for one in beside("~new?")))
    assert kept.leaving == ()


def test_what_nobody_wants_any_more_is_no_longer_made_ready() -> None:
    nodes = beside("new? old+ ~new?")
    course = step(nodes, OLD, NEW, strategy=SURGE, target=None)
    assert writes(course) == {"n0": ("old", None)}, "a node that is away is asked when it returns"
    assert writes(step(nodes, OLD, NEW, strategy=SURGE, target=None, rules=with_rules(paused=True))) == {}


def test_off_what_was_rolled_back_the_way_back_is_made_ready_beside_it() -> None:
    course = step("new+ new+", OLD, BAD, strategy=SURGE)
    assert writes(course) == dict.fromkeys(("n0", "n1"), ("new", "old"))


@pytest.mark.parametrize(("word", "moved"), [("old?", False), ("~old?", True), ("old+", True)])
def test_what_was_rolled_back_serves_until_the_way_back_is_ready(word: str, moved: bool) -> None:  # noqa: FBT001
    nodes = tuple(replace(one, beside="new", beside_serving=True) for one in fleet(word))
    course = step(nodes, OLD, BAD, strategy=SURGE)
    assert writes(course) == ({"n0": ("old", None)} if moved else {})
    gone = tuple(replace(one, beside_serving=False) for one in nodes)
    assert writes(step(gone, OLD, BAD, strategy=SURGE)) == {"n0": ("old", None)}, "there is nothing to lose"


@pytest.mark.parametrize(
    ("words", "strategy", "expected"),
    [
        ("new? new+", SURGE, RolloutPhase.ROLLING_OUT),
        ("new+ new+", SURGE, RolloutPhase.ROLLING_OUT),
        ("new? new+", REPLACE, RolloutPhase.ROLLING_OUT),
        ("~new? new+", SURGE, RolloutPhase.COMPLETE),
        ("#new? new+", SURGE, RolloutPhase.COMPLETE),
    ],
)
def test_a_node_that_is_staged_does_not_serve_what_is_approved(
    words: str, strategy: Strategy, expected: RolloutPhase
) -> None:
    nodes = tuple(replace(one, beside=None) if one.name == "n1" else one for one in beside(words))
    assert step(nodes, OLD, COMPLETED, strategy=strategy).phase is expected
    paused = step(nodes, OLD, COMPLETED, strategy=strategy, rules=with_rules(paused=True))
    assert paused.phase is expected, "it is on its way, and no pause holds it up"


def test_a_node_that_waits_in_a_pause_with_what_is_approved_pauses_the_rollout() -> None:
    nodes = (*beside("new?", staged=True), *fleet("new+", 1))
    course = step(nodes, OLD, COMPLETED, strategy=REPLACE, rules=with_rules(paused=True))
    assert (course.phase, course.moves) == (RolloutPhase.PAUSED, ())


def test_ready_is_not_said_while_a_node_is_staged_for_what_is_approved() -> None:
    """It returns after the others have completed the revision: it serves, but the old one."""
    for strategy in ("Surge", "Replace"):
        cluster = three_nodes()
        rollout = {"steps": [{"nodes": 1, "bake": "10s"}], "maxUnavailable": 1, "strategy": strategy}
        publish_source(cluster, "a", rollout=rollout)
        cluster.run(20)
        cluster.nodes["e3"] = replace(cluster.nodes["e3"], ready=False)
        publish_source(cluster, "b", generation=3, rollout=rollout)
        plan = cluster.run(30)
        assert (plan.status.variants[0].state, plan.status.nodes.ready) == ("Complete", 2)
        cluster.nodes["e3"] = replace(cluster.nodes["e3"], ready=True)
        seen: list[tuple[str, str, str]] = []
        while not seen or upcoming(cluster)["e3"]:
            plan = cluster.run(1)
            ready, reconciling = (condition(plan, one) for one in ("Ready", "Reconciling"))
            seen.append((ready.status, reconciling and reconciling.status, plan.status.variants[0].state))
            assert "is on 2 of 3 nodes" in ready.message, ready.message
        assert len(seen) > 1
        assert set(seen) == {("False", "True", "RollingOut")}, strategy
        plan = cluster.run(3)
        assert condition(plan, "Ready").message == "Serving on 3 of 3 nodes."


def condition(plan: Plan, name: str) -> Any:
    """A condition of the status; None where it is not there."""
    return next((one for one in plan.status.conditions if one.type == name), None)


def test_a_staged_node_is_neither_updated_nor_down() -> None:
    cluster = three_nodes()
    cluster.run(20)
    publish_source(cluster, "b")
    plan = cluster.run(2)
    assert set(labels_of_nodes(cluster).values()) == {cluster.pods["e1"].revision}
    assert [value is not None for value in upcoming(cluster).values()] == [True, False, False]
    plan = cluster.run(1)
    assert (plan.status.nodes.ready, plan.status.nodes.updated) == (3, 0)
    assert plan.status.variants[0].strategy == "Surge"


IMAGE = f"registry:5000/models/plant/models@sha256:{'3' * 64}"


def test_what_stages_a_revision_is_no_server() -> None:
    of, at = model(gates={"maxLatency": "50ms", "maxMemory": "512Mi"}), profile()
    build = build_for(of, at, SETTINGS)
    apply = ApplyRevision(at, serving(of, at, IMAGE, SETTINGS).revision, IMAGE, build, staging="Test")
    made = staging_daemon_set(of, apply, SETTINGS)
    pod_of = made["spec"]["template"]
    (test,) = pod_of["spec"]["initContainers"]
    (waiting,) = pod_of["spec"]["containers"]
    assert {test["image"], waiting["image"]} == {IMAGE}
    assert waiting["args"] == ["wait"]
    assert not {"--max-latency-ms", "--max-memory-bytes"} & set(test["args"]), "the old server still runs there"
    assert "ports" not in waiting
    assert pod_of["metadata"]["labels"]["app.kubernetes.io/component"] == "staging"
    terms = pod_of["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (wanted, _) = terms["nodeSelectorTerms"][0]["matchExpressions"]
    assert (wanted["key"], wanted["values"]) == (NEXT, [staging_value(apply.revision)])
    pulled = staging_daemon_set(of, replace(apply, staging="Pull"), SETTINGS)["spec"]["template"]["spec"]
    assert "initContainers" not in pulled


def test_a_pod_that_stages_is_no_server_of_its_revision() -> None:
    old, staging = pod("e1", "old"), replace(pod("e1", "old"), staging=True)
    placed = Placement("new", "old")
    assert placed.serving([old])
    assert not placed.serving([staging])
    assert not placed.serving([replace(old, terminating=True)])
    assert ServerState.STAGED.value == "Staged"


@pytest.mark.parametrize("strategy", [SURGE, REPLACE])
def test_a_canary_that_goes_back_to_the_target_is_the_canary(strategy: Strategy) -> None:
    """It tried the target, then made another revision ready beside that, and the spec went back to the first."""
    nodes = fleet("odd? old+ old+", n0={"beside": "new", "beside_serving": True})
    course = step(nodes, OLD, NEW, ODD, strategy=strategy)
    assert writes(course) == {"n0": ("new", None)}


def test_a_node_that_is_staged_waits_without_a_deadline_while_it_is_paused() -> None:
    rollout = {"steps": [{"nodes": 1, "bake": "30s"}], "progressDeadline": "5m", "strategy": "Replace"}
    cluster = three_nodes()
    cluster.run(20)
    before = labels_of_nodes(cluster)
    publish_source(cluster, "b", rollout=rollout)
    while not any(one.ready for one in cluster.next_pods.values()):
        cluster.run(1)
    publish_source(cluster, "b", generation=3, rollout={**rollout, "paused": True})
    plan = cluster.run(40)
    assert labels_of_nodes(cluster) == before
    assert plan.status.variants[0].state == "Paused", plan.status.variants[0].message
    staged = next(iter(cluster.next_pods))
    publish_source(cluster, "b", generation=4, rollout=rollout)
    plan = cluster.run(1)
    assert [(move.node, move.label, move.next) for move in plan.moves] == [(staged, plan.revisions[0].revision, None)]
    cluster.run(20)
    assert len(set(labels_of_nodes(cluster).values())) == 1
    assert labels_of_nodes(cluster) != before


def test_what_a_staged_node_still_serves_keeps_its_daemon_set() -> None:
    """Also where nothing else speaks for it: it was never proven, and the node's record is lost."""
    cluster = three_nodes()
    del cluster.nodes["e2"], cluster.nodes["e3"]
    cluster.run(2)
    first = labels_of_nodes(cluster)["e1"]
    for number, digit in enumerate("bc"):
        publish_source(cluster, digit, generation=2 + number)
        cluster.run(1)
    target = decide(cluster.snapshot(), cluster.now).revisions[0].revision
    cluster.nodes["e1"] = replace(cluster.nodes["e1"], labels={"device": "amd64", LABEL: str(first), NEXT: target})
    cluster.nodes["e1"] = replace(cluster.nodes["e1"], records={})
    cluster.edge_model = cluster.edge_model.model_copy(update={"status": {}})
    seen = replace(cluster.snapshot(), settings=replace(SETTINGS, revision_history_limit=0))
    deleted = {one.name for one in decide(seen, cluster.now).deletes if one.kind == "DaemonSet"}
    assert daemon_set_name("parts", str(first)) not in deleted
