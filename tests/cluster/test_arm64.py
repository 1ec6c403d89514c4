"""A variant for arm64, assembled on an amd64 hub, answers its golden samples under user-mode emulation."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from variant import bundle_layers

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.shell import ROOT, run

pytestmark = pytest.mark.timeout(600)


def test_the_arm64_variant_answers_its_golden_samples_under_emulation(fleet: Fleet, tmp_path: Path) -> None:
    fleet.apply(fleet.manifest("parts", fleet.publish("1"), deviceProfiles={"names": ["generic-arm64"]}))
    fleet.wait("parts", "BuildsReady", seconds=240)
    variant = fleet.variants("parts")["generic-arm64"]
    assert variant["precision"] == "int8"

    for data in bundle_layers(variant["image"]):
        with tarfile.open(fileobj=io.BytesIO(data)) as layer:
            layer.extractall(tmp_path, filter="data")
    root, images = tmp_path / "root", [sys.executable, str(ROOT / "hack/images")]
    run([*images, "extract", "runtime-onnxruntime", "--platform", "linux/arm64", str(root)], timeout=900)
    selftest = ["selftest", "--bundle", str(tmp_path / "model"), "--termination-log", str(tmp_path / "said")]
    done = subprocess.run(
        [*images, "emulate", "runtime-onnxruntime", str(root), "--", *selftest],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads((tmp_path / "said").read_text())
    assert findings["verdict"] == "Passed", findings
    assert findings["parity"] == 1.0
    assert findings["device"]["machine"] == "aarch64"
