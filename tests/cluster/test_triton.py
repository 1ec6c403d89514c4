"""A class of hardware whose server is Triton: the same way from apply to predictions, and back."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any, get_args
from urllib.request import urlopen

import numpy as np
import pytest
import tritonclient.http
from device_class import device_class
from namespaces import keep_evidence, namespace_of
from variant import bundle_layers, model_of

from edgesmith_runtime.bundle import DEFAULT_NAME
from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground
from edgesmith_stage.install import push_images
from edgesmith_stage.predict import Protocol, Server, predict
from edgesmith_stage.waiting import until

pytestmark = pytest.mark.timeout(900)

NAME = "triton-parts"
LABEL = "edgesmith-test/triton"
BOX, GPU = "triton-box", "triton-gpu"
NODES = ("edge-1", "edge-2")
BOTH = {"steps": [{"nodes": 2, "bake": "2s"}], "maxUnavailable": 2}
"""Both nodes at once: a Triton takes ten seconds to pull and to start, and the order of nodes is not what is tested."""


@pytest.fixture
def boxes(ground: Ground, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Two nodes of a class whose server is Triton, and one that is to have a GPU and has none."""
    image = push_images(ground, "triton")["triton"]
    ground.kube("label", "nodes", *NODES, f"{LABEL}={BOX}")
    ground.kube("label", "nodes", "edge-3", f"{LABEL}={GPU}")
    for name, toolchain in ((BOX, "ONNXRuntime"), (GPU, "TensorRT")):
        triton = {"server": "Triton", "baseImage": image}
        ground.kube.apply(device_class(name, {LABEL: name}, toolchain={"name": toolchain}, memory=768, **triton))
    with namespace_of(ground, "triton") as fleet:
        yield fleet
        keep_evidence(request, fleet)
        ground.kube("delete", "edgemodels", "--all", "-n", fleet.namespace)
    ground.kube("label", "nodes", *NODES, "edge-3", f"{LABEL}-")
    ground.kube("delete", "deviceprofile", BOX, GPU)


def test_triton_serves_rolls_out_rolls_back_and_drains(boxes: Fleet) -> None:
    boxes.apply(boxes.manifest(NAME, boxes.publish("1"), deviceProfiles={"names": [BOX]}, rollout=BOTH))
    boxes.apply(boxes.manifest("on-a-gpu", boxes.publish("1"), deviceProfiles={"names": [GPU]}))
    boxes.wait_settled(NAME, 300)
    assert boxes.variants(NAME)[BOX]["precision"] == "int8"
    before = _answering(boxes)
    _is_triton(boxes, before["edge-1"])
    _holds_a_repository(before["edge-1"].image)

    # TensorRT compiles on the device, and where there is no GPU it must not quietly be the processor that answers.
    refused = boxes.wait("on-a-gpu", "Stalled", reason="NoRevisionLeft", seconds=120)
    assert "no GPUs are available" in refused["message"]

    boxes.patch(NAME, {"source": boxes.publish("2", "model-v2.onnx")})
    boxes.wait_settled(NAME, 240)
    good = _answering(boxes)
    assert {server.image for server in good.values()}.isdisjoint({server.image for server in before.values()})

    boxes.patch(NAME, {"gates": {"maxMemory": "20Mi"}})
    stalled = boxes.wait(NAME, "Stalled", reason="RolledBack", seconds=180)
    assert "expected at most 20971520" in stalled["message"]
    until(
        lambda: {one.revision for one in boxes.servers(NAME).values() if one.ready} == {good["edge-1"].revision},
        seconds=60,
        what="the revision before to serve on both nodes",
    )
    _answering(boxes)
    _drains(boxes, boxes.servers(NAME)["edge-2"])


def _holds_a_repository(image: str) -> None:
    """A plain tritonserver could serve the image's `/models`."""
    with tarfile.open(fileobj=io.BytesIO(bundle_layers(image)[-1])) as tar:
        names = tar.getnames()
        assert tar.getmember(f"models/{DEFAULT_NAME}/1").linkname == "/model"
    assert {"model/model.onnx", f"models/{DEFAULT_NAME}/config.pbtxt", f"models/{DEFAULT_NAME}/labels.txt"} <= set(
        names
    )


def _answering(fleet: Fleet) -> dict[str, Server]:
    """The servers of both nodes, whose answers are those of the models in their images."""
    inputs, _ = surface.samples(32)
    servers = fleet.servers(NAME)
    assert set(servers) == set(NODES)
    for server in servers.values():
        expected: np.ndarray[Any, Any] = model_of(server.image).run(None, inputs)[0]
        for protocol in get_args(Protocol):
            answer = predict(
                fleet.ground.kube, server, model=NAME, inputs=inputs, protocol=protocol, namespace=fleet.namespace
            )
            np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-4)
    return servers


def _is_triton(fleet: Fleet, server: Server) -> None:
    kube = fleet.ground.kube
    with kube.forward(server.pod, 8000, fleet.namespace) as port:
        client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{port}")
        assert client.get_server_metadata()["name"] == "triton"
        assert client.is_model_ready(NAME)
        assert client.get_model_config(NAME)["backend"] == "onnxruntime"
        client.close()
    with kube.forward(server.pod, 8002, fleet.namespace) as port, urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        text = page.read().decode()
    assert f'nv_inference_request_success{{model="{NAME}",version="1"}}' in text
    pod = kube.get("pod", server.pod, fleet.namespace) or {}
    (tested,) = pod["status"]["initContainerStatuses"]
    said = json.loads(tested["state"]["terminated"]["message"])
    assert (said["reason"], said["device"]["server"].split()[0]) == ("Passed", "tritonserver")


def _drains(fleet: Fleet, server: Server) -> None:
    """A pod that is to end answers a while longer, and ends by itself and well."""
    kube = fleet.ground.kube
    inputs, _ = surface.samples(1)
    with kube.forward(server.pod, 8000, fleet.namespace) as port:
        client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{port}")
        kube("delete", "pod", server.pod, "-n", fleet.namespace, "--wait=false")
        assert "deletionTimestamp" in (kube.get("pod", server.pod, fleet.namespace) or {})["metadata"]
        tensor = tritonclient.http.InferInput("image", [1, 1, 64, 64], "FP32")
        tensor.set_data_from_numpy(inputs["image"])
        assert client.infer(NAME, [tensor]).as_numpy("probabilities").shape == (1, 4)
        client.close()
    until(lambda: kube.get("pod", server.pod, fleet.namespace) is None, seconds=60, what=f"pod {server.pod} to end")
    told = [
        one["reason"] for one in kube.list("events", fleet.namespace) if one["involvedObject"]["name"] == server.pod
    ]
    assert "FailedPreStopHook" not in told
