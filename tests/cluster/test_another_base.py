"""A base image that changes: what was compiled before is taken over, and a node serves it over the new one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from device_class import device_class
from layered_image import push_again
from variant import bundle_layers, model_of

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground
from edgesmith_stage.predict import Server, predict
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

NAME = "patched"
PROFILE = "patched-box"
LABEL = {"edgesmith.dev/test-patched": "true"}
NODE = "edge-1"


@pytest.fixture
def box(ground: Ground) -> Iterator[None]:
    """A class of hardware with one node, whose base image is the chart's."""
    toolchain = {"name": "ONNXRuntime", "precisions": ["fp32"]}
    ground.kube("label", "nodes", NODE, *(f"{name}={value}" for name, value in LABEL.items()))
    ground.kube.apply(device_class(PROFILE, LABEL, toolchain=toolchain))
    yield
    ground.kube("label", "nodes", NODE, *(f"{name}-" for name in LABEL))
    ground.kube("delete", "deviceprofile", PROFILE, "--wait=false")


@pytest.mark.usefixtures("box")
def test_what_was_compiled_is_served_over_another_base(fleet: Fleet, images: dict[str, str]) -> None:
    """Nothing is signed here, so the operator vouches for the image that its Job made."""
    fleet.apply(fleet.manifest(NAME, fleet.publish("1"), deviceProfiles={"names": [PROFILE]}))
    fleet.wait_settled(NAME, 240)
    first = fleet.servers(NAME)[NODE]
    assert "rebasedFrom" not in fleet.variants(NAME)[PROFILE]

    base = push_again(images["runtime-onnxruntime"], "patched-runtime")
    changed = json.dumps({"spec": {"runtime": {"baseImage": base}}})
    fleet.ground.kube("patch", "deviceprofile", PROFILE, "--type=merge", "-p", changed)
    second = until(
        lambda: _other(fleet, first), seconds=240, what="a server over the other base", detail=lambda: _said(fleet)
    )
    fleet.wait_settled(NAME, 120)

    assert fleet.variants(NAME)[PROFILE]["rebasedFrom"] == first.image.partition("@")[2]
    assert bundle_layers(second.image) == bundle_layers(first.image)
    inputs, _ = surface.samples(32)
    answer = predict(fleet.ground.kube, second, model=NAME, inputs=inputs, protocol="http", namespace=fleet.namespace)
    np.testing.assert_allclose(answer, model_of(first.image).run(None, inputs)[0], rtol=1e-3, atol=1e-4)


def _other(fleet: Fleet, first: Server) -> Server | None:
    """The node's server, once it is ready and of another image."""
    server = fleet.servers(NAME).get(NODE)
    return server if server and server.ready and server.image != first.image else None


def _said(fleet: Fleet) -> str:
    return json.dumps(fleet.model(NAME)["status"])
