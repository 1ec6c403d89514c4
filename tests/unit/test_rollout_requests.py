"""What spec.rollout asks of single revisions, over simulated fleets: pause, promote, rollbackTo, override, windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fleets import fleet
from rollout_world import World
from simulated_kubelets import BAD
from snapshots import said, sentence

from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.decide import decide
from edgesmith.decide.plan import Plan

LONG = {
    "steps": [{"nodes": 1, "bake": "1h"}, {"nodes": "50%", "bake": "1h"}],
    "maxUnavailable": 2,
    "maxFailed": 1,
    "progressDeadline": "5m",
}
SHORT = LONG | {"steps": [{"nodes": 1, "bake": "30s"}]}


def runs(world: World, passes: int = 12, every: float = 20) -> Plan:
    """So many passes, and what the last one said."""
    for _ in range(passes):
        plan = world.pass_()
        world.tick(every)
    return plan


def request(plan: Plan, field: str) -> str:
    """The state of the one request of a field."""
    (one,) = [one for one in plan.status.requests if one.request.startswith(f"{field}[")]
    return one.state


def only(world: World, digit: str) -> str:
    """The one revision of a source."""
    (revision,) = world.asked(digit)
    return revision


def back(world: World, left: str, to: str) -> dict[str, Any]:
    return {"rollbackTo": [{"from": only(world, left), "revision": only(world, to)}]}


def test_promote_ends_the_bake_of_the_steps_that_it_names_and_no_others() -> None:
    world = fleet(10, LONG)
    world.publish("b")
    runs(world)
    assert len(world.labelled("b")) == 1
    world.ask(promote=[{"revision": only(world, "b"), "steps": 1}])
    plan = runs(world)
    assert len(world.labelled("b")) == 5
    assert request(plan, "promote") == "Done"
    assert world.newest("promoted")["b"] == 1
    assert said(plan)["Ready"] == ("False", "RollingOut")


def test_promote_without_steps_ends_all_bakes_and_says_nothing_of_the_next_revision() -> None:
    world = fleet(10, LONG)
    world.publish("b")
    runs(world, 4)
    promote = [{"revision": only(world, "b")}]
    world.ask(promote=promote)
    assert request(world.pass_(), "promote") == "InEffect"
    plan = world.run_until("Complete", limit=40)
    assert request(plan, "promote") == "Done"
    assert world.labelled("b") == set(world.nodes)
    world.publish("c")
    plan = runs(world, 40)
    assert len(world.labelled("c")) == 1, "it waits for its bake"
    assert request(plan, "promote") == "Obsolete"


@pytest.mark.parametrize("kind", ["key", "digest"])
def test_a_promotion_may_be_committed_with_the_source_by_key_or_digest(kind: str) -> None:
    world = fleet(6, LONG)
    world.publish("b")
    plan = runs(world, 3)
    (variant,) = plan.status.variants
    word = variant.build_key if kind == "key" else (variant.image or "").partition("@")[2]
    world.ask(promote=[{"revision": word}])
    world.run_until("Complete", limit=40)
    assert world.labelled("b") == set(world.nodes)


def test_a_promotion_by_a_key_of_two_profiles_is_done_once_both_have_held_their_steps() -> None:
    world = fleet(8, LONG | {"steps": [{"nodes": 1, "bake": "10m"}]}, profiles=("amd64", "pc"))
    world.publish("b")
    runs(world, 2)
    away = [name for name, node in world.nodes.items() if node.labels["device"] == "pc"]
    for name in away:
        world.devices[name].link = False
    world.tick(120)
    key = world.pass_().status.variants[0].build_key
    world.ask(promote=[{"revision": key}], override=[key])
    plan = runs(world, 6)
    assert {one.profile: one.state for one in plan.status.variants} == {"amd64": "Complete", "pc": "Canary"}
    assert (request(plan, "promote"), request(plan, "override")) == ("InEffect", "InEffect")
    assert all(one.message.startswith("DeviceProfile pc: ") for one in plan.status.requests)
    for name in away:
        world.devices[name].link = True
    world.tick(20)
    plan = world.run_until("Complete", limit=40)
    assert (request(plan, "promote"), request(plan, "override")) == ("Done", "Done")


def test_a_promoted_canary_that_fails_is_rolled_back_all_the_same() -> None:
    world = fleet(6, LONG)
    world.publish("b", BAD)
    runs(world, 2)
    world.ask(promote=[{"revision": only(world, "b")}])
    plan = world.run_until("RolledBack", limit=20)
    assert len(world.touched["b"]) == 1
    assert request(plan, "promote") == "Obsolete"


def test_a_promoted_canary_that_is_not_ready_holds_nothing() -> None:
    world = fleet(6, LONG)
    world.publish("b")
    runs(world, 4)
    (canary,) = world.labelled("b")
    world.devices[canary].link = False
    world.tick(60)
    world.ask(promote=[{"revision": only(world, "b")}])
    runs(world, 6)
    assert world.labelled("b") == {canary}


@pytest.mark.parametrize("more", [{}, {"paused": True}, {"windows": [{"start": "10:00", "end": "10:01"}]}])
def test_a_rollback_takes_every_node_back_within_the_budget_without_bakes_whatever_holds_others(
    more: dict[str, Any],
) -> None:
    world = fleet(10, SHORT)
    world.publish("b")
    world.run_until("Complete")
    world.ask(**back(world, "b", "a"), **more)
    plan = world.pass_()
    assert (len(plan.moves), request(plan, "rollbackTo")) == (2, "InEffect")
    assert plan.status.variants[0].state == "RollingBack"
    began = world.now
    plan = world.run_until("Complete", limit=20)
    assert world.now - began < timedelta(minutes=5)
    assert world.labelled("a") == set(world.nodes)
    assert said(plan)["Ready"][0] == "True", "git asked for it: nothing is wrong"
    assert "as spec.rollout.rollbackTo asks" in plan.status.variants[0].message
    assert request(plan, "rollbackTo") == "Done"
    assert world.newest("reason")["b"] == "RollbackRequested"


def test_what_was_left_is_not_tried_again_and_the_next_source_is_rolled_out_though_the_request_stays() -> None:
    world = fleet(6, SHORT)
    world.publish("b")
    world.run_until("Complete")
    world.ask(**back(world, "b", "a"))
    world.run_until("Complete")
    entry = world.edge_model.spec.rollout.rollback_to
    world.ask(rollbackTo=[])
    plan = runs(world)
    assert world.labelled("a") == set(world.nodes), "the source is still b, which was left"
    assert said(plan)["Ready"] == ("False", "RolledBack")
    world.ask(rollbackTo=[one.model_dump(by_alias=True) for one in entry])
    world.publish("c")
    plan = world.run_until("Complete")
    assert world.labelled("c") == set(world.nodes)
    assert request(plan, "rollbackTo") == "Obsolete"
    world.publish("b")
    plan = world.run_until("Complete")
    assert world.labelled("a") == set(world.nodes), "asked for b again, the entry holds again"


def test_a_retry_after_the_request_is_gone_tries_what_was_left_with_a_canary() -> None:
    world = fleet(6, LONG | {"steps": [{"nodes": 1, "bake": "5m"}]})
    world.publish("b")
    world.run_until("Complete")
    world.ask(**back(world, "b", "a"))
    world.run_until("Complete")
    world.edge_model.metadata.annotations[RETRY_ANNOTATION] = "for a build"
    runs(world, 3)
    world.ask(rollbackTo=[])
    runs(world)
    assert not world.labelled("b"), "that retry was of no use to it"
    world.edge_model.metadata.annotations[RETRY_ANNOTATION] = "again"
    runs(world, 4)
    assert len(world.labelled("b")) == 1


def test_an_older_revision_than_the_one_before_can_be_gone_back_to_and_stays_the_one() -> None:
    world = fleet(6, SHORT)
    for digit in "bc":
        world.publish(digit)
        world.run_until("Complete")
    world.ask(**back(world, "c", "a"))
    world.run_until("Complete")
    assert world.labelled("a") == set(world.nodes)
    world.ask(rollbackTo=[])
    runs(world)
    assert world.labelled("a") == set(world.nodes), "b was not asked for"


@pytest.mark.parametrize(
    ("word", "why"), [("0" * 10, "no DaemonSet"), ("bad", "not held its steps"), ("gone", "has its image")]
)
def test_a_rollback_that_cannot_be_met_is_refused_before_it_begins(word: str, why: str) -> None:
    world = fleet(6, SHORT)
    world.publish("e", BAD)
    world.run_until("RolledBack")
    world.publish("b")
    world.run_until("Complete")
    to = {"bad": only(world, "e"), "gone": only(world, "a")}.get(word, word)
    if word == "gone":
        world.gone = frozenset(one.image for one in world.revisions.values() if one.revision == to)
    world.ask(rollbackTo=[{"from": only(world, "b"), "revision": to}])
    plan = runs(world)
    assert world.labelled("b") == set(world.nodes)
    assert said(plan)["Stalled"] == ("True", "RollbackRefused")
    assert why in sentence(plan, "Stalled")
    assert request(plan, "rollbackTo") == "Refused"


def test_nobody_goes_back_to_a_revision_that_never_held_its_steps() -> None:
    world = fleet(6, SHORT)
    world.publish("d")
    runs(world, 3, 5)
    assert world.touched["d"]
    world.publish("b")
    world.run_until("Complete")
    world.ask(**back(world, "b", "d"))
    plan = runs(world)
    assert world.labelled("b") == set(world.nodes)
    assert request(plan, "rollbackTo") == "Refused"


def test_an_image_that_is_lost_in_mid_rollback_turns_nobody_round() -> None:
    world = fleet(10, SHORT)
    world.publish("b")
    world.run_until("Complete")
    world.ask(**back(world, "b", "a"))
    runs(world, 2)
    moved = world.labelled("a")
    world.gone = frozenset(one.image for one in world.revisions.values())
    world.run_until("Complete")
    assert moved
    assert world.labelled("a") == set(world.nodes)


def test_a_node_that_is_away_in_a_rollback_keeps_its_server_and_leaves_what_was_left_when_it_returns() -> None:
    world = fleet(6, SHORT)
    world.publish("b")
    world.run_until("Complete")
    world.devices["n0001"].link = False
    world.tick(60)
    world.ask(**back(world, "b", "a"))
    runs(world)
    assert world.labelled("b") == {"n0001"}
    world.devices["n0001"].link = True
    world.tick(20)
    world.run_until("Complete")
    assert world.labelled("a") == set(world.nodes)
    assert all(world.serves(name) for name in world.nodes)


def test_a_canary_can_be_rolled_back_by_hand() -> None:
    world = fleet(6, LONG)
    world.publish("b")
    runs(world, 4)
    world.ask(**back(world, "b", "a"))
    world.run_until("Complete")
    assert world.labelled("a") == set(world.nodes)


def test_paused_a_node_that_joins_gets_what_was_completed_last_and_builds_go_on() -> None:
    world = fleet(6, SHORT)
    world.ask(paused=True)
    world.publish("b")
    world.add("x")
    plan = runs(world)
    assert only(world, "b"), "it was built, and its DaemonSet is there"
    assert world.labelled("a") == set(world.nodes)
    assert plan.status.variants[0].state == "Paused"


def hour(world: World, opens: float, length: float = 600) -> list[dict[str, str]]:
    """A window that opens so many seconds from now."""
    begins = world.now + timedelta(seconds=opens)
    ends = begins + timedelta(seconds=length)
    return [{"start": f"{begins:%H:%M}", "end": f"{ends:%H:%M}"}]


def at_noon(size: int, rollout: dict[str, Any] = SHORT) -> World:
    """A fleet at twelve o'clock UTC."""
    world = fleet(size, rollout)
    world.now = datetime(2026, 11, 27, 12, tzinfo=UTC)
    for device in world.devices.values():
        device.heard = world.now
    world.pass_()
    return world


