"""A class of hardware for each toolchain, and EdgeModels for them that are applied at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import yaml
from artifacts import TITLE, pushed
from bad_input import npz
from device_class import device_class
from mobilenets import mobilenet_spec
from namespaces import namespace_of
from outliers import PATTERNS, pictures, taught
from sequences import recurrent, series
from tflite import fully_connected
from web_server import WebServer

from edgesmith_builder.oci.content import LAYER
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground
from edgesmith_stage.shell import ROOT

LABEL = "edgesmith-test/box"
NODES = {
    "ladder": "edge-1",
    "qnn": "edge-1",
    "onnxruntime": "edge-2",
    "edgetpu": "edge-3",
    "litert": "edge-4",
    "openvino": "edge-5",
}
"""The node of each class."""
TOOLCHAINS: dict[str, dict[str, Any]] = {
    "ladder": {"name": "ONNXRuntime"},  # all that it can make, best first
    "onnxruntime": {"name": "ONNXRuntime", "precisions": ["int8", "fp32"]},
    "edgetpu": {"name": "EdgeTPU"},
    "litert": {"name": "LiteRT"},
    "openvino": {"name": "OpenVINO"},
    "qnn": {"name": "QNN", "precisions": ["int8"], "options": {"soc": "QCS6490"}},
}

THREE = ("qnn", "onnxruntime", "openvino")
"""The classes that one EdgeModel is for, each with a toolchain of its own."""
WEIGHTS = np.random.default_rng(5).normal(size=(16, 4)).astype(np.float32)
VECTORS = np.random.default_rng(6).integers(-16, 16, (24, 16)).astype(np.int8)
DIGITS = ROOT / "examples/digits"
SIMULATED = 24
"""Samples for Qualcomm's simulator, which stands in for a board and takes a hundred times the processor's time."""


STEPS = 20
"""Of each series."""

Arrays = dict[str, Any]


@cache
def loud() -> bytes:
    """A network with one channel that is much louder than the others."""
    content: bytes = taught(10000).SerializeToString()
    return content


@cache
def recurrence() -> bytes:
    """An LSTM that tells series apart."""
    content: bytes = recurrent("LSTM", 96).taught(*series(300, STEPS, 1)).SerializeToString()
    return content


def box(name: str) -> str:
    """The DeviceProfile of a class."""
    return f"{name}-box"


@contextmanager
def boxes_of(ground: Ground) -> Iterator[Fleet]:
    """The nodes of the classes with their labels, in a namespace."""
    for name, node in NODES.items():
        ground.kube("label", "node", node, f"{LABEL}-{name}=yes")
    memories = {"qnn": 1024}  # the simulator's own
    classes = (
        device_class(box(name), {f"{LABEL}-{name}": "yes"}, toolchain=toolchain, memory=memories.get(name, 512))
        for name, toolchain in TOOLCHAINS.items()
    )
    ground.kube.apply(*classes)
    with namespace_of(ground, "ways") as fleet:
        yield fleet
        ground.kube("delete", "edgemodels", "--all", "-n", fleet.namespace)
    for name, node in NODES.items():
        ground.kube("label", "node", node, f"{LABEL}-{name}-")
    ground.kube("delete", "deviceprofile", *map(box, TOOLCHAINS))


def apply_all(fleet: Fleet, web: WebServer) -> None:
    """Apply every EdgeModel, the slowest to build first."""
    _pump(fleet)
    _apply(fleet, "digits", *THREE, **digits_spec(fleet))
    _apply(fleet, "pruned", "onnxruntime", source=fleet.publish("1"), optimize={"pruning": {"ratio": "30%"}})
    _mobilenets(fleet)
    _apply(fleet, "parts", "openvino", source=fleet.publish("1"))
    _vectors(fleet)
    _loud(fleet)
    _series(fleet, web)
    _tickets(fleet)


def _pump(fleet: Fleet) -> None:
    """The example as it is published, but that its gates let all four into the trial, however busy this machine is."""
    manifest = _example(fleet, "predictive-maintenance/edgemodels.yaml", "onnxruntime")
    manifest["spec"]["gates"] |= {"maxAccuracyDrop": "8%", "maxLatency": "200ms"}
    fleet.apply(manifest)


def _tickets(fleet: Fleet) -> None:
    """The example as it is published, but that its device does not choose, and may be as busy as this machine is."""
    manifest = _example(fleet, "language/edgemodel.yaml", "ladder")
    manifest["spec"] |= {"optimize": {"trial": "Never"}}
    manifest["spec"]["gates"]["maxLatency"] = "200ms"
    fleet.apply(manifest)


def _example(fleet: Fleet, file: str, engine: str) -> dict[str, Any]:
    """What an example has people apply, for a class; its files are where it says that they are."""
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "examples" / file).read_text())
    spec = manifest["spec"]
    parts = [spec["source"], spec["calibration"], spec["evaluation"]]
    for part in (*parts, *(one["source"] for one in spec.get("optimize", {}).get("alternatives", ()))):
        fleet.ground.bucket.put(part["uri"], (ROOT / "examples" / file).with_name(part["uri"].rsplit("/", 1)[1]))
    spec["deviceProfiles"] = {"names": [box(engine)]}
    spec["rollout"] = {"steps": [{"nodes": 1, "bake": "2s"}], "maxUnavailable": 1}
    return manifest


def _loud(fleet: Fleet) -> None:
    """A network that plain int8 spoils, so that it misses its gate."""
    evaluation = {**pictures(200), "labels": np.arange(200) % len(PATTERNS)}
    # As an artifact of the registry that images are pushed to, as `oras push` makes one.
    artifact = pushed(fleet.ground.registry, (loud(), LAYER, {TITLE: "model.onnx"}))
    source = fleet.publish_bytes("loud", loud()) | {"uri": f"oci://{artifact}:1"}
    _apply_ladder(fleet, "loud", source, pictures(40), evaluation)


def _series(fleet: Fleet, web: WebServer) -> None:
    """A recurrence, of which a calibration set makes no int8, on a web server; its sets are in the bucket."""
    (given, _), (asked, labels) = series(40, STEPS, 2), series(200, STEPS, 3)
    _apply_ladder(fleet, "series", web.publish(fleet, "series", recurrence()), given, {**asked, "labels": labels})


def _apply_ladder(fleet: Fleet, name: str, source: Arrays, calibration: Arrays, evaluation: Arrays) -> None:
    _apply(
        fleet,
        name,
        "ladder",
        source=source,
        calibration=_set(fleet, f"{name}-calibration", npz(**calibration)),
        evaluation={**_set(fleet, name, npz(**evaluation)), "metric": "Accuracy"},
        picture=None,
        gates={"maxAccuracyDrop": "3%"},
    )


def digits_spec(fleet: Fleet) -> dict[str, Any]:
    """An EdgeModel's of an example that a Hexagon is simulated for, published."""
    with np.load(DIGITS / "evaluation.npz") as found:
        evaluation = npz(**{name: found[name][:SIMULATED] for name in found.files})
    return {
        "source": fleet.publish_bytes("digits", (DIGITS / "model.onnx").read_bytes()),
        "calibration": _set(fleet, "digits-calibration", (DIGITS / "calibration.npz").read_bytes()),
        "evaluation": {**_set(fleet, "digits", evaluation), "metric": "Accuracy"},
        "picture": None,
        "gates": {"maxAccuracyDrop": "50%"},
    }


