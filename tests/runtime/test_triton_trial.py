"""A finalist that a trial tests with Triton: the pod's own words, a real tritonserver, and what is read of it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from snapshots import SETTINGS, model, profile
from tritons import VERSION, folder_with_tritonserver

from edgesmith.api.trial_status import FinalistStatus
from edgesmith.cluster import parse_trial
from edgesmith.decide.criteria import milliseconds
from edgesmith.decide.plan import StartTrial
from edgesmith.decide.snapshot import Ended
from edgesmith.decide.trial_records import measured
from edgesmith.decide.verdicts import Bounds, judge_trial
from edgesmith.resources import trial_pod
from edgesmith_runtime.bundle import Bundle
from edgesmith_runtime.golden import Golden
from tests.runtime.test_triton_server import again

pytestmark = pytest.mark.timeout(300)

IMAGES = {name: f"registry:5000/m@sha256:{digit * 64}" for name, digit in (("int8", "1"), ("fp32", "2"))}


@pytest.fixture(autouse=True)
def with_tritonserver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{folder_with_tritonserver()}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def tried(bundle: Path, precision: str) -> Ended:
    """How a container of a trial's pod ends over a bundle, as the operator reads it of the pod."""
    device = profile(toolchain={"name": "TensorRT"}, runtime={"server": "Triton", "baseImage": IMAGES["fp32"]})
    of = model(serving={"maxBatch": 3}, gates={"maxLatency": "0.001ms"})
    pod = trial_pod(of, StartTrial(device, "t", "e1", IMAGES), SETTINGS)
    (container,) = [
        one for one in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]) if one["name"] == precision
    ]
    log = Path(os.environ["TMPDIR"]) / "termination-log"
    words = [*container["args"], "--bundle", str(bundle), "--termination-log", str(log)]
    command = [sys.executable, "-m", "edgesmith_runtime.triton", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert log.exists(), done.stderr
    state = {"terminated": {"exitCode": done.returncode, "message": log.read_text()}}
    seen = parse_trial.trial_pod({
        "metadata": {"name": "p", "labels": {"edgesmith.dev/trial": "t"}},
        "spec": {"nodeName": "e1"},
        "status": {"phase": "Pending", "initContainerStatuses": [{"name": precision, "state": state}]},
    })  # fmt: skip
    assert done.returncode == 0, "another status would end the pod before the other finalists had their turn"
    return seen.ended[precision]


def finalist(precision: str, ended: Ended) -> FinalistStatus:
    return measured(FinalistStatus(precision=precision, image=IMAGES[precision], size=1), ended)


def test_what_triton_measured_of_each_finalist_comes_home_and_is_judged(toy: Bundle, tmp_path: Path) -> None:
    golden = Golden.read(*toy.golden_paths)
    answers = golden.outputs["relu"]
    other = {**golden.outputs, "relu": dataclasses.replace(answers, values=answers.values + np.float32(9))}
    wrong = again(toy, tmp_path / "model", golden=Golden(golden.inputs, other))
    ended = tried(toy.folder, "fp32")
    assert ended.finding is not None
    assert ended.finding.device["server"] == f"tritonserver {VERSION}"
    assert "batches of 3" in ended.finding.message

    good, bad = finalist("fp32", ended), finalist("int8", tried(wrong.folder, "int8"))
    assert good.reason == "Passed", "the gate of the EdgeModel is judged on the hub, not on the device"
    assert good.latency
    assert good.median
    assert 0 < milliseconds(good.median) <= milliseconds(good.latency)
    assert (good.memory or 0) > 40 * 2**20
    assert (bad.reason, bad.latency) == ("GoldenMismatch", None)

    found = judge_trial([bad, good], "Latency", Bounds())
    assert found.winner == "fp32"
    assert found.said["int8"] == f"{bad.message}".rstrip(".") + "."
    slow = judge_trial([bad, good], "Latency", Bounds(latency_ms=0.001))
    assert slow.winner is None
    assert slow.said["fp32"] == f"Its p95 latency is {good.latency}; gates.maxLatency allows 0.001ms."
