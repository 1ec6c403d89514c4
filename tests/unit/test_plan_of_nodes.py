"""What a whole plan says of nodes: the order of moves, what is kept of a node, and what must not be deleted for it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from clusters import Cluster, labels, publish, three_nodes
from snapshots import LABEL, NOW, model, node, profile, snapshot

from edgesmith.decide import decide
from edgesmith.decide.fleet import ServerState
from edgesmith.decide.record import Record
from edgesmith.decide.snapshot import Revision


def test_nodes_that_have_to_go_back_come_first() -> None:
    spec: dict[str, Any] = {
        "deviceProfiles": {"names": ["amd64", "arm64"]},
        "rollout": {"steps": [{"nodes": 1, "bake": "30s"}], "maxUnavailable": 3},
    }
    cluster = Cluster(
        edge_model=model(**spec),
        profiles=(profile(), profile("arm64", platform={"architecture": "arm64"})),
        nodes={name: node(name, "arm64" if name < "m" else "amd64") for name in ("a1", "a2", "z1", "z2")},
    )
    cluster.run(30)
    before = labels(cluster)
    publish(cluster, "b", **spec)
    cluster.run(5)
    assert labels(cluster) != before
    cluster.apply(decide(cluster.snapshot(), cluster.now))
    cluster.pods["z1"] = replace(cluster.pods["z1"], ready=False, restarts=5, waiting="CrashLoopBackOff")
    cluster.now += timedelta(seconds=60)
    plan = decide(cluster.snapshot(), cluster.now)
    assert [(move.node, move.urgent) for move in plan.moves] == [("z1", True), ("a2", False)]


def test_a_node_that_lost_its_label_is_still_known_to_have_failed() -> None:
    cluster = three_nodes()
    cluster.refuse.add("a" * 64)
    plan = cluster.run(10)
    assert set(labels(cluster).values()) == {None}
    assert plan.status.nodes.updated == 0
    kept = {name: one.records.get(LABEL) for name, one in cluster.nodes.items()}
    assert [name for name, record in kept.items() if record] == ["e1"]
    (failure,) = json.loads(kept["e1"] or "")["failures"].values()
    assert failure["note"].startswith("failed with GoldenMismatch")


def test_what_a_node_may_go_back_to_is_not_deleted() -> None:
    at = NOW - timedelta(days=1)
    daemon_sets = tuple(
        Revision(f"parts-r{age}", f"r{age}", "amd64", "i@sha256:0", at - timedelta(hours=age), {}) for age in range(8)
    )
    record = Record("r0", ServerState.SERVING, at, at, previous="r7").to_json()
    there = replace(node("n", revision="r0"), records={LABEL: record})
    deleted = {one.name for one in decide(snapshot(nodes=(there,), revisions=daemon_sets), NOW).deletes}
    assert deleted == {"parts-r4", "parts-r5", "parts-r6"}