def test_outside_of_windows_nothing_moves_and_the_plan_says_when_it_looks_again() -> None:
    world = at_noon(6)
    world.ask(windows=hour(world, 3600))
    world.publish("b")
    plan = runs(world, 6)
    assert not world.touched.get("b")
    assert said(plan)["Ready"] == ("False", "WaitingForWindow")
    assert "The next window opens on Fri 2026-11-27 13:00 (UTC)." in sentence(plan)
    assert {one.reason for one in plan.status.pending} == {"WindowClosed"}
    looks = 0
    while not (plan := world.pass_()).moves:
        looks += 1
        world.tick(plan.look_again or 3600)
    assert world.now == datetime(2026, 11, 27, 13, tzinfo=UTC), "by its own clock it looks again when it opens"
    assert looks < 5
    assert len(plan.moves) == 1
    world.run_until("Complete")


def test_a_window_that_closes_in_mid_rollout_moves_nobody_more_and_judges_those_that_were_moved() -> None:
    world = at_noon(10)
    world.ask(windows=hour(world, 0, 120))
    world.publish("b", BAD)
    runs(world, 2, 5)
    assert len(world.labelled("b")) == 1
    world.tick(130)
    plan = world.pass_()
    assert world.labelled("a") == set(world.nodes), "it goes back outside of the window"
    assert world.newest("reason")["b"] == "CanaryFailed"
    world = at_noon(10)
    world.ask(windows=hour(world, 0, 120))
    world.publish("c")
    runs(world, 6)
    moved = world.labelled("c")
    world.tick(120)
    plan = runs(world, 6)
    assert world.labelled("c") == moved
    assert 0 < len(moved) < 10
    assert world.newest("steps")["c"] == 1, "what was moved holds its step"
    assert plan.status.variants[0].state == "WaitingForWindow"


