"""The loop, closed: a camera shifts, the fleet says so, an event is sent and a Job trains, and its model is rolled out.

The API server, the controllers, the operator, the builder, the server, the reporter, the training Job, the bucket and
the registry are real; a kubelet's part (to start processes and say how they ended) is played. After the shift the test
looks on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apiserver import ApiServer, Object
from kubelets import Kubelets
from minio import Minio
from numpy.typing import NDArray
from operator_process import Operator, condition, device_profile, edge_model
from played import Answer, Played
from running_pods import RunningPods
from services import STORE_PASSWORD, STORE_USER, start_minio
from trainer import as_npz, publish

from edgesmith_builder.oci import BytesBlob, Manifest, Registry, Repository
from edgesmith_builder.oci.content import CONFIG, LAYER_GZIP
from tests.patience import PATIENCE

NAME = "parts"
HOOK_KEY = b"what only the two of them know.."
SHIFT = np.array([6.0, -4.0, 0.0, 5.0], np.float32)


def world(count: int, shift: NDArray[np.float32] | float, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Samples with their classes: which side of a plane they are on, wherever the camera stands."""
    plain = np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)
    return (plain + shift).astype(np.float32), (plain[:, 0] + plain[:, 1] > 0).astype(np.int64)


@dataclass
class Store:
    """A bucket, and how it is reached."""

    address: str
    client: Minio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "minio").mkdir()
    server = start_minio(tmp_path / "minio")
    client = Minio(endpoint=server.address, access_key=STORE_USER, secret_key=STORE_PASSWORD, secure=False)
    client.make_bucket(bucket_name="models")
    yield Store(server.address, client)
    server.stop()


@dataclass
class Hook:
    """Takes events that the Secret signs, the first time it is asked excepted: it is not there yet."""

    uri: str = ""
    taken: list[Object] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> Answer:
        """As Standard Webhooks have receivers do: the id, the time and the body are what was signed, not long ago."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        sent, at = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        wanted = hmac.new(HOOK_KEY, f"{sent}.{at}.".encode() + body, hashlib.sha256).digest()
        said = request.headers.get("webhook-signature", "").removeprefix("v1,")
        right = hmac.compare_digest(said, base64.b64encode(wanted).decode()) and abs(time.time() - int(at)) < PATIENCE
        if not right or not self.refused:
            self.refused.append(503 if right else 401)
            return Answer(self.refused[-1])
        event = json.loads(body)
        assert event["id"] == sent
        self.taken.append(event)
        return Answer(204)


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    with Played(found.answer) as played:
        found.uri = f"{played.endpoint}/drift"
        yield found


async def push_base(address: str) -> str:
    """A runtime image that a build goes on top of."""
    repository = Repository.parse(f"{address}/edgesmith/runtime")
    layer = BytesBlob(b"a layer of the base", LAYER_GZIP)
    layers = {"type": "layers", "diff_ids": [layer.descriptor.digest]}
    text = {"os": "linux", "architecture": "amd64", "config": {"User": "65532"}, "rootfs": layers}
    config = BytesBlob(json.dumps(text).encode(), CONFIG)
    manifest = Manifest(config.descriptor, (layer.descriptor,)).to_bytes()
    async with Registry(plain_http=True) as client:
        for blob in (layer, config):
            await client.push_blob(repository, blob)
        return f"{repository}@{await client.push_manifest(repository.tagged('1'), manifest)}"


def access(namespace: str, store: Store) -> list[Object]:
    """The bucket's keys, the hook's, and an account for training that may change one EdgeModel and nothing else."""
    keys = {
        "AWS_ACCESS_KEY_ID": STORE_USER,
        "AWS_SECRET_ACCESS_KEY": STORE_PASSWORD,
        "AWS_ENDPOINT_URL": f"http://{store.address}",
        "AWS_REGION": "us-east-1",
    }
    signing = {"secret": base64.b64encode(f"whsec_{base64.b64encode(HOOK_KEY).decode()}".encode()).decode()}
    place = {"name": "trainer", "namespace": namespace}
    rule = {"apiGroups": ["edgesmith.dev"], "resources": ["edgemodels"], "resourceNames": [NAME], "verbs": ["patch"]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "trainer"}
    rbac = "rbac.authorization.k8s.io/v1"
    data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store", "namespace": namespace}, "data": data},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook", "namespace": namespace}, "data": signing},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place},
        {"apiVersion": rbac, "kind": "Role", "metadata": place, "rules": [rule]},
        {
            "apiVersion": rbac,
            "kind": "RoleBinding",
            "metadata": place,
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **place}],
        },
    ]


class Camera:
    """Asks whichever server there is, with what it sees now."""

    def __init__(self, pods: RunningPods) -> None:
        self.pods = pods
        self.shift: NDArray[np.float32] | float = 0.0
        self.seed = 100

    def look(self) -> float | None:
        """The share of right answers to eight samples; None where nobody answers."""
        serving = self.pods.serving
        if serving is None:
            return None
        self.seed += 1
        x, labels = world(8, self.shift, self.seed)
        tensor = {"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}
        body = json.dumps({"inputs": [tensor]}).encode()
        url = f"http://127.0.0.1:{serving.port}/v2/models/{NAME}/infer"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=PATIENCE) as answer:
                found = json.load(answer)["outputs"][0]["data"]
        except OSError:
            return None
        return float((np.array(found).reshape(-1, 2).argmax(1) == labels).mean())


def until(what: str, pods: RunningPods, camera: Camera, check: Callable[[], Any], seconds: float = 120) -> Any:
    """Let processes run and the camera look until something is so."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, what
        pods.step()
        for _ in range(5):
            camera.look()
        time.sleep(0.05)
    return found


