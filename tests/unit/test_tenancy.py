"""Whose EdgeModels may use a profile, and what becomes of those that may not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from clusters import Cluster, labels, publish, three_nodes
from snapshots import LABEL, model, node, profile, said, sentence

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.names import parse_node_label
from edgesmith.decide.record import parse_record
from edgesmith.decide.taints import Taint


def test_a_profile_that_is_no_longer_allowed_leaves_its_nodes_serving_and_gets_nothing_new() -> None:
    cluster = three_nodes()
    cluster.run(16)
    before = labels(cluster)
    cluster.profiles = (profile(allowedNamespaces=["other"]),)
    cluster.nodes["e4"] = node("e4")
    publish(cluster, "b")
    plan = cluster.run(16)
    assert (plan.moves, plan.builds, plan.revisions) == ((), (), ())
    assert labels(cluster) == {**before, "e4": None}
    assert said(plan)["Stalled"] == ("True", "ProfileNotAllowed")
    assert said(plan)["ProfilesResolved"] == ("False", "ProfileNotAllowed")
    assert said(plan)["RolloutComplete"][1] != "ProfileNotFound"
    assert sentence(plan) == (
        "spec.deviceProfiles.names has 'amd64', but spec.allowedNamespaces of that DeviceProfile does not have the "
        "namespace 'plant'; its nodes keep what they run."
    )
    assert plan.status.nodes.ready == 3
    cluster.profiles = (profile(allowedNamespaces=["other", "plant"]),)
    plan = cluster.run(25)
    assert said(plan)["Ready"] == ("True", "Succeeded")
    assert len(set(labels(cluster).values())) == 1


CORAL = "squat.ai/edgetpu"
PINNED: dict[str, Any] = {
    "resources": {"limits": {CORAL: 1}},
    "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
}


@pytest.mark.parametrize("unusable", [(), (profile(runtime=PINNED, allowedNamespaces=["other"]),)])
@pytest.mark.parametrize("tainted", [False, True])
def test_nodes_of_a_profile_that_cannot_be_used_are_judged_as_before(
    unusable: tuple[DeviceProfile, ...], *, tainted: bool
) -> None:
    """What its servers ask for stands in their DaemonSet: without its device a server is no evidence."""
    dedicated = (Taint("dedicated", "edge", "NoSchedule"),)
    cluster = Cluster(profiles=(profile(runtime=PINNED),))
    cluster.nodes = {name: replace(node(name), offers={CORAL: 1}, taints=dedicated) for name in ("e1", "e2", "e3")}
    cluster.run(16)
    publish(cluster, "b")
    cluster.run(5)
    before = labels(cluster)
    (canary,) = (name for name, label in before.items() if list(before.values()).count(label) == 1)
    failing = replace(cluster.pods[canary], ready=False, restarts=5, waiting="CrashLoopBackOff")
    offered = {CORAL: 1} if tainted else {}
    cluster.nodes[canary] = replace(cluster.nodes[canary], offers=offered)
    if tainted:
        failing = replace(failing, waiting=None, restarts=0)
    cluster.profiles = unusable
    for _ in range(120):
        cluster.pods[canary] = failing
        cluster.run(1)
    found = parse_record(cluster.nodes[canary].records[LABEL], cluster.now)
    assert found is not None
    assert bool(found.failures) is tainted, "a taint that its servers tolerate is no excuse for one that is not ready"
    assert (labels(cluster) == before) is not tainted


def test_a_profile_that_was_never_allowed_is_not_built_for() -> None:
    forbidden = profile("secret", allowedNamespaces=["other"])
    cluster = Cluster(
        edge_model=model(deviceProfiles={"names": ["secret"]}),
        profiles=(forbidden,),
        nodes={"s1": node("s1", "secret")},
    )
    plan = cluster.run(4)
    assert (cluster.jobs, cluster.revisions, labels(cluster)) == ({}, {}, {"s1": None})
    assert said(plan)["Stalled"] == ("True", "ProfileNotAllowed")


def test_a_profile_can_ask_for_a_label_that_no_kubelet_may_set() -> None:
    """Neither its value nor its prefix may be taken for a label of the operator's own."""
    key = "edgesmith.dev.node-restriction.kubernetes.io/device"
    assert parse_node_label(key) is None
    cluster = Cluster(profiles=(profile(nodeSelector={key: "pi"}),), nodes={})
    for name, value in (("e1", "pi"), ("e2", "pi"), ("e3", "other")):
        cluster.nodes[name] = replace(node(name), labels={"device": "amd64", key: value})
    plan = cluster.run(25)
    assert said(plan)["Ready"] == ("True", "Succeeded")
    assert [name for name, label in labels(cluster).items() if label] == ["e1", "e2"]
    assert {one.labels[key] for one in cluster.nodes.values()} == {"pi", "other"}
