"""A trial on a real device: what it measures decides, also where the operator dies or a candidate does."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from device_class import device_class
from faults import OperatorKilled, SelfTestKilled, kill_operator

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import kubeconfig_environment
from edgesmith_stage.shell import run
from edgesmith_stage.waiting import until

pytestmark = pytest.mark.timeout(600)

NAME = "tried"
PROFILE = "tried-pc"
LABEL = "edgesmith-test/tried"
NODE = "edge-4"


def test_what_a_device_measures_decides(fleet: Fleet) -> None:
    kube = fleet.ground.kube
    toolchain = {"name": "ONNXRuntime", "precisions": ["fp32", "int8"]}
    kube.apply(device_class(PROFILE, {LABEL: "yes"}, toolchain=toolchain))
    kube("label", "node", NODE, f"{LABEL}=yes")
    try:
        _decides(fleet)
        _a_candidate_that_dies_is_taken_out(fleet)
    finally:
        kube("delete", "edgemodel", NAME, "-n", fleet.namespace)
        kube("label", "node", NODE, f"{LABEL}-")
        kube("delete", "deviceprofile", PROFILE)


def _decides(fleet: Fleet) -> None:
    """The second of the ladder wins by size; judged anew by latency, its own measurements say who does."""
    optimize = {"objective": "Size"}
    fleet.apply(fleet.manifest(NAME, fleet.publish("1"), deviceProfiles={"names": [PROFILE]}, optimize=optimize))
    fleet.wait(NAME, "Reconciling", reason="Trial", seconds=90)
    assert fleet.servers(NAME) == {}, "nothing serves before it is known what"
    with OperatorKilled(fleet, chance=0.5, most=2) as killed:
        until(lambda: killed.kills, seconds=30, what="the operator to be killed")
        fleet.wait_settled(NAME)
    first, second = _trial(fleet)["finalists"]
    assert (first["precision"], second["precision"]) == ("fp32", "int8")
    assert _trial(fleet)["winner"] == "int8"
    assert fleet.servers(NAME)[NODE].image == second["image"]
    assert fleet.variants(NAME)[PROFILE]["precision"] == "int8"
    assert all(float(one["latency"].removesuffix("ms")) > 0 and one["memory"] > 0 for one in (first, second))
    until(lambda: not _trial_pods(fleet), seconds=30, what="the trial's pod to be swept")

    words = run([sys.executable, "-m", "edgesmith.cli", "report", NAME, "-n", fleet.namespace], env=_environment(fleet))
    assert NODE in words
    assert first["latency"] in words
    assert "It was chosen by size." in words

    begun = _trial(fleet)["startedTime"]
    assert kill_operator(fleet)
    fleet.patch(NAME, {"optimize": {"objective": "Latency"}})
    fleet.wait_settled(NAME)
    measured = {one["precision"]: float(one["latency"].removesuffix("ms")) for one in _trial(fleet)["finalists"]}
    assert measured[_trial(fleet)["winner"]] <= 1.1 * min(measured.values())
    assert _trial(fleet)["startedTime"] == begun, "nothing was tried again"


def _a_candidate_that_dies_is_taken_out(fleet: Fleet) -> None:
    with SelfTestKilled(fleet, NODE, "fp32") as killed:
        fleet.patch(NAME, {"source": fleet.publish("2", "model-v2.onnx")})
        until(lambda: killed.kills, seconds=90, what="the self-test of fp32 to be killed")
        fleet.wait_settled(NAME)
    assert killed.kills == 1
    first, second = _trial(fleet)["finalists"]
    assert (first["reason"], second["reason"]) == ("Died", "Passed")
    assert "exit code 137" in first["verdict"]
    assert fleet.servers(NAME)[NODE].image == second["image"]


def _trial(fleet: Fleet) -> dict[str, Any]:
    """That of the present build."""
    key = fleet.variants(NAME)[PROFILE]["buildKey"]
    return next(one for one in fleet.model(NAME)["status"]["trials"] if one["buildKey"] == key)


def _trial_pods(fleet: Fleet) -> list[str]:
    pods = fleet.ground.kube.list("pods", fleet.namespace, {"app.kubernetes.io/component": "trial"})
    return [pod["metadata"]["name"] for pod in pods]


def _environment(fleet: Fleet) -> dict[str, str]:
    return kubeconfig_environment(fleet.ground)
