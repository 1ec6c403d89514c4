"""Partitions, one step of the planner at a time: which nodes a revision may go to yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from clusters import Cluster
from rollout_words import BAD, COMPLETED, NEW, OLD, OLDEST, OPEN, PROVEN, fleet, variant, with_rules
from snapshots import NOW, model, node

from edgesmith.api.rollout import Rollout
from edgesmith.decide import decide
from edgesmith.decide.fleet import NodeState, Partitions, RevisionState, RolloutPhase, Rules, Step
from edgesmith.decide.partitions import advance
from edgesmith.decide.rollout import Course, plan_rollout

HOUR = timedelta(hours=1)

ZONE = "topology.kubernetes.io/zone"
BY = Partitions(ZONE, ("lab", "line-2"), timedelta(0))
BAKED = replace(BY, bake=timedelta(minutes=10))
RULES = with_rules(max_unavailable=9, partitions=BY)
BEGUN = replace(PROVEN, partition="lab", opened=NOW - timedelta(minutes=20))
SECOND = replace(BEGUN, partition="line-2")


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def sites(text: str, /, **changes: Any) -> tuple[NodeState, ...]:
    """Nodes by zone: `lab: new+ old+ | line-1: old+ | : old+`; the last ones have no label."""
    found: list[NodeState] = []
    for part in text.split("|"):
        zone, _, words = part.partition(":")
        labels = {ZONE: zone.strip()} if zone.strip() else {}
        nodes = fleet(words, len(found), **changes)
        found += [replace(one, labels=labels) for one in nodes]
    return tuple(found)


def course(text: str, *revisions: RevisionState, rules: Rules = RULES, **more: Any) -> Course:
    planned = plan_rollout([variant(sites(text), *revisions, **more)], rules, NOW)
    return planned.courses[0]


def moved(found: Course) -> dict[str, str | None]:
    return {move.node: move.revision for move in found.moves}


ROWS: dict[str, tuple[str, RevisionState, str, str]] = {
    "the first one is open from the beginning": ("lab: old+ old+ | line-1: old+", PROVEN, "n0 n1", "lab"),
    "those of the order come first, then the others by name, at last those without the label": (
        "alpha: old+ | lab: new+ | line-2: new+ | : old+ | beta: old+",
        BEGUN,
        "n0",
        "alpha",
    ),
    "the nodes without the label are last": ("lab: new+ | zeta: new+ | : old+", BEGUN, "n2", ""),
    "while one of it starts, nothing follows": ("lab: new+ new? | line-1: old+", BEGUN, "", "lab"),
    "while one of it has yet to get it, nothing follows": ("lab: new+ old+ | line-1: old+", BEGUN, "n1", "lab"),
    "a node that is NotReady is not waited for": ("lab: new+ ~old+ | line-1: old+", BEGUN, "n2", "line-1"),
    "nor one that starts it and is NotReady": ("lab: new+ ~new? | line-1: old+", BEGUN, "n2", "line-1"),
    "nor one with a taint or without its device": ("lab: new+ #old+ %old+ | line-1: old+", BEGUN, "n3", "line-1"),
    "nor one that failed and went back": ("lab: new+ old+/new | line-1: old+", BEGUN, "n2", "line-1"),
    "where nobody can be reached the next one is open at once": (
        "lab: ~old+ ~old+ | line-2: #old+ | line-1: old+",
        BEGUN,
        "n3",
        "line-1",
    ),
    "what was opened stays open": ("lab: old+ | line-2: old+ | line-3: old+", SECOND, "n0 n1", "line-2"),
    "the one opened last may have no node any more": ("lab: new+ | line-3: old+", SECOND, "n1", "line-3"),
    "one that neither the order nor a node has is forgotten": (
        "lab: old+ | alpha: old+ | zeta: old+",
        replace(BEGUN, partition="m"),
        "n0",
        "lab",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_partitions_open_one_after_the_other(row: str) -> None:
    text, target, expected, last = ROWS[row]
    found = course(text, OLD, target)
    assert " ".join(sorted(moved(found))) == expected
    assert set(moved(found).values()) <= {"new"}
    assert found.opened is not None
    assert found.opened.last == last


def test_a_partition_bakes_from_when_all_of_it_serve() -> None:
    rules = with_rules(max_unavailable=9, partitions=BAKED, grace=timedelta(seconds=50))
    first = course("lab: new+ | line-1: old+", OLD, BEGUN, rules=rules)
    assert not first.moves
    assert first.target is not None
    assert first.target.served == NOW
    assert first.look_again == 650
    for minutes, expected in ((10.8, {}), (10.9, {"n1": "new"})):
        later = course("lab: new+ | line-1: old+", OLD, replace(BEGUN, served=ago(minutes)), rules=rules)
        assert moved(later) == expected, minutes


def test_a_bake_goes_on_where_all_of_the_partition_went_meanwhile() -> None:
    rules = with_rules(max_unavailable=9, partitions=BAKED)
    assert not course("lab: ~new+ ~new? | line-1: old+", OLD, replace(BEGUN, served=ago(5)), rules=rules).moves
    assert course("lab: ~new+ ~new? | line-1: old+", OLD, replace(BEGUN, served=ago(11)), rules=rules).moves


def test_a_bake_that_is_over_waits_for_a_server_that_starts_anew_and_does_not_begin_again() -> None:
    rules = with_rules(max_unavailable=9, partitions=BAKED)
    target = replace(BEGUN, served=ago(30))
    assert not course("lab: new+ new? | line-1: old+", OLD, target, rules=rules).moves
    assert moved(course("lab: new+ new+ | line-1: old+", OLD, target, rules=rules)) == {"n2": "new"}


def test_a_moment_in_which_nobody_can_be_reached_opens_nothing_for_good() -> None:
    rules = replace(RULES, max_unavailable=1)
    found = course("lab: ~new+ ~old+ | line-1: ~old+ | line-3: ~old+", OLD, BEGUN, rules=rules)
    assert found.target is not None
    assert (found.target.partition, found.target.served) == ("lab", None)


def test_one_pass_goes_on_over_partitions_that_have_it_already() -> None:
    found = course("lab: new+ | line-2: new+ | line-3: old+", OLD, BEGUN)
    assert moved(found) == {"n2": "new"}
    assert found.target is not None
    assert (found.target.partition, found.target.opened, found.target.served) == ("line-3", NOW, None)


def test_a_step_keeps_to_what_is_open_and_one_with_a_node_selector_does_not() -> None:
    text = "line-1: old+ old+ | lab: old+ old+"
    canary = with_rules(steps=(Step(3, timedelta(minutes=1)),), max_unavailable=9, partitions=BY)
    assert moved(course(text, OLD, NEW, rules=canary)) == {"n2": "new", "n3": "new"}
    chosen = replace(canary, steps=(Step(3, timedelta(minutes=1), {ZONE: "line-1"}),))
    assert moved(course(text, OLD, NEW, rules=chosen)) == {"n0": "new", "n1": "new"}


def test_a_step_that_wants_more_than_the_first_partition_has_goes_on_when_that_one_serves() -> None:
    rules = with_rules(steps=(Step(3, timedelta(minutes=1)),), max_unavailable=9, partitions=BY)
    assert not course("lab: new+ new? | line-1: old+ old+", OLD, NEW, rules=rules).moves
    assert moved(course("lab: new+ new+ | line-1: old+ old+", OLD, NEW, rules=rules)) == {"n2": "new"}


def test_a_node_that_waits_says_for_which_partition() -> None:
    found = course("lab: old+ | line-1: old+ | : old+", OLD, PROVEN)
    assert [(one.node, one.reason) for one in found.pending] == [("n1", "PartitionClosed"), ("n2", "PartitionClosed")]
    assert (
        found.pending[0].message
        == "It is of partition line-1, which opens after partition lab has served revision new."
    )
    assert found.pending[1].message.startswith(f"It is of the nodes without label {ZONE}, which opens after")


def test_one_that_is_late_is_not_waited_for_and_one_that_is_late_with_something_else_is() -> None:
    late: dict[str, Any] = {"n1": {"late": True}}
    for words, expected in (("new+ new?", ["n2"]), ("new+ odd?", ["n1"])):
        nodes = sites(f"lab: {words} | line-1: old+", **late)
        found = plan_rollout([variant(nodes, OLD, BEGUN)], RULES, NOW).courses[0]
        assert sorted(moved(found)) == expected


def test_a_node_that_serves_nothing_gets_the_revision_before_until_its_partition_opens() -> None:
    assert moved(course("lab: old+ | line-1: . | line-3: ./old", OLD, PROVEN)) == {"n0": "new", "n1": "old"}
    assert moved(course("lab: . | line-1: .", PROVEN)) == {"n0": "new"}


@pytest.mark.parametrize("phase", ["rolled back", "asked for", "completed"])
def test_going_back_and_what_was_completed_are_not_bound_to_partitions(phase: str) -> None:
    if phase == "rolled back":
        found = course("lab: bad+ | line-1: bad+ | : bad+", OLD, replace(BAD, revision="bad"), target="bad")
        assert moved(found) == {"n0": "old", "n1": "old", "n2": "old"}
    elif phase == "asked for":
        left = replace(NEW, rolled_back="spec.rollout.rollbackTo asks for revision old.")
        found = course("lab: new+ | line-1: new+", OLD, left, target="old", left="new")
        assert moved(found) == {"n0": "old", "n1": "old"}
    else:
        assert moved(course("lab: . | line-1: .", OLD, COMPLETED)) == {"n0": "new", "n1": "new"}


def test_a_node_that_returns_with_what_was_rolled_back_gets_the_one_before_and_not_what_its_partition_waits_for() -> (
    None
):
    bad = replace(BAD, revision="bad")
    assert moved(course("lab: old+ | line-1: bad?", OLD, bad, PROVEN)) == {"n0": "new", "n1": "old"}
    assert moved(course("lab: bad? | line-1: old+", OLD, bad, PROVEN)) == {"n0": "new"}
    assert moved(course("lab: old+ | line-1: bad?", bad, PROVEN)) == {"n0": "new", "n1": "new"}, "there is no other"


def test_a_node_that_fails_on_the_one_before_is_not_given_what_its_partition_waits_for() -> None:
    before = replace(OLD, completed=None)
    assert moved(course("lab: old+ | line-1: old!", before, PROVEN)) == {"n0": "new"}
    assert moved(course("lab: old! | line-1: old+", before, PROVEN)) == {"n0": "new"}


def test_all_of_one_partition_fail_and_max_failed_rolls_back_before_the_next_one_opens() -> None:
    found = course("lab: new! new! new+ | line-1: old+", OLD, BEGUN)
    assert found.phase is RolloutPhase.ROLLING_BACK
    assert moved(found) == {"n0": "old", "n1": "old", "n2": "old"}


def test_between_two_partitions_a_node_that_failed_makes_no_rollout_a_degraded_one() -> None:
    rules = with_rules(max_unavailable=9, partitions=BAKED)
    assert course("lab: new+ old+/new | line-1: old+", OLD, BEGUN, rules=rules).phase is RolloutPhase.ROLLING_OUT
    assert course("lab: new+ old+/new | line-1: new+", OLD, SECOND, rules=rules).phase is RolloutPhase.DEGRADED


def test_max_unavailable_holds_inside_a_partition() -> None:
    assert (
        len(course("lab: old+ old+ old+ | line-1: old+", OLD, PROVEN, rules=replace(RULES, max_unavailable=2)).moves)
        == 2
    )


@pytest.mark.parametrize("order", [(), ("berlin", "graz", "linz", "wien")])
def test_another_label_in_mid_rollout_opens_the_first_of_its_partitions_alone(order: tuple[str, ...]) -> None:
    sites = ("berlin", "graz", "linz", "wien")
    nodes = tuple(
        replace(one, labels={"zone": "line-1", "site": sites[number % 4]})
        for number, one in enumerate(fleet("old+ " * 8))
    )
    begun = replace(PROVEN, partition="line-1", opened=NOW - HOUR, served=NOW - HOUR)
    kept, opened = advance(Partitions("site", order, HOUR), begun, nodes, timedelta(0), NOW)
    assert (kept.partition, kept.opened, kept.served) == ("berlin", NOW, None)
    assert opened is not None
    assert [one.labels["site"] for one in nodes if opened.has(one)] == ["berlin", "berlin"]


def test_a_partition_that_no_node_has_any_more_keeps_its_place_in_the_order() -> None:
    nodes = tuple(replace(one, labels={"site": "wien"}) for one in fleet("old+ old+"))
    begun = replace(PROVEN, partition="graz", opened=NOW - HOUR)
    kept, _ = advance(Partitions("site", ("graz", "wien"), HOUR), begun, nodes, timedelta(0), NOW)
    assert (kept.partition, kept.opened) == ("wien", NOW)


def test_without_any_node_nothing_is_open() -> None:
    assert advance(BY, PROVEN, (), timedelta(0), NOW) == (PROVEN, None)


def test_the_status_keeps_what_was_opened_and_says_how_many_follow() -> None:
    rollout = {
        "steps": [{"nodes": 1, "bake": "0s"}],
        "maxUnavailable": 3,
        "partitions": {"label": ZONE, "order": ["lab"]},
    }
    cluster = Cluster(edge_model=model(rollout=rollout))
    for name, zone in (("e1", "line-1"), ("e2", "lab"), ("e3", "line-3")):
        cluster.nodes[name] = replace(node(name), labels={"device": "amd64", ZONE: zone})
    seen: list[tuple[str, int]] = []
    for _ in range(40):
        plan = decide(cluster.snapshot(), cluster.now)
        found = plan.status.variants[0]
        if found.partition and (found.partition.open, found.partition.following) not in seen:
            seen.append((found.partition.open, found.partition.following))
        if found.partition and found.state == "RollingOut" and found.partition.open == "lab":
            assert "; partition lab is open and 2 follow" in found.message
        cluster.apply(plan)
        cluster.tick(10)
    assert seen == [("lab", 2), ("line-1", 1), ("line-3", 0)]
    assert plan.status.variants[0].state == "Complete"
    assert plan.status.variants[0].partition is None
    kept = plan.status.revisions[0]
    assert kept.partition == "line-3"
    assert kept.partition_time is not None


def test_a_spec_that_names_no_label_or_no_value_of_one_is_refused() -> None:
    for wrong in ({"label": "Zone/"}, {"label": ZONE, "order": ["a b"]}, {"order": ["a"]}):
        with pytest.raises(ValueError, match="partitions"):
            Rollout.model_validate({"partitions": wrong})
    assert OLDEST.partition is None


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("lab: old+ | line-2: old!", NEW, {"n0": "new"}),
        ("lab: new+ old+ | line-2: old!", BEGUN, {"n1": "new"}),
        ("lab: old+ | line-2: old! old!", NEW, {}),
        ("lab: new+ old+ | line-2: new!", BEGUN, {"n2": "old"}),
    ],
    ids=["in the first step", "once it is proven", "maxFailed leaves out one", "on the target itself"],
)
def test_a_device_that_failed_on_the_one_before_keeps_no_partition_from_opening(
    text: str, target: RevisionState, expected: dict[str, str]
) -> None:
    """It would get the target only once the partitions before its own have served that."""
    one = replace(RULES, max_unavailable=1, max_failed=1)
    assert moved(course(text, OPEN, target, rules=one)) == expected


def test_a_device_that_may_be_given_the_target_is_no_exception() -> None:
    one = replace(RULES, max_unavailable=1, max_failed=1)
    assert moved(course("lab: old+ old! | line-2: old+", OPEN, BEGUN, rules=one)) == {"n1": "new"}