def _mobilenets(fleet: Fleet) -> None:
    """MobileNetV2 as its publisher quantised it, on a processor, and compiled for an Edge TPU that is not there."""
    _apply(fleet, "mobilenet", "litert", **mobilenet_spec(fleet, compiled=False))
    _apply(fleet, "coral", "edgetpu", **mobilenet_spec(fleet, compiled=True))


def _vectors(fleet: Fleet) -> None:
    """A product with a matrix: in int8 by LiteRT, and in float by LiteRT and by OpenVINO."""
    for dtype, engines in (("int8", ("litert",)), ("float32", ("litert", "openvino"))):
        _apply(
            fleet,
            f"vectors-{dtype}",
            *engines,
            source=fleet.publish_bytes(f"vectors-{dtype}", fully_connected(WEIGHTS, dtype), "tflite"),
            calibration=None,
            evaluation=None,
            picture=None,
            gates={"maxLatency": "200ms"},
        )


def _apply(fleet: Fleet, name: str, *engines: str, source: Any, **spec: Any) -> None:
    """Apply an EdgeModel for some classes; what is None is left out."""
    fleet.apply(fleet.manifest(name, source, deviceProfiles={"names": [box(engine) for engine in engines]}, **spec))


def _set(fleet: Fleet, name: str, content: bytes) -> dict[str, str]:
    return {"uri": fleet.publish_set(name, content), "sha256": hashlib.sha256(content).hexdigest()}
