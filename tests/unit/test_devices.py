"""Which devices a pod asks for and a node lacks, and what the decisions make of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from clusters import Cluster, labels, publish
from snapshots import model, node, profile, said, sentence

from edgesmith.decide.devices import Shortage, devices_of, is_device, shortage

CORAL = "squat.ai/edgetpu"
LACKS = f"offers 0 of {CORAL} where 1 is expected"
ASKS = profile(runtime={"resources": {"limits": {CORAL: 1}}})


@pytest.mark.parametrize(
    ("resource", "device"),
    [
        (CORAL, True),
        ("nvidia.com/gpu", True),
        ("gpu.intel.com/i915", True),
        ("cpu", False),
        ("hugepages-2Mi", False),
        ("attachable-volumes.kubernetes.io/disks", False),
    ],
)
def test_what_is_a_device(resource: str, *, device: bool) -> None:
    assert is_device(resource) is device


ASKED: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None, dict[str, int]]] = {
    "nothing": (None, None, {}),
    "a limit of the profile": ({"limits": {CORAL: 1, "memory": "1Gi"}}, None, {CORAL: 1}),
    "a request": ({"requests": {CORAL: "2"}}, None, {CORAL: 2}),
    "the EdgeModel's own": (None, {"limits": {CORAL: "1"}}, {CORAL: 1}),
    "the EdgeModel's over the profile's": ({"limits": {CORAL: 1}}, {"limits": {CORAL: 2}}, {CORAL: 2}),
    "none of it after all": ({"limits": {CORAL: 1}}, {"limits": {CORAL: 0}}, {}),
    "two kinds": ({"limits": {CORAL: 1, "nvidia.com/gpu": 1}}, None, {CORAL: 1, "nvidia.com/gpu": 1}),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_a_variant_asks_for(case: str) -> None:
    of_profile, of_model, expected = ASKED[case]
    serving: dict[str, Any] = {"serving": {"resources": of_model}} if of_model else {}
    runtime: dict[str, Any] = {"runtime": {"resources": of_profile}} if of_profile else {}
    assert devices_of(profile(**runtime), model(**serving)) == expected


@pytest.mark.parametrize(
    ("offered", "lacks"),
    [({}, 0), ({CORAL: 0}, 0), ({CORAL: 1}, 1), ({CORAL: 2}, None), ({CORAL: 3}, None), ({"nvidia.com/gpu": 8}, 0)],
)
def test_what_a_node_lacks(offered: dict[str, int], lacks: int | None) -> None:
    assert shortage({CORAL: 2}, offered) == (None if lacks is None else Shortage(CORAL, 2, lacks))


def test_the_device_that_lacks_is_named() -> None:
    found = shortage({"nvidia.com/gpu": 1, CORAL: 2}, {"nvidia.com/gpu": 1, CORAL: 1})
    assert str(found) == f"offers 1 of {CORAL} where 2 is expected"


def corals(*offering: str) -> Cluster:
    """Three nodes of a profile that asks for a device, some of which offer it."""
    cluster = Cluster(profiles=(ASKS,))
    for name in ("e1", "e2", "e3"):
        cluster.nodes[name] = replace(node(name), offers={CORAL: 1} if name in offering else {})
    return cluster


def offer(cluster: Cluster, name: str, count: int) -> None:
    """What a node's kubelet says of its device from now on."""
    cluster.nodes[name] = replace(cluster.nodes[name], offers={CORAL: count})


def test_where_no_node_offers_it_nobody_is_moved_and_the_status_names_node_and_resource() -> None:
    cluster = corals()
    plan = cluster.run(20)
    assert set(labels(cluster).values()) == {None}
    assert said(plan)["Reconciling"] == ("True", "DeviceMissing")
    assert sentence(plan, "Reconciling").endswith(f"waits for a node: 3 desired, 3 without a device; e1 {LACKS}.")
    assert plan.status.nodes.device_missing == 3
    assert plan.status.variants[0].reason == "DeviceMissing"
    assert {(one.name, one.reason, one.message) for one in plan.status.pending} == {
        (name, "DeviceMissing", f"It {LACKS}, so it is given a revision when a device plugin of the node offers it.")
        for name in cluster.nodes
    }
    for name in cluster.nodes:
        offer(cluster, name, 1)
    plan = cluster.run(20)
    assert sentence(plan) == "Serving on 3 of 3 nodes."
    assert plan.status.pending == ()


