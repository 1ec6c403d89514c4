"""A class of hardware whose server is Triton: the same way from apply to predictions, and back."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any, get_args
from urllib.request import urlopen

import numpy as np
import pytest
import tritonclient.http
from device_class import device_class
from faults import ServerKilled, Watched
from gpu_stand_in import VOLUMES, StandIn
from namespaces import keep_evidence, namespace_of
from variant import bundle_layers, model_of

from edgesmith_runtime.bundle import DEFAULT_NAME
from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground, kubeconfig_environment
from edgesmith_stage.install import push_images
from edgesmith_stage.predict import Protocol, Server, predict
from edgesmith_stage.shell import run
from edgesmith_stage.waiting import until

pytestmark = pytest.mark.timeout(900)

NAME = "triton-parts"
LABEL = "edgesmith-test/triton"
BOX, GPU = "triton-box", "triton-gpu"
NODES = ("edge-1", "edge-2")
STAND_IN = "triton-stand-in"
"""Nodes whose processor stands for a GPU."""
UPDATED = "edge-4"
"""The one of them, whose TensorRT becomes another."""
CHANGE = "TensorRT was 10.3.0 and is 10.7.0"
BOTH = {"steps": [{"nodes": 2, "bake": "2s"}], "maxUnavailable": 2}
"""Both nodes at once, where their order is not what is tested: a Triton takes ten seconds to pull and to start."""
CANARY = {"steps": [{"nodes": 1, "bake": "15s"}], "maxUnavailable": 2}


@pytest.fixture(scope="module")
def stand_in(ground: Ground) -> StandIn:
    """The files of the node that is to have a GPU."""
    return StandIn(ground.name, UPDATED, "10.3.0")


@pytest.fixture(scope="module")
def shared(ground: Ground, stand_in: StandIn) -> Iterator[Fleet]:
    """Nodes of three classes whose server is Triton, and an EdgeModel for each, applied at once."""
    image = push_images(ground, "triton")["triton"]
    nodes = {BOX: NODES, GPU: ("edge-3",), STAND_IN: (stand_in.node,)}
    with namespace_of(ground, "triton") as fleet:
        for name, named in nodes.items():
            toolchain = {"name": "ONNXRuntime"} if name == BOX else {"name": "TensorRT", "precisions": ["fp32"]}
            triton = {"server": "Triton", "baseImage": image, "volumes": VOLUMES if name == STAND_IN else []}
            ground.kube("label", "nodes", *named, f"{LABEL}={name}")
            ground.kube.apply(device_class(name, {LABEL: name}, toolchain=toolchain, memory=768, **triton))
        for name, profile in ((NAME, BOX), ("on-a-gpu", GPU), ("recompiled", STAND_IN)):
            fleet.apply(fleet.manifest(name, fleet.publish("1"), deviceProfiles={"names": [profile]}, rollout=BOTH))
        yield fleet
        ground.kube("delete", "edgemodels", "--all", "-n", fleet.namespace)
    ground.kube("label", "nodes", *(node for several in nodes.values() for node in several), f"{LABEL}-")
    ground.kube("delete", "deviceprofile", *nodes)


@pytest.fixture
def boxes(shared: Fleet, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """What a test works in; logs are kept where it fails."""
    yield shared
    keep_evidence(request, shared)


def test_triton_serves_rolls_out_rolls_back_and_drains(boxes: Fleet) -> None:
    boxes.wait_settled(NAME, 300)
    assert boxes.variants(NAME)[BOX]["precision"] == "int8"
    before = _answering(boxes)
    _is_triton(boxes, before["edge-1"])
    _holds_a_repository(before["edge-1"].image)

    # TensorRT compiles on the device, and where there is no GPU it must not quietly be the processor that answers.
    refused = boxes.wait("on-a-gpu", "Stalled", reason="NoRevisionLeft", seconds=120)
    assert "no GPUs are available" in refused["message"]

    with Watched(lambda: _spread(boxes, before)) as watched:
        boxes.patch(NAME, {"source": boxes.publish("2", "model-v2.onnx"), "rollout": CANARY})
        boxes.wait_settled(NAME, 240)
    assert "Canary: 1 runs, 1 ready" in watched.seen, watched.seen
    assert not any(said.startswith("Canary: 2 run") for said in watched.seen), watched.seen
    good = _answering(boxes)
    assert {server.image for server in good.values()}.isdisjoint({server.image for server in before.values()})

    _canary_stops_serving(boxes, good)
    _answering(boxes)
    _drains(boxes, boxes.servers(NAME)["edge-2"])


def test_a_device_that_changed_is_told_until_its_engines_are_there(boxes: Fleet, stand_in: StandIn) -> None:
    """An update of JetPack brings another TensorRT and starts the node anew: its pod tests itself once more."""
    boxes.wait_settled("recompiled", 300)
    (before,) = boxes.pods("recompiled")
    assert _told(boxes) == []

    boxes.off(stand_in.node)
    stand_in.update("10.7.0")
    boxes.on(stand_in.node)
    until(lambda: _told(boxes), seconds=120, what="the change to be told", detail=lambda: _status(boxes))
    assert _told(boxes) == [{"change": CHANGE, "node": stand_in.node, "nodes": 1}]
    boxes.wait_settled("recompiled", 120)
    assert list(boxes.pods("recompiled")) == [before], "the very pod that was there"
    words = f"On {stand_in.node} the model is compiled anew, since {CHANGE}."
    assert words in _status(boxes)
    # A node that comes back flips no condition while its server starts; its row says that first.
    row = f"It compiles the model anew, since {CHANGE}."
    until(lambda: row in _status(boxes), seconds=60, what="its row to say it", detail=lambda: _status(boxes))
    events = boxes.ground.kube.list("events", boxes.namespace)
    said = [(one["type"], one["message"]) for one in events if one["reason"] == "Recompiled"]
    assert said == [("Normal", f"{STAND_IN}: {words}")]

    boxes.ground.kube("delete", "pod", before, "-n", boxes.namespace)
    until(lambda: _serves_instead_of(boxes, before), seconds=120, what="a pod anew", detail=lambda: _status(boxes))
    boxes.wait_settled("recompiled", 120)
    assert _told(boxes) == []
    assert CHANGE not in _status(boxes)


def _serves_instead_of(fleet: Fleet, pod: str) -> bool:
    """Whether another pod than before has tested itself and serves."""
    server = fleet.servers("recompiled").get(UPDATED)
    return server is not None and server.pod != pod and server.ready


def _told(fleet: Fleet) -> list[dict[str, Any]]:
    """What the status says of devices that compile anew."""
    found: list[dict[str, Any]] = fleet.variants("recompiled")[STAND_IN]["recompiled"]
    return found


def _status(fleet: Fleet) -> str:
    """What a person is shown."""
    command = [sys.executable, "-m", "edgesmith.cli", "status", "recompiled", "-n", fleet.namespace]
    return run(command, env=kubeconfig_environment(fleet.ground))


def _spread(fleet: Fleet, before: Mapping[str, Server]) -> str:
    """How far a rollout is, and on how many nodes another revision than before runs and is ready.

    The nodes are looked at first: what they run then is what the state, or one before it, allowed.
    """
    new = [one for node, one in fleet.servers(NAME).items() if one.revision != before[node].revision]
    return f"{fleet.variants(NAME)[BOX]['state']}: {len(new)} runs, {sum(one.ready for one in new)} ready"


def _canary_stops_serving(fleet: Fleet, good: Mapping[str, Server]) -> None:
    """A revision that passes its tests and serves, and then does not any more: its canary goes back and no other."""
    fleet.patch(NAME, {"serving": {"maxBatch": 4}, "rollout": CANARY | {"steps": [{"nodes": 1, "bake": "5m"}]}})

    def canary() -> Server | None:
        new = [one for node, one in fleet.servers(NAME).items() if one.revision != good[node].revision]
        return next((one for one in new if one.ready), None)

    one = until(canary, seconds=90, what="the canary to serve", detail=lambda: str(fleet.servers(NAME)))
    (other,) = {*NODES} - {one.node}
    # From here on: it served, so that what it fails is no start of its own.
    fleet.patch(NAME, {"rollout": {"progressDeadline": "10s"}})
    with ServerKilled(fleet.pods(NAME)[one.pod], "tritonserver") as killed:
        stalled = fleet.wait(NAME, "Stalled", reason="RolledBack", seconds=60)
    assert killed.kills
    assert f"{one.node} did not become ready within spec.rollout.progressDeadline" in stalled["message"]
    fleet.patch(NAME, {"rollout": {"progressDeadline": None}})
    _serves_again(fleet, good)
    assert fleet.servers(NAME)[other] == good[other], "no other node is touched"


def _serves_again(fleet: Fleet, good: Mapping[str, Server]) -> None:
    revision = good["edge-1"].revision
    until(
        lambda: {n for n, one in fleet.servers(NAME).items() if one.ready and one.revision == revision} == set(NODES),
        seconds=60,
        what="the revision before to serve on both nodes",
    )


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
        assert client.is_server_live()
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
