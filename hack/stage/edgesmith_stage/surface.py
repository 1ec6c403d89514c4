"""The surface-inspection example as a user publishes and applies it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import yaml

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


def publish(ground: Ground) -> None:
    """Upload what the example's manifest names, to where it names it."""
    spec = manifest()["spec"]
    for part, file in (("source", "model.onnx"), ("calibration", "calibration.npz"), ("evaluation", "evaluation.npz")):
        ground.bucket.put(spec[part]["uri"], FOLDER / file)


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
