"""A trial on a device that the server holds: real kubelets give it to one pod at a time, and one at a time has it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from device_class import device_class
from device_plugin import FRESH, RESOURCE, DevicePlugin, Holders
from faults import Watched

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.waiting import until

pytestmark = pytest.mark.timeout(600)

NAME, PROFILE = "lends", "lends-its-device"
LABEL, NODE = "edgesmith-test/lends", "edge-3"
FINALISTS = ["fp32", "int8"]


def test_the_server_ends_once_all_is_pulled_and_the_winner_takes_its_place(fleet: Fleet) -> None:
    kube = fleet.ground.kube
    profile = device_class(PROFILE, {LABEL: "yes"}, toolchain={"name": "ONNXRuntime", "precisions": FINALISTS})
    profile["spec"]["runtime"]["resources"]["limits"][RESOURCE] = 1
    kube.apply(profile)
    kube("label", "node", NODE, f"{LABEL}=yes")
    try:
        with DevicePlugin(fleet.ground.name, NODE, FRESH):
            names = {"deviceProfiles": {"names": [PROFILE]}, "optimize": {"objective": "Size"}}
            fleet.apply(fleet.manifest(NAME, fleet.publish("1"), **names))
            fleet.wait_settled(NAME, 300)
            assert _trial(fleet)["winner"] == "int8"
            _gives_it_up_and_gets_it_back(fleet)
    finally:
        kube("delete", "edgemodel", NAME, "-n", fleet.namespace)
        kube("label", "node", NODE, f"{LABEL}-")
        kube("delete", "deviceprofile", PROFILE)


def _gives_it_up_and_gets_it_back(fleet: Fleet) -> None:
    before = fleet.servers(NAME)[NODE]
    with Holders() as held, Watched(lambda: _state(fleet), every=0.2) as watched:
        fleet.patch(NAME, {"source": fleet.publish("2", "model-v2.onnx")})
        until(
            lambda: (server := fleet.servers(NAME).get(NODE)) and server.image != before.image and server.ready,
            seconds=240,
            what="the winner to serve",
            detail=lambda: json.dumps(fleet.model(NAME).get("status")),
        )
        model = fleet.wait_settled(NAME)
    trial = _trial(fleet)
    assert (trial["node"], trial["winner"], trial.get("lent"), trial.get("lost")) == (NODE, "int8", None, None)
    assert [one["reason"] for one in trial["finalists"]] == ["Passed", "Passed"]
    assert fleet.servers(NAME)[NODE].image == next(
        one["image"] for one in trial["finalists"] if one["precision"] == "int8"
    )
    assert model["status"]["variants"][0].get("warnings", []) == []
    assert held.shared == [], "two pods never had the device at once"
    assert len(held.seen[f"{NODE}/{FRESH}"]) >= 3, "the server, the trial, the winner"
    seen = [json.loads(one) for one in watched.seen]
    assert any(one["message"].startswith(f"Node {NODE} pulls fp32 and int8") for one in seen)
    trying = [one for one in seen if one["message"].startswith(f"Node {NODE} tries fp32 and int8")]
    assert trying
    assert all(one["pulled"] for one in trying), "its server went on until all was there"
    assert any(one["pending"] == "Trial" for one in seen)
    until(lambda: not _trial_pods(fleet), seconds=60, what="the trial's pods to be swept")


def _state(fleet: Fleet) -> str:
    """Where the newest trial stands, and whether a pod has pulled everything."""
    while True:  # both of one moment: the status was the same before and after the pods were read
        status = fleet.model(NAME)["status"]
        said = _with_pods(fleet, status)
        if fleet.model(NAME)["status"].get("trials") == status.get("trials"):
            return said


def _with_pods(fleet: Fleet, status: dict[str, Any]) -> str:
    pods = [
        [one["state"].get("terminated", {}).get("exitCode") for one in pod["status"].get("initContainerStatuses", [])]
        for pod in _trial_pods(fleet)
        if pod["spec"]["containers"][0]["name"] == "waiting"
    ]
    return json.dumps(
        {
            "message": next((one["message"] for one in status.get("trials", ()) if not one.get("completedTime")), ""),
            "pulled": [0] * len(FINALISTS) in pods,
            "pending": next((one["reason"] for one in status.get("pending", ()) if one["name"] == NODE), ""),
        }
    )


def _trial(fleet: Fleet) -> Any:
    """That of the present build."""
    status = fleet.model(NAME)["status"]
    key = status["variants"][0]["buildKey"]
    return next(one for one in status["trials"] if one["buildKey"] == key)


def _trial_pods(fleet: Fleet) -> list[dict[str, Any]]:
    return fleet.ground.kube.list("pods", fleet.namespace, {"app.kubernetes.io/component": "trial"})