def test_an_override_opens_windows_for_one_revision_and_never_a_pause() -> None:
    world = at_noon(6)
    world.ask(windows=hour(world, 3600, 60))
    world.publish("b")
    runs(world, 2)
    world.ask(override=[only(world, "b")], paused=True)
    runs(world, 3)
    assert not world.labelled("b"), "a pause is a pause"
    world.ask(paused=False)
    assert request(world.pass_(), "override") == "InEffect"
    plan = world.run_until("Complete", limit=60)
    assert request(plan, "override") == "Done"
    world.publish("c")
    plan = runs(world, 6)
    assert not world.labelled("c")
    assert request(plan, "override") == "Obsolete"


def test_a_zone_that_is_not_known_stops_the_rollout_and_says_so() -> None:
    world = at_noon(6)
    world.ask(windows=[{"start": "00:00", "end": "00:00", "timeZone": "Europe/Wien"}])
    world.publish("b")
    for _ in range(3):
        plan = world_pass(world)
    assert said(plan)["Stalled"] == ("True", "SpecInvalid")
    assert "'Europe/Wien'" in sentence(plan, "Stalled")
    assert not world.labelled("b")


def world_pass(world: World) -> Plan:
    """A pass without the checker, which reads windows in UTC alone."""
    plan = decide(world.snapshot(), world.now)
    world.apply(plan)
    world.tick(20)
    return plan


def test_labels_of_nodes_that_leave_wait_for_the_window() -> None:
    world = fleet(4, SHORT, profiles=("amd64", "arm64"))
    world.now = datetime(2026, 11, 27, 12, tzinfo=UTC)
    for device in world.devices.values():
        device.heard = world.now
    world.profiles = world.profiles[:1]
    world.publish("a")
    world.ask(windows=hour(world, 3600))
    assert not world.pass_().moves
    world.ask(windows=[])
    assert world.pass_().moves
