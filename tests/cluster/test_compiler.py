"""A compiler that is not part of the builder, from `kubectl apply` to predictions: its image beside a build Job's pod.

Neither Google's compiler nor a Coral is here: a stand-in gives out a file that was compiled before, and the node serves
the file from before that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_input import npz
from compiler_image import push_compiler
from device_class import device_class
from edge_tpu_files import compiled_file_of, edge_tpu_options
from namespaces import keep_evidence, namespace_of
from tflite import Tensor, fully_connected

from edgesmith_runtime.engine import load_engine
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground
from edgesmith_stage.predict import predict

pytestmark = [pytest.mark.timeout(400), pytest.mark.long]

NODE, PROFILE, LABEL = "edge-3", "coral-alone", "edgesmith-test/compiler"
WEIGHTS = np.random.default_rng(8).normal(size=(16, 4)).astype(np.float32)
VECTORS = np.random.default_rng(9).integers(-16, 16, (24, 16)).astype(np.int8)
SOURCE = fully_connected(WEIGHTS, "int8")
COMPILED = compiled_file_of(
    Tensor("x", (1, 16), "int8", scale=1 / 16),
    Tensor("y", (1, 4), "int8", scale=1 / 16),
    edge_tpu_options(cached=64),
)


@pytest.fixture
def fleet(ground: Ground, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """A node of a profile whose compiler is an image, in a namespace."""
    image = push_compiler(ground.registry, SOURCE, COMPILED, tmp_path)
    ground.kube("label", "node", NODE, f"{LABEL}=yes")
    toolchain = {"name": "EdgeTPU", "compilerImage": image}
    ground.kube.apply(device_class(PROFILE, {LABEL: "yes"}, toolchain=toolchain))
    with namespace_of(ground, "compiler") as fleet:
        yield fleet
        keep_evidence(request, fleet)
        ground.kube("delete", "edgemodels", "--all", "-n", fleet.namespace)
    ground.kube("label", "node", NODE, f"{LABEL}-")
    ground.kube("delete", "deviceprofile", PROFILE)


def test_an_image_with_the_compiler_makes_the_file_and_the_node_says_that_its_device_is_missing(
    fleet: Fleet, tmp_path: Path
) -> None:
    right = _answers_of_the_source(tmp_path)
    model = fleet.manifest(
        "vectors",
        fleet.publish_bytes("vectors", SOURCE, "tflite"),
        deviceProfiles={"names": [PROFILE]},
        gates={"maxLatency": "200ms"},
        evaluation={
            "uri": fleet.publish_set("vectors", npz(x=VECTORS, labels=right.argmax(axis=1))),
            "metric": "Accuracy",
        },
        calibration=None,
        picture=None,
    )
    fleet.apply(model)

    fleet.wait_settled("vectors", 240)
    variant = fleet.variants("vectors")[PROFILE]
    assert (variant["precision"], variant["accuracy"]) == ("int8", "100.00%")
    (warning,) = variant["deviceWarnings"]
    assert NODE in warning, warning
    assert "CPU" in warning, warning
    server = fleet.servers("vectors")[NODE]
    answer = predict(
        fleet.ground.kube,
        server,
        model="vectors",
        inputs={"x": VECTORS[:3]},
        protocol="grpc",
        namespace=fleet.namespace,
        batch=1,
    )
    np.testing.assert_array_equal(answer, right[:3])


def _answers_of_the_source(folder: Path) -> Any:
    (folder / "source.tflite").write_bytes(SOURCE)
    engine = load_engine("litert", folder / "source.tflite", threads=1)
    return np.concatenate([next(iter(engine.infer({"x": vector[None]}).values())) for vector in VECTORS])
