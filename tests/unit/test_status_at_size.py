"""What the status says of a fleet of thousands: bounded, true of nodes that are away, and calm when they come back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from clusters import Cluster, publish, three_nodes
from snapshots import LABEL, NEXT, model, node, profile, said, sentence

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.units import parse_share
from edgesmith.decide.plan import Plan
from edgesmith.decide.status import PENDING_SHOWN
from edgesmith.decide.taints import Taint

NODES, LONGEST = 5000, 63
NAMED, BYTES = 20, 20_000
"""Most nodes that a status names, and most bytes that it has."""


def named(number: int) -> str:
    return f"edge-{number:04}".ljust(LONGEST, "x")


ROLLOUT = {
    "steps": [{"nodes": 1, "bake": "30s"}, {"nodes": "50%", "bake": "30s"}],
    "maxUnavailable": "100%",
    "progressDeadline": "5m",
}


@cache
def settled() -> Cluster:
    """A fleet with names as long as a label allows that serves its first revision everywhere."""
    nodes = {named(number): node(named(number)) for number in range(NODES)}
    cluster = Cluster(edge_model=model(rollout=ROLLOUT), nodes=nodes)
    while cluster.run(1, seconds=60).status.variants[0].state != "Complete":
        pass
    cluster.run(1)
    return cluster


def fleet() -> Cluster:
    """The same, to be changed."""
    known = settled()
    copied: dict[str, Any] = {
        name: dict(getattr(known, name)) for name in ("nodes", "pods", "jobs", "revisions", "registry")
    }
    return replace(known, events=[], **copied)


def written(plan: Plan) -> str:
    """The status as the API server keeps it."""
    return json.dumps(plan.status.model_dump(mode="json", by_alias=True, exclude_none=True), separators=(",", ":"))


def offline(cluster: Cluster) -> None:
    """One node in ten has no power, before the second revision."""
    for number in range(0, NODES, 10):
        cluster.nodes[named(number)] = replace(cluster.nodes[named(number)], ready=False)
    publish(cluster, "b", rollout=ROLLOUT)


def failing(cluster: Cluster) -> None:
    """One server in two is down."""
    for number in range(0, NODES, 2):
        found = cluster.pods[named(number)]
        cluster.pods[named(number)] = replace(found, ready=False, waiting="CrashLoopBackOff", restarts=9)


def tainted(cluster: Cluster) -> None:
    """All of them, for repairs, before the second revision."""
    for name, one in cluster.nodes.items():
        cluster.nodes[name] = replace(one, taints=(Taint("repair", "", "NoSchedule"),))
    publish(cluster, "b", rollout=ROLLOUT)


def of_two_profiles(cluster: Cluster) -> None:
    """Every node."""
    cluster.profiles = (*cluster.profiles, profile("too", nodeSelector={"device": "amd64"}))
    publish(cluster, "a", deviceProfiles={"names": ["amd64", "too"]}, rollout=ROLLOUT)


@pytest.mark.parametrize("trouble", [offline, failing, tainted, of_two_profiles])
def test_five_thousand_nodes_are_counted_and_twenty_are_named(trouble: Any) -> None:
    cluster = fleet()
    trouble(cluster)
    for _ in range(2):
        plan = cluster.run(1)
        text = written(plan)
        assert len(text.encode()) < BYTES
        assert len(set(re.findall(r"edge-[0-9]{4}", text))) <= NAMED
    assert len(plan.status.pending) == (0 if trouble is failing else PENDING_SHOWN)


def of_profiles(count: int) -> tuple[dict[str, Any], tuple[DeviceProfile, ...]]:
    """What the spec has for so many profiles, and these."""
    names = [f"profile-{number}" for number in range(count)]
    return {"deviceProfiles": {"names": names}, "rollout": ROLLOUT}, tuple(profile(name) for name in names)


@pytest.mark.parametrize(
    "share", [pytest.param("10%", marks=pytest.mark.long), "20%", pytest.param("100%", marks=pytest.mark.long)]
)
def test_a_large_first_step_that_is_lost_names_a_few(share: str) -> None:
    cluster = fleet()
    rollout = ROLLOUT | {"steps": [{"nodes": share, "bake": "1m"}]}
    publish(cluster, "b", rollout=rollout)
    plan = cluster.run(4)
    assert plan.status.variants[0].state == "Canary"
    for name, one in cluster.nodes.items():
        trying = NEXT in one.labels or one.labels[LABEL] == plan.status.variants[0].revision
        cluster.nodes[name] = replace(one, ready=not trying)
    for _ in range(8):
        plan = cluster.run(1, seconds=60)
        text = written(plan)
        assert len(text.encode()) < BYTES
        assert len(set(re.findall(r"edge-[0-9]{4}", text))) <= NAMED
    if share != "100%":
        assert plan.status.variants[0].state == "RolledBack"
        others = parse_share(share, NODES) - 4
        assert f" and {others} more became NotReady after they got it" in plan.status.variants[0].message


@pytest.mark.parametrize(("count", "kind"), [(3, "good"), (6, "good"), (3, "bad")])
def test_several_profiles_and_a_long_history_fit(count: int, kind: str) -> None:
    spec, profiles = of_profiles(count)
    nodes = {named(number): node(named(number), f"profile-{number % count}") for number in range(NODES // 50)}
    cluster = Cluster(edge_model=model(**spec), profiles=profiles, nodes=nodes)
    cluster.run(8, seconds=60)
    for number, digit in enumerate("bcdef0123456", 2):
        cluster.refuse = {digit * 64} if kind == "bad" else set()
        publish(cluster, digit, generation=number, **spec)
        plan = cluster.run(8, seconds=60)
        assert {one.state for one in plan.status.variants} == {"Complete" if kind == "good" else "RolledBack"}
    assert len(plan.status.history) >= count
    assert len(written(plan).encode()) < BYTES


def test_as_many_requests_as_the_spec_can_have_fit() -> None:
    """Each names a revision by digest, which is the longest way."""
    nodes = {named(number): node(named(number)) for number in range(1000)}
    cluster = Cluster(edge_model=model(rollout=ROLLOUT), nodes=nodes)
    cluster.run(8, seconds=60)
    words = [f"sha256:{number:02x}{'0' * 62}" for number in range(16)]
    asked = ROLLOUT | {
        "promote": [{"revision": one} for one in words],
        "rollbackTo": [{"from": one, "revision": words[0]} for one in words[1:]],
        "override": words,
    }
    for name, one in cluster.nodes.items():
        cluster.nodes[name] = replace(one, ready=False)
    publish(cluster, "b", rollout=asked)
    plan = cluster.run(3, seconds=60)
    requests = plan.status.requests
    assert len(requests) == 47
    assert {(one.state, one.message) for one in requests} == {("NotFound", "No revision is called so, or not yet.")}
    assert len(written(plan).encode()) < BYTES


def test_a_few_requests_are_told_of_in_whole() -> None:
    cluster = three_nodes()
    cluster.run(8)
    word = f"sha256:{'5' * 64}"
    publish(cluster, "a", rollout={"override": [word]})
    (found,) = cluster.run(1).status.requests
    assert found.request == f"override[{word}]"
    assert found.message == "No revision that the spec asks for is called sha256:555555555555…, or not yet."


def test_ready_speaks_of_nodes_that_can_be_reached_and_rollout_complete_of_all() -> None:
    cluster = three_nodes()
    cluster.nodes["e3"] = replace(cluster.nodes["e3"], ready=False)
    plan = cluster.run(18)
    assert said(plan)["Ready"] == ("True", "NodesNotReady")
    assert said(plan)["RolloutComplete"] == ("False", "NodesNotReady")
    assert sentence(plan, "RolloutComplete") == "Serving on 2 of 3 nodes, 1 NotReady."
    assert {"Reconciling", "Stalled"}.isdisjoint(said(plan))
    cluster.nodes["e3"] = replace(cluster.nodes["e3"], ready=True)
    assert said(cluster.run(4))["RolloutComplete"] == ("True", "Succeeded")


def test_an_outage_after_the_rollout_flips_no_condition() -> None:
    cluster = three_nodes()
    before = {kind: status for kind, (status, _) in said(cluster.run(20)).items()}
    for ready in (False, True):
        cluster.nodes["e2"] = replace(cluster.nodes["e2"], ready=ready)
        for _ in range(40):
            assert {kind: status for kind, (status, _) in said(cluster.run(1)).items()} == before


def test_a_node_that_comes_back_without_its_server_is_not_served() -> None:
    cluster = three_nodes()
    cluster.run(20)
    cluster.nodes["e2"] = replace(cluster.nodes["e2"], ready=False)
    cluster.run(40)
    cluster.nodes["e2"] = replace(cluster.nodes["e2"], ready=True)
    cluster.pods["e2"] = replace(cluster.pods["e2"], ready=False, waiting="CrashLoopBackOff", restarts=5)
    plan = cluster.run(1)
    assert said(plan)["Stalled"] == ("True", "NodesFailed")
    assert said(plan)["Ready"][0] == "False"


def test_tainted_nodes_without_the_revision_keep_the_rollout_open() -> None:
    cluster = three_nodes()
    cluster.nodes["e3"] = replace(cluster.nodes["e3"], taints=(Taint("repair", "", "NoSchedule"),))
    plan = cluster.run(18)
    assert said(plan)["Ready"] == ("True", "NodesTainted")
    assert said(plan)["RolloutComplete"] == ("False", "NodesTainted")
