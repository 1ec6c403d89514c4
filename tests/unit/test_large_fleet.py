"""Small fleets with large images: what the status says of full disks, and who does not wait for one."""

from __future__ import annotations

from datetime import timedelta

from fleets import fleet_of as simulated
from rollout_words import OLD, PROVEN, SURGE, fleet, step, with_rules, writes
from room_world import LACKS, RoomWorld
from snapshots import LABEL, NEXT, NOW, said, sentence

from edgesmith.decide import decide
from edgesmith.decide.fleet import Partitions
from edgesmith.decide.plan import Plan
from edgesmith.decide.record import parse_record
from edgesmith.decide.room import NoRoom
from edgesmith.decide.snapshot import RegistryProblem

ROLLOUT = {"steps": [{"nodes": 1, "bake": "30s"}], "maxUnavailable": 1, "progressDeadline": "5m"}
REPLACE = ROLLOUT | {"strategy": "Replace"}


def three(full: set[str], rollout: dict[str, object] = ROLLOUT) -> RoomWorld:
    """Three nodes that serve source a, some without room for another image."""
    world = simulated(RoomWorld, 3, rollout)
    world.full = full
    world.publish("b", rollout=rollout)
    return world


def after(world: RoomWorld, passes: int) -> Plan:
    for _ in range(passes):
        plan = world.pass_()
        world.tick(20)
    return plan


def test_ready_says_that_a_disk_is_full_and_the_rollout_is_not_complete() -> None:
    world = three({"n0001"})
    plan = after(world, 40)
    assert said(plan)["Ready"] == ("True", "DiskFull")
    assert said(plan)["RolloutComplete"] == ("False", "DiskFull")
    assert "Reconciling" not in said(plan)
    assert sentence(plan) == "Serving on 3 of 3 nodes, 1 without room on the disk."
    assert f"; n0001 {LACKS}" in plan.status.variants[0].message
    for _ in range(60):  # also while it looks again
        plan = after(world, 1)
        assert said(plan)["Ready"] == ("True", "DiskFull")
        assert [(one.name, one.reason) for one in plan.status.pending] == [("n0001", "DiskFull")]
    assert (plan.status.nodes.ready, plan.status.nodes.updated, plan.status.nodes.disk_full) == (3, 2, 1)


def test_whoever_is_pending_for_a_full_disk_is_counted_in_the_same_status() -> None:
    world, told = three({"n0001"}), 0
    for _ in range(60):
        plan = after(world, 1)
        named = sum(one.reason == "DiskFull" for one in plan.status.pending)
        assert plan.status.nodes.disk_full == named
        told += named
    assert told


def test_where_too_many_are_full_for_completion_that_is_what_is_awaited() -> None:
    plan = after(three({"n0001", "n0002"}), 40)
    assert said(plan)["Reconciling"] == ("True", "DiskFull")
    assert plan.status.variants[0].reason == "DiskFull"


def test_a_node_is_not_asked_again_and_again() -> None:
    world = three({"n0001"})
    asked = 0
    for _ in range(90):  # half an hour
        asked += any(move.node == "n0001" and move.next for move in world.pass_().moves)
        world.tick(20)
    assert 2 <= asked <= 4
    kept = parse_record(world.nodes["n0001"].records[LABEL], world.now)
    assert kept
    assert kept.full
    assert kept.full.note == LACKS


def test_going_back_by_request_waits_for_no_room() -> None:
    world = three(set(), REPLACE)
    world.run_until("Complete")
    (back,), (left,) = world.asked("a"), world.asked("b")
    assert back in world.rooms, "its pods that stage look for room"
    world.full = set(world.nodes)
    world.ask(rollbackTo=[{"from": left, "revision": back}])
    after(world, 15)
    assert world.labelled("a") == set(world.nodes)
    assert all(map(world.serves, world.nodes))


def test_partitions_do_not_wait_for_a_full_disk() -> None:
    by = Partitions("zone", ("a", "b"), timedelta(0))
    full = NoRoom("new", NOW, LACKS)
    nodes = fleet("old+ old+", n0={"labels": {"zone": "a"}, "full": full}, n1={"labels": {"zone": "b"}})
    course = step(nodes, OLD, PROVEN, strategy=SURGE, large=True, rules=with_rules(partitions=by))
    assert set(writes(course)) == {"n1"}


def test_while_the_registry_is_away_nodes_go_on_looking() -> None:
    world = three(set())
    first = decide(world.snapshot(), world.now)
    world.apply(first)
    after(world, 2)
    room = decide(world.snapshot(), world.now).revisions[0].room
    assert room
    world.registry = dict.fromkeys(world.registry, RegistryProblem("It does not answer.", forbidden=False))
    plan = decide(world.snapshot(), world.now)
    assert plan.revisions[0].room == room
    world.run_until("Complete")
    assert world.labelled("b") == set(world.nodes)
    assert not any(NEXT in node.labels for node in world.nodes.values())
