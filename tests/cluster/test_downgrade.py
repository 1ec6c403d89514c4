"""An operator that is older than the CRDs and the EdgeModels: `helm rollback` leaves both as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edgesmith.api.names import MODEL_LABEL
from edgesmith_stage.errors import StageError
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.install import NAMESPACE
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

_ROLLOUT = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/rollout/properties"


@pytest.mark.lent
def test_what_an_older_operator_cannot_read_stays_as_it_is_and_all_else_goes_on(fleet: Fleet) -> None:
    for name, profile in (("parts", "generic-amd64"), ("other", "panel-pc")):
        fleet.apply(fleet.manifest(name, fleet.publish("1"), deviceProfiles={"names": [profile]}))
        fleet.wait_settled(name, 300)
    pods, servers, other = fleet.pods("parts"), fleet.servers("parts"), fleet.servers("other")["edge-3"]

    with _crd_of_a_newer_release(fleet):
        with _without_operator(fleet):
            source = fleet.publish("2", "model-v2.onnx")
            _patch_as_newer(fleet, "parts", {"source": source, "rollout": {"strategy": "Handover"}})
            _patch_as_newer(fleet, "other", {"source": source, "rollout": {"pace": 3}})
        said = fleet.wait("parts", "Stalled", reason="Unreadable")
        assert 'spec.rollout.strategy is "Handover"; expected: ' in said["message"], said
        model = fleet.wait_settled("other")
        assert fleet.servers("other")["edge-3"].revision != other.revision
        assert model["spec"]["rollout"]["pace"] == 3

        fleet.off("edge-1")
        fleet.on("edge-1")
        until(
            lambda: _started_anew(fleet),
            seconds=120,
            what="edge-1 to serve again",
            detail=lambda: json.dumps(fleet.model("parts")["status"]),
        )
        assert fleet.pods("parts") == pods
        assert {node: one.revision for node, one in fleet.servers("parts").items()} == {
            node: one.revision for node, one in servers.items()
        }

        fleet.patch("parts", {"rollout": {"strategy": "Surge"}})
        fleet.wait_settled("parts")
        after = {one.revision for one in fleet.servers("parts").values()}
        assert after.isdisjoint(one.revision for one in servers.values())


def _started_anew(fleet: Fleet) -> bool:
    """Whether the server on edge-1 is ready after its container was started anew."""
    pods = fleet.ground.kube.list(
        "pods", fleet.namespace, {MODEL_LABEL: "parts", "app.kubernetes.io/component": "server"}
    )
    there = [pod for pod in pods if pod["spec"].get("nodeName") == "edge-1"]
    statuses = [one for pod in there for one in pod["status"].get("containerStatuses", [])]
    return any(one["ready"] and one["restartCount"] > 0 for one in statuses)


@contextmanager
def _crd_of_a_newer_release(fleet: Fleet) -> Iterator[None]:
    """While the block runs, the CRD knows a strategy and a field that this operator does not know."""
    path = f"{_ROLLOUT}/strategy/enum/-"
    known = len(_rollout_schema(fleet)["strategy"]["enum"])
    more: list[dict[str, Any]] = [
        {"op": "add", "path": path, "value": "Handover"},
        {"op": "add", "path": f"{_ROLLOUT}/pace", "value": {"type": "integer"}},
    ]
    _patch_crd(fleet, more)
    try:
        yield
    finally:
        gone = [f"{_ROLLOUT}/strategy/enum/{known}", f"{_ROLLOUT}/pace"]
        _patch_crd(fleet, [{"op": "remove", "path": one} for one in gone])


def _rollout_schema(fleet: Fleet) -> Any:
    crd = json.loads(fleet.ground.kube("get", "crd", "edgemodels.edgesmith.dev", "-o", "json"))
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema["properties"]["spec"]["properties"]["rollout"]["properties"]


def _patch_crd(fleet: Fleet, operations: list[dict[str, Any]]) -> None:
    fleet.ground.kube("patch", "crd", "edgemodels.edgesmith.dev", "--type=json", "-p", json.dumps(operations))


@contextmanager
def _without_operator(fleet: Fleet) -> Iterator[None]:
    """No operator runs while the block does; afterwards one that knows nothing of what was there before."""
    kube = fleet.ground.kube
    kube("scale", "deployment/edgesmith", "-n", NAMESPACE, "--replicas=0")
    try:
        pods = ("pod", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=operator")
        kube("wait", "--for=delete", *pods, "--timeout=60s")
        yield
    finally:
        kube("scale", "deployment/edgesmith", "-n", NAMESPACE, "--replicas=1")


def _patch_as_newer(fleet: Fleet, name: str, spec: dict[str, Any]) -> None:
    """Patch what only the newer CRD knows; until the API server knows that CRD too, it drops or refuses it."""

    def patched() -> bool:
        try:
            fleet.patch(name, spec)
        except StageError:
            return False
        rollout = fleet.model(name)["spec"]["rollout"]
        return all(rollout.get(field) == value for field, value in spec["rollout"].items())

    until(patched, seconds=60, what=f"{name} to be patched")
