"""Engines besides ONNX Runtime, from `kubectl apply` to predictions: TFLite in LiteRT, and ONNX in OpenVINO."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from bad_input import npz
from namespaces import keep_evidence, namespace_of
from published import grace_hopper, imagenet, mobilenet
from tflite import fully_connected

from edgesmith_runtime.engine import load_engine
from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground
from edgesmith_stage.predict import Protocol, predict

pytestmark = pytest.mark.timeout(600)

LABEL = "edgesmith-test/engine"
NODES = {"litert": "edge-4", "openvino": "edge-5"}
TOOLCHAINS = {"litert": "LiteRT", "openvino": "OpenVINO"}
Arrays = dict[str, Any]

WEIGHTS = np.random.default_rng(5).normal(size=(16, 4)).astype(np.float32)
VECTORS = np.random.default_rng(6).integers(-16, 16, (24, 16)).astype(np.int8)


@pytest.fixture(scope="module")
def boxes(ground: Ground) -> Iterator[Fleet]:
    """A node for each engine, in a namespace."""
    for engine, node in NODES.items():
        ground.kube("label", "node", node, f"{LABEL}={engine}")
    ground.kube.apply(*map(_profile, NODES))
    with namespace_of(ground, "engines") as fleet:
        yield fleet
        ground.kube("delete", "edgemodels", "--all", "-n", fleet.namespace)
    ground.kube("label", "nodes", *NODES.values(), f"{LABEL}-")
    ground.kube("delete", "deviceprofile", *map(_box, NODES))


@pytest.fixture
def fleet(boxes: Fleet, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """What a test works in; logs are kept where it fails."""
    yield boxes
    keep_evidence(request, boxes)


def test_a_tflite_file_goes_the_whole_way(fleet: Fleet, tmp_path: Path) -> None:
    content = fully_connected(WEIGHTS, "int8")
    source = _source(tmp_path / "model.tflite", content)
    right = np.concatenate([source({"x": vector[None]}) for vector in VECTORS])
    _apply(
        fleet,
        "vectors",
        "litert",
        source=fleet.publish_bytes("vectors", content, "tflite"),
        calibration=None,
        evaluation=_evaluation(fleet, "vectors", x=VECTORS, labels=right.argmax(axis=1)),
        gates={"maxLatency": "200ms"},
    )

    assert _served(fleet, "vectors", "litert") == {"precision": "int8", "accuracy": "100.00%"}
    for vector, expected in zip(VECTORS[:3], right, strict=False):
        for answer in _answers(fleet, "vectors", "litert", {"x": vector[None]}):
            np.testing.assert_array_equal(answer, expected[None])


def test_a_published_tflite_file_knows_grace_hopper(fleet: Fleet) -> None:
    image, classes = grace_hopper(), imagenet()
    (uniform,) = (number for number, name in classes.items() if name == "military uniform")
    right = _source(mobilenet())({"input": image})
    _apply(
        fleet,
        "mobilenet",
        "litert",
        source=fleet.publish_bytes("mobilenet", mobilenet().read_bytes(), "tflite"),
        calibration=None,
        evaluation=_evaluation(fleet, "mobilenet", input=image, labels=np.array([uniform])),
        gates={"minAccuracy": "100%"},
    )

    assert _served(fleet, "mobilenet", "litert") == {"precision": "int8", "accuracy": "100.00%"}
    for answer in _answers(fleet, "mobilenet", "litert", {"input": image}):
        assert classes[int(answer.argmax())] == "military uniform"
        np.testing.assert_array_equal(answer, right)


def test_an_onnx_file_goes_the_whole_way_to_openvino(fleet: Fleet) -> None:
    _apply(fleet, "parts", "openvino", source=fleet.publish("1"))
    inputs, _ = surface.samples(32)
    right = surface.reference(inputs)

    assert _served(fleet, "parts", "openvino")["precision"] == "int8"
    for answer in _answers(fleet, "parts", "openvino", inputs):
        assert np.abs(answer - right).mean() < 0.02
        assert (answer.argmax(axis=1) == right.argmax(axis=1)).mean() > 0.9


def _apply(fleet: Fleet, name: str, engine: str, *, source: Any, **spec: Any) -> None:
    """Apply an EdgeModel for an engine's node; what is None is left out."""
    manifest = fleet.manifest(name, source, deviceProfiles={"names": [_box(engine)]}, **spec)
    manifest["spec"] = {field: value for field, value in manifest["spec"].items() if value is not None}
    fleet.apply(manifest)


def _evaluation(fleet: Fleet, name: str, **arrays: Any) -> dict[str, str]:
    return {"uri": fleet.publish_set(name, npz(**arrays)), "metric": "Accuracy"}


def _source(path: Path, content: bytes | None = None) -> Callable[[Mapping[str, Any]], Any]:
    """What a TFLite file itself answers."""
    if content is not None:
        path.write_bytes(content)
    engine = load_engine("litert", path, threads=1)
    return lambda inputs: next(iter(engine.infer(inputs).values()))


def _served(fleet: Fleet, name: str, engine: str) -> dict[str, str]:
    """The variant once its server answers, whose self-test says which engine it ran in."""
    fleet.wait_settled(name, 240)
    (server,) = fleet.servers(name).values()
    assert server.node == NODES[engine]
    pod = fleet.ground.kube.get("pod", server.pod, fleet.namespace) or {}
    (tested,) = pod["status"]["initContainerStatuses"]
    said = json.loads(tested["state"]["terminated"]["message"])
    assert (said["verdict"], said["parity"]) == ("Passed", 1.0)
    assert said["device"]["engine"].split()[0] == engine
    variant = fleet.variants(name)[_box(engine)]
    return {field: variant[field] for field in ("precision", "accuracy")}


def _answers(fleet: Fleet, name: str, engine: str, inputs: Arrays) -> Iterator[Any]:
    """What the engine's node answers, over each protocol."""
    server = fleet.servers(name)[NODES[engine]]
    for protocol in get_args(Protocol):
        yield predict(
            fleet.ground.kube, server, model=name, inputs=inputs, protocol=protocol, namespace=fleet.namespace
        )


def _box(engine: str) -> str:
    return f"{engine}-box"


def _profile(engine: str) -> dict[str, Any]:
    resources = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
    return {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": _box(engine)},
        "spec": {
            "nodeSelector": {LABEL: engine},
            "platform": {"os": "linux", "architecture": "amd64"},
            "toolchain": {"name": TOOLCHAINS[engine]},
            "runtime": {"resources": resources},
        },
    }
