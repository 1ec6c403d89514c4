"""The examples' EdgeModels name the files that lie beside them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("name", ["digits", "surface-inspection"])
def test_digests_and_sizes_are_those_of_the_files(name: str) -> None:
    model = EdgeModel.model_validate(yaml.safe_load((EXAMPLES / name / "edgemodel.yaml").read_text()))
    for part in (model.spec.source, model.spec.calibration, model.spec.evaluation):
        assert part is not None
        file = EXAMPLES / name / part.uri.rsplit("/", 1)[1]
        assert part.sha256 == hashlib.sha256(file.read_bytes()).hexdigest(), f"{file.name} of {name}"
    assert model.spec.source.bytes == (EXAMPLES / name / "model.onnx").stat().st_size


def test_the_second_device_class_is_a_device_profile() -> None:
    manifest = yaml.safe_load((EXAMPLES / "surface-inspection/profiles.yaml").read_text())
    assert DeviceProfile.model_validate(manifest).spec.toolchain.precisions == ("fp32",)
