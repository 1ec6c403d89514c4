"""Whole rollouts over simulated fleets: machines die of their model, links flap, devices are broken."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import timedelta

import pytest
from fleet_life import ROLLOUT, any_rollout, ends_well, flap, grow_old, seeds_of
from fleets import fleet
from simulated_kubelets import BAD, DEADLY, FAULTY, FRAGILE, GOOD
from snapshots import profile

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.api.units import parse_share


@pytest.mark.parametrize("canaries", [1, 3])
@pytest.mark.parametrize("outage", [None, 90.0])
def test_a_revision_that_kills_every_machine_touches_one_more_than_its_canaries(
    canaries: int, outage: float | None
) -> None:
    for seed in seeds_of(5):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        size = rng.choice((2, 5, 20, 100))
        rollout = ROLLOUT | {"steps": [{"nodes": canaries, "bake": "1m"}], "maxUnavailable": rng.choice((2, "50%"))}
        world = fleet(size, rollout, seed=seed)
        world.outage, world.dies_after = outage, rng.choice((5.0, 20.0, 45.0))
        world.dies_staged = rng.random() < 0.5
        world.publish("b", DEADLY)
        for _ in range(150):
            plan = world.pass_(rng.randrange(9) if rng.random() < 0.3 else None)
            world.tick(rng.choice((5.0, 20.0)))
        assert len(world.touched["b"]) <= canaries + 1, (seed, world.touched["b"])
        reachable = {name for name in world.nodes if world.reachable(name)}
        if size > canaries + 1 or outage:
            assert plan.status.variants[0].state in {"RolledBack", "RollingBack"}, (
                seed,
                plan.status.variants[0].message,
            )
            assert not world.labelled("b")
            if outage is None and canaries == 1:
                assert plan.status.variants[0].message.count("CanaryLost") == 1
                assert all(name in plan.status.variants[0].message for name in world.touched["b"])
        assert reachable - world.touched["b"] <= {name for name in world.nodes if world.serves(name)}


@pytest.mark.long
def test_a_thousand_nodes_and_a_revision_that_kills_its_machine() -> None:
    world = fleet(1000, ROLLOUT)
    world.publish("b", DEADLY)
    plan = world.run_until("RolledBack")
    assert len(world.touched["b"]) == 2
    assert world.newest("reason")["b"] == "CanaryLost"
    assert all(name in plan.status.variants[0].message for name in world.touched["b"])


def test_machines_that_start_anew_between_two_looks_are_known_to_have_died() -> None:
    """They are never NotReady, and each time their server is ready again soon."""
    for seed in seeds_of(5):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        rollout = ROLLOUT | {"steps": [{"nodes": 1, "bake": "5m"}], "maxUnavailable": "50%"}
        world = fleet(rng.choice((5, 20)), rollout, seed=seed)
        world.outage, world.dies_after = 5.0, rng.choice((20.0, 45.0, 120.0))
        world.publish("b", DEADLY)
        began = world.now
        plan = world.run_until("RolledBack")
        assert len(world.touched["b"]) == 1, seed
        assert world.now - began < timedelta(seconds=2 * world.dies_after + 240), "two deaths, and not the bake's end"
        message = plan.status.variants[0].message
        assert "went down and came back with its server started anew 2 times" in message


def test_a_canary_that_died_while_no_operator_looked_has_held_nothing() -> None:
    for seed in seeds_of(5):
        world = fleet(20, ROLLOUT, seed=seed)
        world.publish("b", DEADLY)
        for _ in range(50):
            world.pass_()
            if any(pod.ready and world.digit(pod.revision) == "b" for pod in world.pods.values()):
                break
            world.tick(5)
        world.tick(600)
        world.run_until("RolledBack")
        assert len(world.touched["b"]) == 2, (seed, world.touched["b"])


def test_a_revision_that_kills_machines_after_its_bakes_does_not_walk_through_the_fleet() -> None:
    world = fleet(300, ROLLOUT)
    world.dies_after = 100.0
    world.publish("b", DEADLY)
    for _ in range(120):
        plan = world.pass_()
        world.tick(20)
    dead = sum(not device.power for device in world.devices.values())
    assert dead <= parse_share("10%", 300) + 1, dead
    assert plan.status.variants[0].state in {"RolledBack", "RollingOut"}


@pytest.mark.parametrize(("size", "limit"), [(12, 1), (30, 2), (40, 4)])
def test_in_a_small_fleet_it_is_bounded_by_max_unavailable(size: int, limit: int) -> None:
    """Too few nodes to say anything of the others. Each minute twice the limit may start before the first one dies."""
    world = fleet(size, ROLLOUT | {"steps": [{"nodes": 1, "bake": "1m"}], "maxUnavailable": limit})
    world.dies_after = 100.0
    for device in world.devices.values():
        device.delay = 60.0
    world.publish("b", DEADLY)
    for _ in range(150):
        world.pass_()
        world.tick(20)
    assert len(world.touched["b"]) <= 4 * limit + 1, len(world.touched["b"])
    assert not world.newest("completedTime").get("b")


@pytest.mark.parametrize("canaries", [1, 3])
def test_a_revision_whose_requests_fail_is_rolled_back_on_its_canaries_alone(canaries: int) -> None:
    """A server that ended itself is ready again within seconds, often before anybody looked."""
    for seed in seeds_of(8):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        rollout = ROLLOUT | {"steps": [{"nodes": canaries, "bake": "2m"}], "maxUnavailable": rng.choice((3, "50%"))}
        world = fleet(rng.choice((4, 20, 100)), rollout, seed=seed)
        world.ends_after = rng.choice((5.0, 40.0, 90.0))
        world.publish("b", FAULTY)
        for _ in range(60):
            plan = world.pass_(rng.randrange(9) if rng.random() < 0.3 else None)
            world.tick(rng.choice((5.0, 20.0, 60.0)))
        assert len(world.touched["b"]) <= canaries, (seed, world.touched["b"])
        assert plan.status.variants[0].state == "RolledBack", (seed, plan.status.variants[0].message)
        assert world.newest("reason")["b"] == "CanaryFailed"
        assert "failed with ErrorRateExceeded: 60 of 90 requests failed" in plan.status.variants[0].message
        assert not world.labelled("b")
        assert all(world.serves(name) for name in world.nodes)


def test_where_nobody_asks_the_canary_the_nodes_that_are_asked_go_back_and_stop_it() -> None:
    for seed in seeds_of(6):
        world = fleet(200, ROLLOUT, seed=seed)
        world.publish("b", FAULTY)
        for _ in range(200):
            world.pass_()
            for name in world.touched.get("b", ()) if len(world.touched.get("b", ())) == 1 else ():
                world.devices[name].asked = False
            world.tick(20)
        assert world.newest("reason")["b"] == "NodesFailed", seed
        assert len(world.touched["b"]) <= 1 + parse_share("10%", 200) * 2, (seed, len(world.touched["b"]))
        assert all(world.serves(name) for name in world.nodes)


def test_a_server_that_is_found_against_after_its_revision_was_completed_is_its_devices_own() -> None:
    world = fleet(10, ROLLOUT)
    world.ends_after = 10_000.0
    world.publish("b", FAULTY)
    world.run_until("Complete")
    world.ends_after = 0.0
    for _ in range(20):
        plan = world.pass_()
        world.tick(20)
    assert not world.newest("rolledBack").get("b")
    assert len(world.labelled("b")) == 10
    assert plan.status.variants[0].state == "Complete"


@pytest.mark.parametrize("canaries", [1, 3])
def test_unrelated_outages_do_not_roll_a_good_revision_back(canaries: int) -> None:
    """A tenth of the fleet is away at any time; and once, at the worst time, a tenth goes at once."""
    for seed in seeds_of(8):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        rollout = ROLLOUT | {"steps": [{"nodes": canaries, "bake": "1m"}, {"nodes": "10%", "bake": "1m"}]}
        world = fleet(100, rollout, seed=seed)
        for _ in range(20):
            flap(world, rng, 0.1)
            world.tick(20)
        world.publish("b")
        strike = rng.randrange(40)
        for number in range(250):
            plan = world.pass_()
            if number == strike:
                for name in rng.sample(sorted(world.devices), 10):
                    world.devices[name].link = False
            flap(world, rng, 0.1)
            world.tick(20)
            assert not world.newest("rolledBack").get("b"), (seed, number, world.newest("message"))
            if plan.status.variants[0].state == "Complete":
                break
        assert world.newest("completedTime").get("b"), (seed, plan.status.variants[0].message)


def test_one_broken_device_stops_no_rollout_and_no_older_revision_is_rolled_back_for_it() -> None:
    for seed in seeds_of(10):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        size = rng.choice((3, 5, 20))
        world = fleet(size, ROLLOUT | {"maxUnavailable": rng.choice((1, 2, "20%")), "maxFailed": 1}, seed=seed)
        faulty = rng.choice(sorted(world.devices))
        for digit in "bcd":
            world.publish(digit)
            if digit == "c":
                world.devices[faulty].broken = True
            plan = world.settle(120)
            others = set(world.nodes) - {faulty}
            rolled_back = world.newest("rolledBack")
            if not rolled_back.get(digit):
                assert others <= world.labelled(digit), (seed, digit, plan.status.variants[0].message)
                assert all(world.serves(name) for name in others)
            else:
                assert digit == "c", (seed, digit, world.newest("message"))
        assert not any(world.newest("rolledBack").get(digit) for digit in "ab")


def test_failures_after_the_canary_up_to_max_failed_go_back_alone() -> None:
    world = fleet(200, ROLLOUT)
    for name in sorted(world.devices)[50:55]:
        world.devices[name].fragile = True
    world.publish("b", FRAGILE)
    plan = world.run_until("Degraded")
    assert len(world.labelled("b")) == 195
    assert world.labelled("a") == set(sorted(world.devices)[50:55])
    assert all(world.serves(name) for name in world.nodes)
    assert {one.name for one in plan.status.pending} == world.labelled("a")
    world.publish("c")
    world.run_until("Complete")
    assert len(world.labelled("c")) == 200


def test_one_more_than_max_failed_rolls_back_within_the_budget() -> None:
    for size in (40, 1000):
        world = fleet(size, ROLLOUT)
        for name in sorted(world.devices)[size // 4 : size // 2]:
            world.devices[name].fragile = True
        world.publish("b", FRAGILE)
        world.run_until("RolledBack")
        assert not world.labelled("b")
        assert len(world.touched["b"]) < size * 0.6
        assert world.newest("reason")["b"] == "NodesFailed"
        assert all(world.serves(name) for name in world.nodes)


def test_another_profile_for_the_same_nodes_ends_no_server_before_its_revision_is_approved() -> None:
    for kind, label in ((GOOD, "b"), (BAD, "a")):
        world = fleet(30, ROLLOUT)
        world.profiles = (DeviceProfile.model_validate({"metadata": {"name": "renamed"}, "spec": profile().spec}),)
        world.publish("b", kind)
        for _ in range(120):
            plan = world.pass_()
            world.tick(20)
            if kind == BAD:
                assert sum(world.serves(name) for name in world.nodes) >= 29
        assert world.labelled(label) == set(world.nodes), plan.status.variants[0].message
        assert all(world.serves(name) for name in world.nodes)


def test_nodes_that_leave_lose_their_servers_within_the_budget() -> None:
    world = fleet(40, ROLLOUT | {"maxUnavailable": 3}, profiles=("amd64", "arm64"))
    world.profiles = world.profiles[:1]
    world.publish("a")
    assert len(world.pass_().moves) == 3
    for _ in range(30):
        world.tick(20)
        world.pass_()
    assert len(world.labelled("a")) == 20


@pytest.mark.long
def test_only_few_nodes_reachable_completes_nothing() -> None:
    world = fleet(1000, ROLLOUT)
    for name in sorted(world.devices)[1:]:
        world.devices[name].link = False
    world.tick(60)
    world.publish("b")
    for _ in range(60):
        world.pass_()
        world.tick(20)
    assert not world.newest("provenTime").get("b")
    world.kinds["b"] = BAD
    for device in world.devices.values():
        device.link = True
    world.run_until("RolledBack")
    assert len(world.touched["b"]) <= 150


def test_a_retry_tries_the_same_revision_again_with_a_canary() -> None:
    world = fleet(10, ROLLOUT)
    world.publish("b", BAD)
    world.run_until("RolledBack")
    world.kinds["b"] = GOOD
    world.run_until("RolledBack")
    world.edge_model.metadata.annotations[RETRY_ANNOTATION] = "1"
    world.run_until("Complete")
    assert len(world.labelled("b")) == 10
    del world.edge_model.metadata.annotations[RETRY_ANNOTATION]
    assert not world.pass_().moves


@pytest.mark.parametrize("batch", range(4))
def test_any_fleet_keeps_the_rules_and_ends_on_a_good_revision(batch: int) -> None:
    live(seeds_of(8, batch), "30s")


def test_longer_bakes_keep_the_rules_too() -> None:
    """These showed that a dead canary held, a good one failed, and what a device or a leaving node counts for."""
    live((101, 159, 189, 378, 396, 506, 2096), "1m")


def test_where_all_failed_on_a_node_it_makes_nothing_ready_beside_what_was_rolled_back() -> None:
    live((1003,), "30s")


def live(seeds: Iterable[int], bake: str) -> None:
    """The life of a fleet of any shape."""
    for seed in seeds:
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        rollout = any_rollout(rng, bake)
        world = fleet(rng.randrange(1, 13), rollout, profiles=rng.choice((("amd64",), ("amd64", "arm64"))), seed=seed)
        world.outage, world.dies_staged = rng.choice((60.0, 200.0)), seed % 3 == 0
        grow_old(world, rng)
        ends_well(world, 200, seed)
