"""A class of hardware for each toolchain, and EdgeModels for them that are applied at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import yaml
from bad_input import npz
from mobilenets import mobilenet_spec
from namespaces import namespace_of
from tflite import fully_connected

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground
from edgesmith_stage.shell import ROOT

LABEL = "edgesmith-test/box"
NODES = {"onnxruntime": "edge-2", "edgetpu": "edge-3", "litert": "edge-4", "openvino": "edge-5"}
"""The node of each class; no node is of the class `qnn`, for no such board is here."""
TOOLCHAINS: dict[str, dict[str, Any]] = {
    "onnxruntime": {"name": "ONNXRuntime", "precisions": ["int8", "fp32"]},
    "edgetpu": {"name": "EdgeTPU"},
    "litert": {"name": "LiteRT"},
    "openvino": {"name": "OpenVINO"},
    "qnn": {"name": "QNN", "precisions": ["int8"], "options": {"soc": "QCS6490"}},
}

WEIGHTS = np.random.default_rng(5).normal(size=(16, 4)).astype(np.float32)
VECTORS = np.random.default_rng(6).integers(-16, 16, (24, 16)).astype(np.int8)
SIMULATED = 24
"""Samples for Qualcomm's simulator, which takes a hundred times the processor's time."""


def box(name: str) -> str:
    """The DeviceProfile of a class."""
    return f"{name}-box"


@contextmanager
def boxes_of(ground: Ground, board_base: str) -> Iterator[Fleet]:
    """The nodes of the classes with their labels, in a namespace.

    Args:
        ground: The cluster.
        board_base: A runtime base image for arm64, by digest, for the board that is not here.
    """
    for name, node in NODES.items():
        ground.kube("label", "node", node, f"{LABEL}={name}")
    ground.kube.apply(*(_profile(name, board_base if name == "qnn" else None) for name in TOOLCHAINS))
    with namespace_of(ground, "ways") as fleet:
        yield fleet
        ground.kube("delete", "edgemodels", "--all", "-n", fleet.namespace)
    ground.kube("label", "nodes", *NODES.values(), f"{LABEL}-")
    ground.kube("delete", "deviceprofile", *map(box, TOOLCHAINS))


def apply_all(fleet: Fleet) -> None:
    """Apply every EdgeModel, the slowest to build first."""
    _pump(fleet)
    _hexagon(fleet)
    _apply(fleet, "pruned", "onnxruntime", source=fleet.publish("1"), optimize={"pruning": {"ratio": "30%"}})
    _mobilenets(fleet)
    _apply(fleet, "parts", "openvino", source=fleet.publish("1"))
    _vectors(fleet)


def _pump(fleet: Fleet) -> None:
    """The example as it is published, but that its gate lets all four models into the trial."""
    folder = ROOT / "examples/predictive-maintenance"
    manifest: dict[str, Any] = yaml.safe_load((folder / "edgemodels.yaml").read_text())
    spec = manifest["spec"]
    parts = [spec["source"], spec["calibration"], spec["evaluation"]]
    for part in (*parts, *(one["source"] for one in spec["optimize"]["alternatives"])):
        fleet.ground.bucket.put(part["uri"], folder / part["uri"].rsplit("/", 1)[1])
    spec["gates"]["maxAccuracyDrop"] = "8%"
    spec["deviceProfiles"] = {"names": [box("onnxruntime")]}
    spec["rollout"] = {"steps": [{"nodes": 1, "bake": "2s"}], "maxUnavailable": 1}
    fleet.apply(manifest)


def _hexagon(fleet: Fleet) -> None:
    folder = ROOT / "examples/digits"
    with np.load(folder / "evaluation.npz") as found:
        evaluation = npz(**{name: found[name][:SIMULATED] for name in found.files})
    _apply(
        fleet,
        "digits",
        "qnn",
        source=fleet.publish_bytes("digits", (folder / "model.onnx").read_bytes()),
        calibration=_set(fleet, "digits-calibration", (folder / "calibration.npz").read_bytes()),
        evaluation={**_set(fleet, "digits", evaluation), "metric": "Accuracy"},
        picture=None,
        gates={"maxAccuracyDrop": "50%"},
    )


def _mobilenets(fleet: Fleet) -> None:
    """MobileNetV2 as its publisher quantised it, on a processor, and compiled for an Edge TPU that is not there."""
    _apply(fleet, "mobilenet", "litert", **mobilenet_spec(fleet, compiled=False))
    _apply(fleet, "coral", "edgetpu", **mobilenet_spec(fleet, compiled=True))


def _vectors(fleet: Fleet) -> None:
    """A product with a matrix: in int8 by LiteRT, and in float by OpenVINO."""
    for dtype, engine in (("int8", "litert"), ("float32", "openvino")):
        _apply(
            fleet,
            f"vectors-{engine}",
            engine,
            source=fleet.publish_bytes(f"vectors-{dtype}", fully_connected(WEIGHTS, dtype), "tflite"),
            calibration=None,
            evaluation=None,
            picture=None,
            gates={"maxLatency": "200ms"},
        )


def _apply(fleet: Fleet, name: str, engine: str, *, source: Any, **spec: Any) -> None:
    """Apply an EdgeModel for a class; what is None is left out."""
    fleet.apply(fleet.manifest(name, source, deviceProfiles={"names": [box(engine)]}, **spec))


def _set(fleet: Fleet, name: str, content: bytes) -> dict[str, str]:
    return {"uri": fleet.publish_set(name, content), "sha256": hashlib.sha256(content).hexdigest()}


def _profile(name: str, base: str | None) -> dict[str, Any]:
    resources = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
    platform = (
        {"os": "linux", "architecture": "amd64"}
        if base is None
        else {"os": "linux", "architecture": "arm64", "variant": "v8"}
    )
    return {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": box(name)},
        "spec": {
            "nodeSelector": {LABEL: name},
            "platform": platform,
            "toolchain": TOOLCHAINS[name],
            "runtime": {"resources": resources, **({"baseImage": base} if base else {})},
        },
    }
