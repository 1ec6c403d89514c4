"""Drift comes home through real kubelets: no request is lost for it, and it is known after a node was without power."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.kube import Object
from edgesmith_stage.load import Load
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.lent]

NAME = "drifting-parts"
FEEDBACK: dict[str, Any] = {"privacy": "Statistics", "drift": {"cycle": "0s"}}
GONE = "edge-2"


def test_what_nodes_say_of_drift_comes_home_and_outlasts_their_power(fleet: Fleet, tmp_path: Path) -> None:
    fleet.apply(fleet.manifest(NAME, fleet.publish("1"), feedback=FEEDBACK))
    fleet.wait_settled(NAME, 300)
    nodes, pods = sorted(fleet.servers(NAME)), fleet.pods(NAME)
    assert set(nodes) == set(surface.EDGES)

    with Load(fleet, NAME, nodes, tmp_path / "load", strange()) as load:
        said = fleet.wait(NAME, "Drifted", reason="NodesDrifted", seconds=180)
        _all_drifted(fleet, nodes)
    for node, answers in load.answers().items():
        assert not answers.lost, f"{node} lost {answers.lost[:3]}"
    assert fleet.pods(NAME) == pods, "no server was touched for it"
    assert any(node in said["message"] for node in nodes)
    for report in _reporters(fleet).values():
        container = report["status"]["containerStatuses"][0]
        ended = container["state"].get("terminated") or container["lastState"]["terminated"]
        assert ended["exitCode"] == 0
        assert json.loads(ended["message"])["state"] == "Drifted"
        assert report["spec"]["automountServiceAccountToken"] is False

    fleet.off(GONE)
    until(lambda: GONE in fleet.not_ready(), seconds=60, what=f"{GONE} to be NotReady")
    until(lambda: _drift(fleet)["drifted"] == len(nodes) - 1, seconds=60, what=f"{GONE} not to be counted")
    fleet.on(GONE)
    _all_drifted(fleet, nodes)


def strange() -> str:
    """A request for two pictures as no camera takes them."""
    shape = surface.samples(1)[0]["image"].shape
    pictures = np.random.default_rng(3).uniform(-4, 4, (2, *shape[1:])).astype(np.float32)
    tensor = {"name": "image", "shape": list(pictures.shape), "datatype": "FP32", "data": pictures.ravel().tolist()}
    return json.dumps({"inputs": [tensor]})


def _all_drifted(fleet: Fleet, nodes: list[str]) -> None:
    def found() -> bool:
        drift = _drift(fleet)
        return bool(drift["drifted"] == len(nodes) and sorted(one["name"] for one in drift["nodes"]) == nodes)

    until(found, seconds=120, what="every node to say it", detail=lambda: str(fleet.model(NAME).get("status")))


def _drift(fleet: Fleet) -> Object:
    drift: Object = {"drifted": 0, "nodes": [], **fleet.model(NAME)["status"].get("drift", {})}
    return drift


def _reporters(fleet: Fleet) -> dict[str, Object]:
    """The pods that report, by node."""
    chosen = {"edgesmith.dev/model": NAME, "app.kubernetes.io/component": "reporter"}
    return {pod["spec"]["nodeName"]: pod for pod in fleet.ground.kube.list("pods", fleet.namespace, chosen)}
