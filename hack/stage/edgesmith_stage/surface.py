"""The surface-inspection example as a user publishes and applies it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import yaml

from edgesmith_stage.errors import StageError
from edgesmith_stage.ground import Ground
from edgesmith_stage.shell import ROOT

FOLDER = ROOT / "examples/surface-inspection"
NAME = "surface-inspection"
SECRET = "model-store"  # noqa: S105 - the Secret's name, not its content
DEVICES = ("generic-amd64", "generic-amd64", "panel-pc")
"""The device classes of the three edge nodes: two, so that one EdgeModel becomes two builds."""
EDGES = tuple(f"edge-{number}" for number, _ in enumerate(DEVICES, 1))
"""Those nodes' names; a test's cluster may have more."""


def manifest() -> dict[str, Any]:
    """The EdgeModel of the example."""
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "edgemodel.yaml").read_text())
    return loaded


def objects(ground: Ground) -> list[dict[str, Any]]:
    """What is applied: the Secret with the bucket's keys, the example's DeviceProfiles and its EdgeModel."""
    profiles = yaml.safe_load_all((FOLDER / "profiles.yaml").read_text())
    return [ground.bucket.secret(SECRET), *profiles, manifest()]


def publish(ground: Ground) -> None:
    """Upload what the example's manifest names, to where it names it."""
    for uri, file in _published():
        ground.bucket.put(uri, file)


def check_bucket(ground: Ground) -> None:
    """See that nothing else lies in the bucket where the example is published to.

    Raises:
        StageError: Something does.
    """
    for uri, file in _published():
        found = ground.bucket.sha256(uri)
        if found not in {None, hashlib.sha256(file.read_bytes()).hexdigest()}:
            raise StageError(f"{uri} is in the bucket already and is not the example's, which leaves it alone")


def _published() -> list[tuple[str, Path]]:
    spec = manifest()["spec"]
    files = {"source": "model.onnx", "calibration": "calibration.npz", "evaluation": "evaluation.npz"}
    return [(spec[part]["uri"], FOLDER / file) for part, file in files.items()]


def labels() -> list[str]:
    """What the model's classes are called, in order."""
    return (FOLDER / "labels.txt").read_text().split()


def samples(count: int) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.int64]]:
    """The first `count` evaluation samples by input name, and their labels."""
    with np.load(FOLDER / "evaluation.npz", allow_pickle=False) as data:
        return {name: data[name][:count] for name in data.files if name != "labels"}, data["labels"][:count]


def reference(inputs: dict[str, npt.NDArray[Any]], file: str = "model.onnx") -> npt.NDArray[Any]:
    """What the trained model itself answers: ONNX Runtime on the source as it was published."""
    session = onnxruntime.InferenceSession(FOLDER / file, providers=["CPUExecutionProvider"])
    first: npt.NDArray[Any] = session.run(None, inputs)[0]
    return first
