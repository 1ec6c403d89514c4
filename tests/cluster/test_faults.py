"""Links that go, models that are bad, an operator that is killed: the same end."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.waiting import until

pytestmark = pytest.mark.timeout(600)


def test_a_node_cut_off_in_mid_rollout_is_caught_up(fleet: Fleet) -> None:
    fleet.apply(fleet.manifest("parts", fleet.publish("1")))
    fleet.wait_settled("parts", 300)
    before = fleet.servers("parts")

    fleet.patch("parts", {"source": fleet.publish("2", "model-v2.onnx")})
    fleet.cut("edge-2")
    until(lambda: "edge-2" in fleet.offline(), seconds=60, what="edge-2 to be seen offline")
    model = fleet.wait_settled("parts", 300)

    assert model["status"]["nodes"]["notReady"] == 1
    assert "1 offline" in next(c["message"] for c in model["status"]["conditions"] if c["type"] == "Ready")
    after = fleet.servers("parts")
    assert after["edge-1"].revision != before["edge-1"].revision
    assert after["edge-3"].revision != before["edge-3"].revision

    fleet.heal("edge-2")
    until(
        lambda: fleet.model("parts")["status"]["nodes"]["updated"] == 3 and fleet.wait_settled("parts"),
        seconds=120,
        what="edge-2 to be caught up",
    )
    assert fleet.servers("parts")["edge-2"].revision == after["edge-1"].revision


def test_a_bad_model_is_taken_back_on_the_canary_and_nobody_else_is_touched(fleet: Fleet) -> None:
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
    assert len(untouched) == 1, "only the canary's pod was replaced"

    fleet.patch("parts", {"gates": {"maxLatency": None}})
    fleet.wait_settled("parts", 240)
    assert {s.revision for s in fleet.servers("parts").values()}.isdisjoint(s.revision for s in before.values())


def test_an_operator_killed_at_random_comes_to_the_same_end(fleet: Fleet) -> None:
    fleet.apply(fleet.manifest("parts", fleet.publish("1")))
    dice = random.Random(7)  # noqa: S311 - moments, not secrets
    kills = 0

    def settled_or_kill() -> bool:
        nonlocal kills
        ready = fleet.condition("parts", "Ready")
        if ready and ready["status"] == "True" and not fleet.condition("parts", "Reconciling"):
            return True
        # The kubelet doubles its pause after each crash: three kills are a minute and a half of waiting already.
        if kills < 3 and dice.random() < 0.25:
            kills += _kill_operator(fleet)
        return False

    until(settled_or_kill, seconds=400, what="the EdgeModel to settle under fire", every=0.5)
    assert kills >= 2
    assert {node: s.ready for node, s in fleet.servers("parts").items()} == dict.fromkeys(fleet.ground.edges, True)
    jobs = fleet.ground.kube.list("jobs", fleet.namespace)
    assert len({job["metadata"]["labels"]["edgesmith.dev/build-key"] for job in jobs}) == len(jobs) == 2


def _kill_operator(fleet: Fleet) -> int:
    """SIGKILL the operator's process inside this test cluster's hub; the number of processes killed."""
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            mine = f"/{fleet.ground.name}" in (process / "cgroup").read_text()
        except OSError:
            continue
        if mine and b"edgesmith.controller" in command:
            os.kill(int(process.name), signal.SIGKILL)
            killed += 1
    return killed
