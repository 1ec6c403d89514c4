"""A revision that passes every test and fails at what it is really asked: its canary is judged by its requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from picky import bright, picky

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.load import Load
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(600), pytest.mark.lent, pytest.mark.long]

NAME = "asked-parts"
PROFILE = "whole-precision"
CLASS = {"edgesmith.dev/device": "generic-amd64"}
BAKE = "2m"
"""Long enough for a canary to be asked `minRequests` times."""
ENOUGH = 320
"""Answers of a server before the next one is held against it, and a few more."""


def test_a_canary_that_refuses_what_its_predecessor_answered_is_rolled_back(fleet: Fleet, tmp_path: Path) -> None:
    """Its self-test passes, its golden samples agree, and its requests are 400: only the old server knows better."""
    fleet.ground.kube.apply(_profile())
    asked = {"deviceProfiles": {"names": [PROFILE]}, "nodeSelector": CLASS, "gates": {}}
    fleet.apply(fleet.manifest(NAME, fleet.publish("1"), **asked))
    fleet.wait_settled(NAME, 300)
    before, pods = fleet.servers(NAME), fleet.pods(NAME)
    assert len(before) == 2

    with Load(fleet, NAME, sorted(before), tmp_path / "load", bright()) as load:
        until(
            lambda: all(one.asked - len(one.lost) >= ENOUGH for one in load.answers().values()),
            seconds=90,
            what="the old servers to have been asked enough",
            detail=lambda: str({node: one.lost[:1] for node, one in load.answers().items()}),
        )
        bake = {"steps": [{"nodes": 1, "bake": BAKE}], "maxUnavailable": 1}
        fleet.patch(NAME, {"source": fleet.publish_bytes("2", picky()), "rollout": bake})
        stalled = fleet.wait(NAME, "Stalled", reason="RolledBack", seconds=240)
        until(lambda: _serve_again(fleet, before), seconds=60, what="the old revision to serve everywhere again")

    message = stalled["message"]
    assert "ErrorRateExceeded" in message, message
    assert "were refused by the model" in message, message
    assert "the previous revision on this node failed 0 of " in message, message
    left = set(pods.items()) & set(fleet.pods(NAME).items())
    assert len(left) >= 1, "no other node is touched"
    (mark,) = [one for one in fleet.model(NAME)["status"]["revisions"] if one.get("rolledBack")]
    assert mark["reason"] == "CanaryFailed", json.dumps(mark)


def _profile() -> dict[str, Any]:
    """Eight bits would cut off what is brighter than the calibration set."""
    return {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": PROFILE},
        "spec": {
            "nodeSelector": CLASS,
            "platform": {"os": "linux", "architecture": "amd64"},
            "toolchain": {"name": "ONNXRuntime", "precisions": ["fp32"]},
        },
    }


def _serve_again(fleet: Fleet, before: dict[str, Any]) -> bool:
    now = fleet.servers(NAME)
    return {node: one.revision for node, one in now.items()} == {
        node: one.revision for node, one in before.items()
    } and all(one.ready for one in now.values())
