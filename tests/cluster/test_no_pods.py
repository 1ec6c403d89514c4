"""Nodes that take no new pods: tainted, or kept from one by an admission policy."""

from __future__ import annotations

import pytest

from edgesmith_stage.fleet import Fleet

pytestmark = [pytest.mark.timeout(600), pytest.mark.lent, pytest.mark.long]

TAINT = "edgesmith-test/maintenance"


def test_a_tainted_node_is_left_alone_and_a_pod_that_is_forbidden_is_a_failure(fleet: Fleet) -> None:
    kube = fleet.ground.kube
    manifest = fleet.manifest("parts", fleet.publish("1"), deviceProfiles={"names": ["generic-amd64"]})
    fleet.apply(manifest)
    fleet.wait_settled("parts", 300)
    before, pods = fleet.servers("parts"), fleet.pods("parts")

    kube("taint", "node", "edge-1", f"{TAINT}:NoSchedule")
    try:
        fleet.wait_saying("parts", "Ready", "Serving on 1 of 2 nodes, 1 tainted.")
        fleet.patch("parts", {"source": fleet.publish("2", "model-v2.onnx")})
        pending = fleet.wait_settled("parts", 240)["status"]["pending"]
        assert [(node["name"], node["reason"], TAINT in node["message"]) for node in pending] == [
            ("edge-1", "Tainted", True)
        ]
        assert fleet.pods("parts")[before["edge-1"].pod] == pods[before["edge-1"].pod]
        assert fleet.servers("parts")["edge-2"].revision != before["edge-2"].revision
    finally:
        kube("taint", "node", "edge-1", f"{TAINT}-")
    fleet.wait_saying("parts", "Ready", "Serving on 2 of 2 nodes.")
    serving = {server.revision for server in fleet.servers("parts").values()}
    assert len(serving) == 1, "the node has followed"
    kube.apply(limit_range("550Mi"), namespace=fleet.namespace)
    too_much = {"resources": {"limits": {"memory": "600Mi"}}}
    fleet.patch("parts", {"serving": too_much, "rollout": {"progressDeadline": "5s"}})
    stalled = fleet.wait("parts", "Stalled", reason="RolledBack", seconds=120)
    assert "got no pod within spec.rollout.progressDeadline" in stalled["message"]
    fleet.wait_saying("parts", "Stalled", "serves; publish a new source")
    assert {server.revision for server in fleet.servers("parts").values()} == serving


def limit_range(memory: str) -> dict[str, object]:
    """A LimitRange that forbids containers with more memory."""
    limits = [{"type": "Container", "max": {"memory": memory}}]
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "small"},
        "spec": {"limits": limits},
    }
