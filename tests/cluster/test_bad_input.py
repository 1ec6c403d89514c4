"""Each wrong input ends in one condition with one sentence; what served before goes on; a fix is enough."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bad_input import table

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import DEVICE_LABEL
from edgesmith_stage.waiting import until

pytestmark = pytest.mark.timeout(900)


def test_wrong_inputs_are_named_while_the_old_revision_serves_and_a_fix_is_enough(fleet: Fleet) -> None:
    good = fleet.manifest("parts", fleet.publish("1"))
    fleet.apply(good)
    fleet.wait_settled("parts", 300)
    pods = fleet.pods("parts")

    for bad in table():
        fleet.patch("parts", _restoring(good["spec"], bad.change(fleet)))
        condition = fleet.wait("parts", bad.condition, reason=bad.reason, seconds=120)
        for word in bad.says:
            assert word in condition["message"], f"{bad.name}: {condition['message']!r} does not name {word!r}"
        assert "\n" not in condition["message"]
        assert len(condition["message"]) < 700, bad.name
        assert fleet.pods("parts") == pods, f"{bad.name}: serving pods were touched"

    fleet.patch("parts", _restoring(good["spec"], {}))
    fleet.wait_settled("parts", 120)
    assert fleet.pods("parts") == pods


@pytest.mark.lent
def test_a_node_of_two_profiles_is_named_and_one_of_none_stops_nothing(fleet: Fleet) -> None:
    kube = fleet.ground.kube
    twin = {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": "twin"},
        "spec": {"nodeSelector": {DEVICE_LABEL: "panel-pc"}, "platform": {"os": "linux", "architecture": "amd64"}},
    }
    kube.apply(twin)
    try:
        two = fleet.manifest("two", fleet.publish("1"), deviceProfiles={"names": ["panel-pc", "twin"]})
        none = fleet.manifest(
            "none",
            fleet.publish("1"),
            deviceProfiles={"names": ["generic-amd64"]},
            nodeSelector={"kubernetes.io/os": "linux"},
        )
        fleet.apply(two)
        fleet.apply(none)
        assert "edge-3" in fleet.wait("two", "Stalled", reason="NodeMatchesTwoProfiles")["message"]
        fleet.wait_settled("none", 300)
        assert "hub" not in fleet.servers("none")
        assert "edge-3" not in fleet.servers("two")
    finally:
        kube("delete", "deviceprofile", "twin")


@pytest.mark.lent
def test_an_image_that_cannot_be_pulled_is_rolled_back(fleet: Fleet) -> None:
    manifest = fleet.manifest("parts", fleet.publish("1"), deviceProfiles={"names": ["generic-amd64"]})
    fleet.apply(manifest)
    fleet.wait_settled("parts", 300)
    before = fleet.servers("parts")

    with fleet.without_registry("edge-1", "edge-2"):
        fleet.patch("parts", {"source": fleet.publish("2", "model-v2.onnx"), "rollout": {"progressDeadline": "10s"}})
        stalled = fleet.wait("parts", "Stalled", reason="RolledBack", seconds=240)
    assert "pull" in stalled["message"]
    until(lambda: all(s.ready for s in fleet.servers("parts").values()), seconds=60, what="the old revision to serve")
    assert {n: s.revision for n, s in fleet.servers("parts").items()} == {n: s.revision for n, s in before.items()}


@pytest.mark.parametrize("moment", ["Building", pytest.param("Canary", marks=pytest.mark.lent)])
def test_deleting_in_mid_build_and_mid_rollout_leaves_nothing(fleet: Fleet, moment: str) -> None:
    manifest = fleet.manifest("parts", fleet.publish("1"))
    manifest["spec"]["rollout"]["steps"][0]["bake"] = "10m"
    fleet.apply(manifest)
    fleet.wait("parts", "Reconciling", reason=moment, seconds=240)
    fleet.ground.kube("delete", "edgemodel", "parts", "-n", fleet.namespace)

    def gone() -> bool:
        kinds = "jobs,daemonsets,services,pods"
        left = json.loads(fleet.ground.kube("get", kinds, "-n", fleet.namespace, "-o", "json"))["items"]
        nodes: list[dict[str, Any]] = fleet.ground.kube.list("nodes", None)
        keys = [key for n in nodes for key in (*n["metadata"]["labels"], *n["metadata"].get("annotations", {}))]
        return not left and not any(key.startswith(f"{fleet.namespace}.edgesmith.dev") for key in keys)

    until(gone, seconds=120, what="every child and every label and record on a node to go")


def _restoring(good: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A merge patch that goes back to the good spec except for one change."""
    restored = {key: good.get(key) for key in ("source", "evaluation", "gates", "deviceProfiles", "nodeSelector")}
    patch = restored | change
    if "gates" in change:
        patch["gates"] = {**dict.fromkeys(good["gates"]), **change["gates"]}
    elif good.get("gates"):
        patch["gates"] = {"minAccuracy": None, "maxImageSize": None, **good["gates"]}
    patch["evaluation"] = {"sha256": None, **(patch["evaluation"] or {})}
    return patch