def test_a_node_without_it_holds_nobody_up_and_is_no_canary() -> None:
    cluster = corals("e2", "e3")
    plan = cluster.run(20)
    assert labels(cluster)["e1"] is None
    assert said(plan)["Ready"] == ("True", "DeviceMissing")
    assert sentence(plan) == "Serving on 2 of 3 nodes, 1 without a device."
    assert plan.status.variants[0].state == "Complete"
    publish(cluster, "b")
    plan = cluster.run(20)
    assert len({labels(cluster)["e2"], labels(cluster)["e3"]}) == 1
    assert sentence(plan) == "Serving on 2 of 3 nodes, 1 without a device."
    offer(cluster, "e1", 1)
    assert sentence(cluster.run(6)) == "Serving on 3 of 3 nodes."


def test_a_fleet_of_which_few_offer_it_gives_it_to_those_and_says_what_the_others_lack() -> None:
    cluster = corals("e3")
    plan = cluster.run(20)
    assert [name for name, label in labels(cluster).items() if label] == ["e3"]
    assert said(plan)["Reconciling"] == ("True", "DeviceMissing")
    assert sentence(plan, "Reconciling").endswith(f"is on 1 of 3 nodes, 2 without a device; e1 {LACKS}.")


def test_a_device_that_goes_is_told_and_its_server_goes_on() -> None:
    cluster = corals("e1", "e2", "e3")
    cluster.run(20)
    before, pod = labels(cluster), cluster.pods["e1"]
    offer(cluster, "e1", 0)
    plan = cluster.run(1)
    assert said(plan)["Ready"] == ("True", "DeviceMissing")
    assert "Reconciling" not in said(plan)
    assert plan.status.variants[0].message == f"Serving on 2 of 3 nodes, 1 without a device; e1 {LACKS}."
    (waiting,) = plan.status.pending
    assert (waiting.name, waiting.reason) == ("e1", "DeviceMissing")
    assert waiting.message == (
        f"It {LACKS}; its server goes on with what it was given, and it is updated when the device is offered again."
    )
    publish(cluster, "b")
    cluster.run(20)
    assert (labels(cluster)["e1"], cluster.pods["e1"]) == (before["e1"], pod)
    offer(cluster, "e1", 1)
    cluster.run(6)
    assert len(set(labels(cluster).values())) == 1
    assert labels(cluster) != before


def test_a_profile_that_asks_for_no_device_does_not_look_for_any() -> None:
    cluster = replace(corals(), profiles=(profile(),))
    assert sentence(cluster.run(20)) == "Serving on 3 of 3 nodes."


def test_a_server_that_fails_without_its_device_is_no_evidence() -> None:
    cluster = corals("e1", "e2", "e3")
    cluster.run(20)
    publish(cluster, "b")
    cluster.run(5)
    (canary,) = [name for name, label in labels(cluster).items() if list(labels(cluster).values()).count(label) == 1]
    target = labels(cluster)[canary]
    offer(cluster, canary, 0)
    failing = replace(cluster.pods[canary], ready=False, restarts=5, waiting="CrashLoopBackOff")
    for _ in range(40):
        cluster.pods[canary] = failing
        plan = cluster.run(1)
        assert plan.status.variants[0].state in {"Canary", "RollingOut", "Complete"}, plan.status.variants[0].message
    assert labels(cluster)[canary] == target
    assert f"; {canary} {LACKS}" in plan.status.variants[0].message
    others = {label for name, label in labels(cluster).items() if name != canary}
    assert others == {target}, "one canary is tried in its place, and the rest follows"
    assert "its server starts when" in next(one.message for one in plan.status.pending if one.name == canary)
    offer(cluster, canary, 1)
    cluster.pods[canary] = failing
    assert cluster.run(1).status.variants[0].state != "RollingBack", "its back-off is of the time without the device"
    cluster.pods[canary] = replace(failing, ready=True, restarts=6, waiting=None)
    assert sentence(cluster.run(8)) == "Serving on 3 of 3 nodes."
