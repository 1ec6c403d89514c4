"""Trials of large finalists: the node looks for room for all of them, and one without room is not one that is lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fleets import ASKING
from room_world import LACKS, SIZE, RoomWorld
from snapshots import LABEL, NOW, REPORT, SETTINGS, model, profile, said, sentence

from edgesmith.api.trial_status import FinalistStatus, FullDisk, TrialStatus
from edgesmith.decide.builds import BuildState, build_for
from edgesmith.decide.entries import time_text
from edgesmith.decide.plan import Plan
from edgesmith.decide.room import AGAIN, Room
from edgesmith.decide.trial_records import in_the_past
from edgesmith.decide.trial_room import MOST, noted, resting, trial_room, until_again, without_room
from edgesmith_builder.contract import LARGE, Finalist

REPOSITORY = "registry:5000/models"
IMAGE, OTHER = (f"{REPOSITORY}@sha256:{digit * 64}" for digit in "ab")
BASE = f"sha256:{'c' * 64}"
HALF = LARGE // 2


def built(*footprints: int | None, base: str | None = BASE) -> BuildState:
    """A build of two finalists, the second under its digest."""
    finalists = tuple(
        Finalist(precision=name, size=1000, footprint=footprint, digest=digest)
        for name, digest, footprint in zip(("int8", "fp32"), (None, f"sha256:{'b' * 64}"), footprints, strict=True)
    )
    report = REPORT.model_copy(update={"finalists": finalists, "base": base})
    return BuildState(profile(), build_for(model(), profile(), SETTINGS), "Built", IMAGE, report)


def test_all_finalists_count_together() -> None:
    both = (IMAGE, OTHER)
    looks = Room(f"{REPOSITORY}@{BASE}", LARGE + 1)
    assert trial_room(both, [built(HALF, HALF + 1)]) == looks, "though neither alone is large"
    assert trial_room(both, [built(HALF, HALF)]) is None
    assert trial_room((OTHER,), [built(HALF, LARGE + 1)]) == looks, "one that was let in later"
    assert trial_room((IMAGE,), [built(HALF, LARGE + 1)]) is None
    assert trial_room(both, [built(LARGE, None)]) == looks._replace(size=LARGE + 2000), "its model twice"
    assert trial_room(both, [built(LARGE, LARGE, base=None)]) is None, "nothing looks"
    assert trial_room(both, []) is None


def record(*nodes: str, ago: float = 0) -> TrialStatus:
    at = time_text(NOW - timedelta(seconds=ago))
    full = tuple(FullDisk(node=name, time=at, message=LACKS) for name in nodes)
    return TrialStatus(profile="amd64", build_key="k", full=full or None)


def test_who_has_no_room_is_known_until_a_look_finds_some() -> None:
    found = noted(noted(record(), "e1", "x" * 999, NOW), "e2", LACKS, NOW)
    assert found.full
    assert [one.node for one in found.full] == ["e1", "e2"]
    assert len(found.full[0].message) == 300
    again = noted(found, "e1", LACKS, NOW)
    assert again.full
    assert [(one.node, one.message) for one in again.full] == [("e2", LACKS), ("e1", LACKS)]
    many = record()
    for number in range(MOST + 3):
        many = noted(many, f"e{number}", LACKS, NOW)
    assert many.full
    assert [one.node for one in many.full] == [f"e{number}" for number in range(3, MOST + 3)]


def test_a_node_rests_for_a_while_by_the_hubs_clock() -> None:
    wait = AGAIN.total_seconds()
    assert [one.node for one in resting(record("e1", ago=wait - 1), NOW)] == ["e1"]
    assert resting(record("e1", ago=wait), NOW) == ()
    both = noted(record("e2", ago=20), "e1", LACKS, NOW - timedelta(seconds=10))
    both = both.model_copy(update={"full": (both.full or ())[::-1]})
    assert [one.node for one in resting(both, NOW)] == ["e2", "e1"]
    assert until_again(resting(both, NOW), NOW) == wait - 20
    later = in_the_past(record("e1", ago=-9999), NOW)
    assert until_again(resting(later, NOW), NOW) == wait
    assert in_the_past(both, NOW) is both
    assert (
        in_the_past(both, NOW - timedelta(seconds=15)).full
        == noted(record("e1", ago=15), "e2", LACKS, NOW - timedelta(seconds=20)).full
    )
    unread = TrialStatus(profile="amd64", build_key="k", full=(FullDisk(node="e1", time="soon", message=LACKS),))
    assert resting(unread, NOW) == ()


def test_of_a_trial_that_has_ended_nobody_is_said_to_have_no_room() -> None:
    done = record("e2").model_copy(update={"completed_time": time_text(NOW)})
    assert without_room([record("e1"), done]) == {"e1": LACKS}


def world(*full: str, size: int = 3, finalists: dict[str, float] | None = None, **more: Any) -> RoomWorld:
    """Nodes that serve nothing; the builds have two large finalists, of which the second is faster."""
    found = RoomWorld(profiles=(profile(**more),))
    found.latencies = finalists or {"int8": 9.0, "fp32": 3.0}
    for number in range(size):
        found.add(f"e{number}")
    found.full = set(full)
    return found


def trial(of: RoomWorld) -> Any:
    return of.edge_model.status["trials"][0]


def passes(of: RoomWorld, count: int, every: float = 20.0) -> Plan:
    for _ in range(count):
        plan = of.pass_()
        of.tick(every)
    return plan


def until(of: RoomWorld, seen: Callable[[Plan], bool]) -> Plan:
    """Pass after pass, a few seconds apart."""
    for _ in range(60):
        if seen(plan := passes(of, 1, 5)):
            return plan
    raise AssertionError(plan.status)


def full(plan: Plan) -> dict[str, str]:
    return {one.name: one.message for one in plan.status.pending if one.reason == "DiskFull"}


def test_another_node_tries_where_the_first_has_no_room() -> None:
    here = world("e0")
    plan = until(here, lambda plan: bool(plan.status.trials and plan.status.trials[0].full))
    assert list(full(plan)) == ["e0"]
    assert LACKS in full(plan)["e0"]
    assert plan.status.nodes.disk_full == 1
    assert [one["node"] for one in trial(here)["full"]] == ["e0"]
    here.run_until("Complete", "RollingOut")
    assert (trial(here)["node"], trial(here)["winner"]) == ("e1", "fp32")
    assert not trial(here).get("lost"), "it has not failed"
    assert not trial(here).get("full")
    assert here.pulled == []
    assert [name for name, size in here.sought.items() if size != 2 * SIZE] == []
    passes(here, 20)
    assert {name for name in here.nodes if here.serves(name)} == {"e1", "e2"}


def test_where_nobody_has_room_the_condition_says_what_is_free_and_they_are_asked_again() -> None:
    here = world("e0", "e1", "e2")
    plan = passes(here, 12)
    assert said(plan)["Reconciling"] == ("True", "DiskFull")
    assert sentence(plan, "RolloutComplete") == (
        f"The trial of int8 and fp32 for amd64 waits for room on a node's disk: e0 has none, {LACKS}; nor have 2 more."
    )
    assert set(full(plan)) == {"e0", "e1", "e2"}
    assert all(LACKS in one for one in full(plan).values())
    assert (plan.status.nodes.disk_full, plan.status.variants[0].state) == (3, "Trial")
    assert plan.look_again
    assert plan.look_again < AGAIN.total_seconds()
    assert (here.started, here.trial_pods) == (3, {})
    passes(here, 120)
    assert 3 * 4 <= here.started <= 3 * 6, "every ten minutes"
    assert plan.status.nodes.disk_full == 3
    assert here.revisions == {}, "no order of the ladder decides for want of room"
    here.full.clear()
    here.run_until("Complete", limit=80)
    assert here.pulled == []


def test_where_the_hubs_clock_is_set_back_nobody_rests_for_as_long() -> None:
    here = world("e0", size=1)
    passes(here, 6)
    before = here.started
    here.clock_was_set = True
    here.now -= timedelta(days=1)
    here.devices["e0"].heard = here.now
    passes(here, 40)
    assert here.started > before


def test_no_more_than_a_few_nodes_of_a_large_fleet_are_asked_in_a_while() -> None:
    here = world(*(f"e{number}" for number in range(20)), size=20)
    plan = passes(here, 25)
    assert here.started == MOST
    assert plan.status.nodes.disk_full == MOST
    here.full = {f"e{number}" for number in range(MOST)}
    passes(here, 40)
    assert trial(here)["winner"], "those that were not asked yet come first"


def test_a_node_that_serves_keeps_its_server_and_is_counted() -> None:
    here = world(finalists={"int8": 1.0})
    here.run_until("Complete")
    here.latencies = {"int8": 9.0, "fp32": 3.0}
    here.full = {"e0", "e1", "e2"}
    here.publish("b")
    plan = passes(here, 12)
    assert said(plan)["Reconciling"] == ("True", "DiskFull")
    assert all(map(here.serves, here.nodes))
    assert (plan.status.nodes.ready, plan.status.nodes.disk_full, plan.status.nodes.failed) == (3, 3, 0)
    assert set(full(plan)) == set(here.nodes)
    assert not any(move.revision != here.nodes[move.node].labels[LABEL] for move in plan.moves)


def test_where_a_server_holds_the_device_the_pod_that_pulls_looks_and_no_server_ends_for_it() -> None:
    here = world(finalists={"int8": 1.0}, runtime=ASKING["runtime"])
    here.run_until("Complete")
    here.latencies = {"int8": 9.0, "fp32": 3.0}
    here.full = {"e0"}
    here.publish("b")
    passes(here, 3)
    assert here.serves("e0")
    assert [one["node"] for one in here.edge_model.status["trials"][-1]["full"]] == ["e0"]
    here.run_until("RollingOut", "Complete")
    (tried,) = [one for one in here.edge_model.status["trials"] if one["winner"] == "fp32"]
    assert tried["node"] == "e1"
    assert here.pulled == []
    assert sorted(here.sought.values()) == [0, 2 * SIZE, 2 * SIZE], "what is tried without its server is there already"
    passes(here, 20)
    assert here.serves("e0"), "with what it ran before"


def test_a_node_that_gave_up_its_server_gets_it_back_where_its_disk_is_full_since() -> None:
    here = world(size=1, finalists={"int8": 1.0}, runtime=ASKING["runtime"])
    here.run_until("Complete")
    here.latencies = {"int8": 9.0, "fp32": 3.0}
    here.publish("b")
    until(here, lambda plan: any(move.revision is None for move in plan.moves))
    # Somebody deletes the pod that pulled, and what it pulled goes where the disk gets full.
    here.trial_pods.clear()
    here.full = {"e0"}
    plan = until(here, lambda plan: bool(plan.status.trials[-1].full))
    assert (plan.status.trials[-1].node, plan.status.trials[-1].lent) == (None, ("e0",))
    passes(here, 4)
    assert here.labelled("a") == {"e0"}
    assert here.serves("e0"), "what it had is not looked for"
    assert here.edge_model.status["trials"][-1].get("lent") is None
    assert here.pulled == []


def test_the_node_that_tried_has_the_image_though_its_disk_is_full_now() -> None:
    here = world(size=1)
    until(here, lambda plan: bool(plan.status.trials and plan.status.trials[0].winner))
    assert not here.serves("e0")
    here.full = {"e0"}
    here.run_until("Complete", limit=20)
    assert here.serves("e0")


def test_one_that_is_let_in_later_is_tried_where_the_others_were_and_waits_for_room_there() -> None:
    here = world(finalists={"int8": 9.0, "fp32": 3.0})
    here.run_until("Complete")
    (before,) = here.edge_model.status["trials"]
    kept = tuple(one for one in before["finalists"] if one["precision"] == "int8")
    status = {
        **here.edge_model.status,
        "trials": [{**before, "finalists": list(kept), "completedTime": None, "winner": None}],
    }
    here.edge_model = here.edge_model.model_copy(update={"status": status})
    here.full = {before["node"]}
    plan = passes(here, 3)
    assert (trial(here)["node"], set(full(plan))) == (before["node"], {before["node"]})
    measured = [FinalistStatus.model_validate(one).latency for one in trial(here)["finalists"]]
    assert measured == ["9.000ms", None]
    passes(here, 40)
    assert (trial(here)["node"], trial(here).get("lost")) == (before["node"], None), "its deadline is not this"
    here.full.clear()
    passes(here, 40)
    assert trial(here)["winner"] == "fp32"


@pytest.mark.parametrize("killed_after", range(0, 12, 2))
def test_an_operator_that_is_killed_at_any_call_goes_on_where_it_was(killed_after: int) -> None:
    here = world("e0")
    for number in range(40):
        here.pass_(killed_after if number % 2 else None)
        here.tick(20)
    assert trial(here)["node"] == "e1"
    assert here.labelled("a") == {"e1", "e2"}
