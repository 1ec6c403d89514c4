"""The example's spoilt copies, through the builder as its README tells them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgesmith_builder.contract import REPORT_ANNOTATION, Artifact, BuildReport, Gates
from edgesmith_builder.errors import failure_of
from edgesmith_builder.gates import judge

EXAMPLE = Path(__file__).parents[2] / "examples/surface-inspection"


SETS = ("calibration", "evaluation")
GATES = Gates(max_accuracy_drop=0.01)
"""The example's."""


@pytest.fixture
def changes(world: Any) -> dict[str, Any]:
    """A build of the example's sets."""
    sets = {name: world.store.put(f"parts/{name}.npz", (EXAMPLE / f"{name}.npz").read_bytes()) for name in SETS}
    return {name: Artifact(uri=uri) for name, uri in sets.items()}


def spoilt(world: Any, way: str, folder: Path) -> Artifact:
    command = [sys.executable, str(EXAMPLE / "spoil.py"), way, str(folder / "bad.onnx")]
    subprocess.run(command, check=True, capture_output=True)
    return Artifact(uri=world.store.put(f"parts/{way}.onnx", (folder / "bad.onnx").read_bytes()))


async def test_a_model_that_int8_ruins_is_served_in_fp32(world: Any, changes: dict[str, Any], tmp_path: Path) -> None:
    built = await world.build(world.request(source=spoilt(world, "outlier", tmp_path), **changes))
    manifest = await world.manifest(built)
    report = BuildReport.model_validate_json(manifest.annotations[REPORT_ANNOTATION])
    found = judge(report, GATES)
    assert [(one.precision, report.of(one).accuracy_drop) for one in found.finalists] == [("fp32", 0.0)]
    assert "maxAccuracyDrop" in found.refused["int8"]


async def test_a_weight_that_is_no_number_is_named(world: Any, changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Exception, match="NaN") as caught:
        await world.build(world.request(source=spoilt(world, "nan", tmp_path), **changes))
    assert failure_of(caught.value).reason == "ModelHasNaN"
    assert ".weight" in failure_of(caught.value).message
