"""A trial on a real device: what it measures decides, also where the operator dies or a candidate does."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from device_class import device_class
from faults import OperatorKilled, SelfTestKilled, Signalled, kill_operator, runs_self_test_on

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import kubeconfig_environment
from edgesmith_stage.shell import run
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

NAME = "tried"
PROFILE = "tried-pc"
LABEL = "edgesmith-test/tried"
NODE, OTHER = "edge-4", "edge-5"


def test_what_a_device_measures_decides(fleet: Fleet) -> None:
    with _devices(fleet, {"name": "ONNXRuntime", "precisions": ["fp32", "int8"]}, NODE):
        _decides(fleet)
        _a_candidate_that_dies_is_taken_out(fleet)


@pytest.mark.lent
def test_a_node_that_goes_offline_in_mid_trial_gives_way_to_another(fleet: Fleet) -> None:
    with _devices(fleet, {"name": "ONNXRuntime"}, NODE, OTHER):
        optimize, rollout = {"objective": "Size"}, {"steps": [{"nodes": 1, "bake": "2s"}], "progressDeadline": "1m"}
        spec = {"deviceProfiles": {"names": [PROFILE]}, "optimize": optimize, "rollout": rollout}
        with Signalled(runs_self_test_on(fleet, NODE), signal.SIGSTOP) as stopped:
            fleet.apply(fleet.manifest(NAME, fleet.publish("1"), **spec))
            until(lambda: stopped.found, seconds=120, what="the first self-test of the trial to begin")
            fleet.cut(NODE)
            until(lambda: NODE in fleet.not_ready(), seconds=60, what=f"{NODE} to be NotReady")
        until(
            lambda: _trials(fleet) and _trials(fleet)[0].get("lost"),
            seconds=180,
            what=f"{NODE} to be given up",
            detail=lambda: json.dumps(fleet.model(NAME).get("status")),
        )
        # A machine that is busy with other tests may need more: what the other node finds is to count.
        fleet.patch(NAME, {"rollout": {"progressDeadline": "5m"}})
        until(
            lambda: (server := fleet.servers(NAME).get(OTHER)) and server.ready,
            seconds=120,
            what=f"the winner to serve on {OTHER}",
            detail=lambda: json.dumps(fleet.model(NAME).get("status")),
        )
        trial = _trial(fleet)
        assert (trial["node"], trial["lost"], trial["winner"]) == (OTHER, [NODE], "int8")
        assert {one["reason"] for one in trial["finalists"]} == {"Passed"}
        assert NODE not in fleet.servers(NAME)

        fleet.heal(NODE)
        until(
            lambda: {node for node, server in fleet.servers(NAME).items() if server.ready} == {NODE, OTHER},
            seconds=120,
            what=f"{NODE} to serve as well",
            detail=lambda: json.dumps(fleet.model(NAME).get("status")),
        )
        fleet.wait_settled(NAME)
        assert {server.image for server in fleet.servers(NAME).values()} == {trial["finalists"][0]["image"]}
        assert _trial(fleet) == trial, "nothing was tried again"
        until(lambda: not _trial_pods(fleet), seconds=60, what="both trials' pods to be swept")


@contextmanager
def _devices(fleet: Fleet, toolchain: dict[str, Any], *nodes: str) -> Iterator[None]:
    """Nodes of a class of their own."""
    kube = fleet.ground.kube
    kube.apply(device_class(PROFILE, {LABEL: "yes"}, toolchain=toolchain))
    kube("label", "nodes", *nodes, f"{LABEL}=yes")
    try:
        yield
    finally:
        kube("delete", "edgemodel", NAME, "-n", fleet.namespace)
        kube("label", "nodes", *nodes, f"{LABEL}-")
        kube("delete", "deviceprofile", PROFILE)


def _decides(fleet: Fleet) -> None:
    """The second of the ladder wins by size; judged anew by latency, its own measurements say who does."""
    optimize = {"objective": "Size"}
    fleet.apply(fleet.manifest(NAME, fleet.publish("1"), deviceProfiles={"names": [PROFILE]}, optimize=optimize))
    fleet.wait(NAME, "Reconciling", reason="Trial", seconds=240)
    assert fleet.servers(NAME) == {}, "nothing serves before it is known what"
    with OperatorKilled(fleet, chance=0.5, most=2) as killed:
        until(lambda: killed.kills, seconds=60, what="the operator to be killed")
        fleet.wait_settled(NAME)
    first, second = _trial(fleet)["finalists"]
    assert (first["precision"], second["precision"]) == ("fp32", "int8")
    assert _trial(fleet)["winner"] == "int8"
    assert fleet.servers(NAME)[NODE].image == second["image"]
    assert fleet.variants(NAME)[PROFILE]["precision"] == "int8"
    assert all(float(one["latency"].removesuffix("ms")) > 0 and one["memory"] > 0 for one in (first, second))
    until(lambda: not _trial_pods(fleet), seconds=60, what="the trial's pod to be swept")

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
    return next(one for one in _trials(fleet) if one["buildKey"] == key)


def _trials(fleet: Fleet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fleet.model(NAME).get("status", {}).get("trials", [])
    return found


def _trial_pods(fleet: Fleet) -> list[str]:
    pods = fleet.ground.kube.list("pods", fleet.namespace, {"app.kubernetes.io/component": "trial"})
    return [pod["metadata"]["name"] for pod in pods]


def _environment(fleet: Fleet) -> dict[str, str]:
    return kubeconfig_environment(fleet.ground)
