"""What spec.rollout.rollbackTo asks for where nodes run more than the two revisions that it names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import fleets
import pytest
from rollout_words import LONG_AGO, MINUTE, NEW, OLD, PROVEN, fleet, moves, step, with_rules
from snapshots import LABEL, said
from test_rollout_requests import SHORT, back, only, request, world_pass
from test_trials import until
from test_trials_on_held_devices import ROLLOUT, held, one_more


@pytest.mark.parametrize("more", [{}, {"paused": True}, {"windows": [{"start": "10:00", "end": "10:01"}]}])
@pytest.mark.parametrize("strategy", ["Surge", "Replace"])
def test_a_rollback_past_the_one_before_takes_back_those_that_run_that_too(strategy: str, more: dict[str, Any]) -> None:
    world = fleets.fleet(10, SHORT | {"strategy": strategy})
    world.publish("b")
    world.run_until("Complete")
    world.publish("c")
    while len(world.labelled("c")) < 4:
        world.pass_()
        world.tick(5)
    assert world.labelled("b")
    world.ask(**back(world, "c", "a"), **more)
    plan = world.pass_()
    while request(plan, "rollbackTo") == "InEffect":
        assert plan.status.variants[0].state == "RollingBack"
        assert {one.reason for one in plan.status.pending} <= {"MaxUnavailable", "Staged"}
        world.tick(5)
        plan = world.pass_()
    assert request(plan, "rollbackTo") == "Done"
    assert all(world.servers[name].runs == only(world, "a") for name in world.nodes)
    assert plan.status.variants[0].state == "Complete"


def test_a_pause_holds_nodes_of_another_profile_back_though_a_rollback_goes_on() -> None:
    left = replace(NEW, rolled_back="spec.rollout.rollbackTo asks for revision old.")
    nodes = fleet("new+ mid+ other+ .", n2={"foreign": True})
    mid = replace(PROVEN, revision="mid", proven=LONG_AGO + MINUTE)
    paused = with_rules(max_unavailable=9, paused=True)
    course = step(nodes, OLD, mid, left, rules=paused, target="old", left="new", usable=frozenset({"other"}))
    assert moves(course) == {"n0": "old", "n1": "old", "n3": "old"}
    assert [(one.node, one.reason) for one in course.pending] == [("n2", "Paused")]


def test_what_the_gates_refuse_by_now_can_be_left_by_the_same_commit() -> None:
    here = held()
    one_more(here)
    until(here, "Complete")
    marks = sorted(here.edge_model.status["revisions"], key=lambda mark: mark["provenTime"])
    old, new = marks[0]["name"], marks[-1]["name"]
    assert {node.labels[LABEL] for node in here.nodes.values()} == {new}
    refusing: dict[str, Any] = {"gates": {"maxAccuracyDrop": "0%"}}
    one_more(here, generation=3, **refusing, rollout=ROLLOUT | {"promote": [{"revision": new}]})
    plan = here.run(3)
    assert said(plan)["Ready"] == ("False", "GatesFailed")
    assert request(plan, "promote") == "NotFound"
    assert "nothing to roll out now" in plan.status.requests[0].message
    assert {node.labels[LABEL] for node in here.nodes.values()} == {new}, "they keep what they run"
    rollout = ROLLOUT | {"rollbackTo": [{"from": new, "revision": old}]}
    one_more(here, generation=4, **refusing, rollout=rollout)
    assert request(here.run(1), "rollbackTo") == "InEffect"
    for _ in range(20):
        plan = here.run(1)
    assert request(plan, "rollbackTo") == "Done"
    assert {node.labels[LABEL] for node in here.nodes.values()} == {old}
    one_more(here, generation=5, **refusing)
    here.run(3)
    assert {node.labels[LABEL] for node in here.nodes.values()} == {old}, "what was left is not tried again"


def test_a_key_of_two_profiles_is_left_by_each_and_done_once_both_are() -> None:
    world = fleets.fleet(8, SHORT, profiles=("amd64", "pc"))
    world.publish("b")
    plan = world.run_until("Complete")
    world.publish("a")
    before = world.run_until("Complete").status.variants[0].build_key
    world.publish("b")
    world.run_until("Complete")
    key = plan.status.variants[0].build_key
    assert {one.build_key for one in plan.status.variants} == {key}
    away = sorted(name for name, node in world.nodes.items() if node.labels["device"] == "pc")
    for name in away:
        world.devices[name].link = False
    world.tick(120)
    world.ask(rollbackTo=[{"from": key, "revision": before}])
    world_pass(world)
    for _ in range(12):
        plan = world.pass_()
        world.tick(20)
    assert request(plan, "rollbackTo") == "InEffect"
    assert plan.status.requests[0].message.startswith("DeviceProfile pc: ")
    for name in away:
        world.devices[name].link = True
    world.tick(20)
    assert request(world.run_until("Complete"), "rollbackTo") == "Done"
