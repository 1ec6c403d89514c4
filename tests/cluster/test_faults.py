"""Links that go, models that are bad, an operator that is killed: the same end."""

from __future__ import annotations

import pytest
from faults import OperatorKilled

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.waiting import until

pytestmark = pytest.mark.timeout(600)


@pytest.mark.long
@pytest.mark.lent
def test_a_node_cut_off_in_mid_rollout_is_caught_up(fleet: Fleet) -> None:
    fleet.apply(fleet.manifest("parts", fleet.publish("1")))
    fleet.wait_settled("parts", 300)
    before = fleet.servers("parts")

    fleet.patch("parts", {"source": fleet.publish("2", "model-v2.onnx")})
    fleet.cut("edge-2")
    until(lambda: "edge-2" in fleet.not_ready(), seconds=60, what="edge-2 to be NotReady")
    model = fleet.wait_settled("parts", 300)

    assert model["status"]["nodes"]["notReady"] == 1
    assert "1 NotReady" in next(c["message"] for c in model["status"]["conditions"] if c["type"] == "Ready")
    after = fleet.servers("parts")
    assert after["edge-1"].revision != before["edge-1"].revision
    assert after["edge-3"].revision != before["edge-3"].revision

    fleet.heal("edge-2")
    until(
        lambda: fleet.model("parts")["status"]["nodes"]["updated"] == 3 and fleet.wait_settled("parts"),
        seconds=120,
        what="edge-2 to be updated",
    )
    assert fleet.servers("parts")["edge-2"].revision == after["edge-1"].revision


@pytest.mark.lent
def test_a_bad_model_is_rolled_back_on_the_canary_and_nobody_else_is_touched(fleet: Fleet) -> None:
    manifest = fleet.manifest("parts", fleet.publish("1"), nodeSelector={"edgesmith.dev/device": "generic-amd64"})
    fleet.apply(manifest)
    fleet.wait_settled("parts", 300)
    before, pods = fleet.servers("parts"), fleet.pods("parts")

    impossible = {"maxLatency": "0.001ms"}
    fleet.patch("parts", {"source": fleet.publish("2", "model-v2.onnx"), "gates": impossible})
    stalled = fleet.wait("parts", "Stalled", reason="RolledBack", seconds=240)
    assert "maxLatency" in stalled["message"] or "latency" in stalled["message"].lower()
    until(
        lambda: all(s.ready for s in fleet.servers("parts").values()) and len(fleet.servers("parts")) == 2,
        seconds=60,
        what="the previous revision to serve on both nodes again",
    )
    after = fleet.servers("parts")
    assert {node: s.revision for node, s in after.items()} == {node: s.revision for node, s in before.items()}
    untouched = set(pods.items()) & set(fleet.pods("parts").items())
    assert len(untouched) == 2, "what failed ran beside the server of the canary"

    fleet.patch("parts", {"gates": {"maxLatency": None}})
    fleet.wait_settled("parts", 240)
    assert {s.revision for s in fleet.servers("parts").values()}.isdisjoint(s.revision for s in before.values())


@pytest.mark.long
def test_an_operator_killed_at_random_comes_to_the_same_end(fleet: Fleet) -> None:
    fleet.apply(fleet.manifest("parts", fleet.publish("1")))
    with OperatorKilled(fleet) as killed:
        fleet.wait_settled("parts", 300)
    assert killed.kills >= 2
    assert {node: s.ready for node, s in fleet.servers("parts").items()} == dict.fromkeys(surface.EDGES, True)
    jobs = fleet.ground.kube.list("jobs", fleet.namespace)
    assert len({job["metadata"]["labels"]["edgesmith.dev/build-key"] for job in jobs}) == len(jobs) == 2
