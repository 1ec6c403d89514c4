"""Apply, build, canary, roll out, predict; then a new model that travels as one layer."""

from __future__ import annotations

from typing import Any, get_args

import httpx
import numpy as np
import pytest
from variant import model_of

from edgesmith_runtime.picture.golden import png_bytes
from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.predict import PORTS, Protocol, Server, predict
from edgesmith_stage.pulls import Pulls
from edgesmith_stage.waiting import until

pytestmark = pytest.mark.timeout(600)

NAME = "travelling-parts"


def test_from_apply_to_predictions_and_to_the_next_model(fleet: Fleet) -> None:
    manifest = fleet.manifest(NAME, fleet.publish("1"))
    # In the bundle, so that these are bytes of their own: no node may hold their layers from another test.
    manifest["spec"]["picture"]["classification"]["topK"] = 2
    fleet.apply(manifest)
    fleet.wait_settled(NAME, 300)

    variants = fleet.variants(NAME)
    assert {profile: variant["precision"] for profile, variant in variants.items()} == {
        "generic-amd64": "int8",
        "panel-pc": "fp32",
    }
    assert all(float(variant["accuracyDrop"].rstrip("%")) <= 1 for variant in variants.values())
    assert fleet.model(NAME)["status"]["nodes"] == {
        "desired": 3,
        "updated": 3,
        "ready": 3,
        "notReady": 0,
        "tainted": 0,
        "deviceMissing": 0,
        "diskFull": 0,
        "failed": 0,
    }
    _every_node_answers_as_its_build(fleet, NAME)

    pulls = Pulls(fleet.ground)
    before = {server.image for server in fleet.servers(NAME).values()}
    fleet.patch(NAME, {"source": fleet.publish("2", "model-v2.onnx")})
    each = until(
        lambda: _each(fleet, before), seconds=300, what="the status to say how many bytes each node pulls", every=0.1
    )
    fleet.wait_settled(NAME, 300)
    pulled = pulls.bytes_by_node()
    for node, server in fleet.servers(NAME).items():
        assert node in pulled, f"{node} pulled nothing of {server.image}, by the registry's log: {pulled}"
        layer = next(v["size"] for v in fleet.variants(NAME).values() if v["image"] == server.image)
        assert pulled[node] <= 1.02 * layer + MANIFESTS, f"{node} pulled {pulled[node]} bytes for a layer of {layer}"
        told = each.get(server.image)
        if told is not None:
            assert told <= pulled[node] <= told + MANIFESTS, f"{node} pulled {pulled[node]} bytes, and {told} were told"
    _every_node_answers_as_its_build(fleet, NAME)


def _each(fleet: Fleet, before: set[str]) -> dict[str, int]:
    """Image to the bytes that its status says each node pulls, once one of the new ones does."""
    found = [one for one in fleet.variants(NAME).values() if "transfer" in one and one["image"] not in before]
    return {one["image"]: one["transfer"]["each"] for one in found}


MANIFESTS = 16 * 1024
"""A manifest and an image config: what any image costs before its first layer."""


def _every_node_answers_as_its_build(fleet: Fleet, name: str) -> None:
    """Each node's answers, over both protocols, are those of the model in its image and of the source's classes."""
    inputs, _ = surface.samples(32)
    servers = fleet.servers(name)
    assert set(servers) == set(surface.EDGES)
    for server in servers.values():
        built = model_of(server.image)
        expected: np.ndarray[Any, Any] = built.run(None, inputs)[0]
        for protocol in get_args(Protocol):
            answer = predict(
                fleet.ground.kube, server, model=name, inputs=inputs, protocol=protocol, namespace=fleet.namespace
            )
            np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-4)
        _takes_a_picture(fleet, server, name, inputs["image"][0], expected[0])


def _takes_a_picture(fleet: Fleet, server: Server, name: str, sample: np.ndarray[Any, Any], right: Any) -> None:
    """A node's server answers a picture of a sample as the model answers the sample."""
    picture = png_bytes(np.rint(np.moveaxis(sample, 0, -1)).astype(np.uint8))
    with fleet.ground.kube.forward(server.pod, PORTS["http"], fleet.namespace) as port:
        answer = httpx.post(f"http://127.0.0.1:{port}/v2/models/{name}/image", content=picture, timeout=30)
    assert answer.status_code == 200, answer.text
    best = answer.json()["labels"][0]
    assert best["label"] == surface.labels()[int(right.argmax())]
    assert best["score"] == pytest.approx(float(right.max()), abs=0.05)