@pytest.fixture
def fleet(server: ApiServer, namespace: str, kubelets: Kubelets, tmp_path: Path) -> Iterator[RunningPods]:
    """One node, whose pods are processes."""
    kubelets.add(f"{namespace}-1", f"{namespace}-device")
    (tmp_path / "pods").mkdir()
    pods = RunningPods(server, namespace, tmp_path / "pods", NAME)
    yield pods
    pods.stop()


def objects(namespace: str, store: Store, hook: Hook) -> list[Object]:
    """A model of what the camera sees at first, and what is to be done when it sees something else."""
    spec = publish(store.client, "models", "first", *world(600, 0.0, 1))
    seen, classes = world(600, SHIFT, 2)
    labelled = as_npz(x=seen, labels=classes)
    store.client.put_object("models", "labelled.npz", io.BytesIO(labelled), len(labelled))
    spec["source"] |= {"secretRef": {"name": "store"}}
    spec["evaluation"] |= {"metric": "Accuracy"}
    training = {
        "image": "train",
        "env": {"LABELLED": "labelled.npz"},
        "secretRefs": [{"name": "store"}],
        "serviceAccount": "trainer",
        "retries": 0,
    }
    event = {"uri": hook.uri, "secretRef": {"name": "hook"}}
    feedback = {"privacy": "Statistics", "drift": {"cycle": "0s"}, "retraining": {"event": event, "job": training}}
    profile = device_profile(f"{namespace}-device")
    profile["spec"]["toolchain"] = {"name": "ONNXRuntime", "precisions": ["fp32"]}
    return [*access(namespace, store), profile, edge_model(NAME, namespace, **spec, feedback=feedback)]


async def test_a_shifted_camera_leads_to_a_new_model_without_a_hand(
    fleet: RunningPods, operator: Operator, store: Store, hook: Hook
) -> None:
    server, namespace, camera = fleet.server, fleet.namespace, Camera(fleet)
    base = await push_base(operator.registry)
    operator.settings = {"EDGESMITH_RUNTIME_IMAGES": json.dumps({"onnxruntime": base})}
    server.apply(objects(namespace, store, hook))
    operator.start()

    def says(kind: str, status: str) -> bool:
        found = condition(server, namespace, NAME, kind)
        return bool(found and found["status"] == status)

    def source() -> str:
        model = server.get("edgemodels", NAME, namespace) or {}
        return str(model["spec"]["source"]["uri"])

    def right() -> float:
        return float(np.mean([camera.look() or 0 for _ in range(20)]))

    until("the first model serves", fleet, camera, lambda: says("Ready", "True") and right() > 0.9)
    first = source()
    camera.shift = SHIFT
    assert right() < 0.8, "the shift hurts"
    until("the fleet drifts", fleet, camera, lambda: says("Drifted", "True"))
    until("the Job has put its model in the spec", fleet, camera, lambda: source() != first)
    until("its model is rolled out", fleet, camera, lambda: _served(server, namespace, source()))
    until("and right again", fleet, camera, lambda: right() > 0.9)
    until("nobody has seen enough of it to say", fleet, camera, lambda: says("Drifted", "Unknown"))

    model = server.get("edgemodels", NAME, namespace) or {}
    episode = model["status"]["drift"]["episode"]
    assert sorted(episode["fired"]) == ["event", "job"]
    assert episode["ended"]
    assert len(fleet.trained) == 1, "once in an episode"
    assert episode["id"] in source()
    until("the event is taken", fleet, camera, lambda: hook.taken)
    assert hook.refused == [503], "and its signature was right each time"
    assert len(hook.taken) == 1
    event = hook.taken[0]
    assert (event["id"], event["type"]) == (episode["id"], "dev.edgesmith.drift.began")
    assert event["subject"] == f"{namespace}/{NAME}"
    assert event["data"]["source"]["uri"] == first
    assert event["data"]["drifted"] == 1
    assert [one["name"] for one in event["data"]["nodes"]] == [f"{namespace}-1"]


def _served(server: ApiServer, namespace: str, uri: str) -> bool:
    """Whether the newest revision is of a source, and complete."""
    model = server.get("edgemodels", NAME, namespace) or {}
    status = model.get("status", {})
    ready = {one["type"]: one["status"] for one in status.get("conditions", ())}
    seen = status.get("observedGeneration") == model["metadata"]["generation"]
    return bool(seen and ready.get("Ready") == "True" and model["spec"]["source"]["uri"] == uri)
