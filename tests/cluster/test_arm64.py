"""A variant for arm64, assembled on an amd64 hub, answers its golden samples under user-mode emulation."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import TOYS
from variant import bundle_layers

from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden
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
    findings = emulated("onnxruntime", tmp_path)

    assert findings["verdict"] == "Passed", findings
    assert findings["parity"] == 1.0
    assert findings["device"]["machine"] == "aarch64"


@pytest.mark.long
@pytest.mark.parametrize("engine", ["openvino", "litert"])
def test_the_other_engines_answer_under_emulation(engine: str, tmp_path: Path) -> None:
    model = TOYS[engine](tmp_path)
    loaded = load_engine(engine, model, threads=1)
    samples = {"x": np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)}
    write_bundle(
        tmp_path / "model",
        engine=engine,
        precision="fp32",
        model_file=model,
        others=[path for path in (model.with_suffix(".bin"),) if path.exists()],
        inputs=loaded.inputs,
        outputs=loaded.outputs,
        labels=None,
        golden=Golden.of(samples, loaded.infer(samples), 0.05),
    )

    findings = emulated(engine, tmp_path)

    assert findings["verdict"] == "Passed", findings
    assert findings["device"]["engine"].startswith(f"{engine} ")
    assert findings["device"]["machine"] == "aarch64"


def emulated(engine: str, folder: Path) -> dict[str, Any]:
    """What the arm64 image with an engine finds of the bundle in ``folder/model``."""
    root, images = folder / "root", [sys.executable, str(ROOT / "hack/images")]
    run([*images, "extract", f"runtime-{engine}", "--platform", "linux/arm64", str(root)], timeout=900)
    selftest = ["selftest", "--bundle", str(folder / "model"), "--termination-log", str(folder / "said")]
    done = subprocess.run(
        [*images, "emulate", f"runtime-{engine}", str(root), "--", *selftest],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "said").read_text())
    return found
