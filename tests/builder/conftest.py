"""A real registry, a real MinIO and small real models: what the builder is tested against.

The two servers are those that the local cluster uses. Each binds port 0 and says in its log where it listens.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cutting import CuttingProxy
from graphs import begin_anew
from minio import Minio
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from services import start_minio, start_registry

from edgesmith_builder.build import Built, build
from edgesmith_builder.contract import Artifact, Build, BuildRequest, Platform, Toolchain
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Backoff, BytesBlob, Credentials, Descriptor, Manifest, Registry, Repository
from edgesmith_builder.oci.content import CONFIG, INDEX, LAYER_GZIP, MANIFEST, canonical
from edgesmith_builder.push import registries_for
from edgesmith_builder.source import Bucket, Sources, StoreSettings
from edgesmith_builder.toolchain import Compiler
from tests import patience

USER, PASSWORD = "builder", "right-password"
HTPASSWD = "builder:$2b$04$PaBMYKCUVfGrXuHsqXwSLO.HJX4oKxXEaWcLXQyPRkiDKkiqNzoqq"
"""bcrypt of the above."""

PATIENCE = Backoff(attempts=3, first=0.01, limit=0.05)
"""Retries as in production, waits as in a test."""


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = start_registry(tmp_path_factory.mktemp("registry"))
    yield server.address
    server.stop()


@pytest.fixture(scope="session")
def second_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = start_registry(tmp_path_factory.mktemp("second-registry"))
    yield server.address
    server.stop()


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that wants a login."""
    folder = tmp_path_factory.mktemp("locked-registry")
    (folder / "htpasswd").write_text(HTPASSWD + "\n")
    server = start_registry(folder, f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n")
    yield server.address
    server.stop()


def docker_config(address: str, password: str) -> Credentials:
    return Credentials.from_json(json.dumps({"auths": {address: {"username": USER, "password": password}}}))


@dataclass
class Store:
    """A MinIO with one bucket, `models`."""

    settings: StoreSettings
    client: Minio

    def put(self, key: str, data: bytes) -> str:
        self.client.put_object(bucket_name="models", object_name=key, data=io.BytesIO(data), length=len(data))
        return f"s3://models/{key}"

    def read(self, uri: str) -> bytes:
        """An object's bytes."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        answer = self.client.get_object(bucket_name=bucket, object_name=key)
        try:
            data: bytes = answer.read()
        finally:
            answer.close()
            answer.release_conn()
        return data


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    yield from store_of(tmp_path_factory.mktemp("minio"))


def store_of(folder: Path) -> Iterator[Store]:
    """A MinIO that keeps its objects in a folder, until the iterator goes on."""
    server = start_minio(folder)
    settings = StoreSettings(server.address, secure=False, region="us-east-1", access_key="store-user",
                             secret_key="store-password")  # fmt: skip  # noqa: S106 - of a server that ends with the test
    client = Minio(endpoint=server.address, access_key="store-user", secret_key="store-password", secure=False)  # noqa: S106 - as above
    client.make_bucket(bucket_name="models")
    yield Store(settings, client)
    server.stop()


# Models and data -----------------------------------------------------------------------------------------------------

CLASSES, SIDE = 4, 8


def classifier(*, opset: int = 17, batch: str | int = "batch", poison: float | None = None) -> onnx.ModelProto:
    """A convolution, a ReLU and a dense layer: images of 1x8x8 to 4 classes. The weights are seeded."""
    rng = np.random.default_rng(7)
    kernel = rng.normal(size=(6, 1, 3, 3)).astype(np.float32)
    dense = rng.normal(size=(6 * SIDE * SIDE, CLASSES)).astype(np.float32)
    if poison is not None:
        dense[3, 1] = poison
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["features"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"], name="relu"),
        helper.make_node("Flatten", ["active"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "dense", "offset"], ["scores"], name="gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, CLASSES])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.zeros(6, np.float32), "bias"),
            numpy_helper.from_array(dense, "dense"),
            numpy_helper.from_array(np.zeros(CLASSES, np.float32), "offset"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def images(count: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((count, 1, SIDE, SIDE)).astype(np.float32)


def answers(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """The classes that a model gives: its own labels, so that fp32 scores 1."""
    import onnxruntime as ort  # noqa: PLC0415 - costs half a second, and few tests need it

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores = np.concatenate([session.run(None, {"image": inputs[i : i + 1]})[0] for i in range(len(inputs))])
    labels: NDArray[np.int64] = scores.argmax(axis=1)
    return labels


def npz(**arrays: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


@dataclass
class World:
    """Everything a build needs, with a model and sets in the bucket and a base image in the registry."""

    registry: str
    store: Store
    base: str
    source: str
    calibration: str
    evaluation: str
    folder: Path
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1000)))

    def request(self, **changes: Any) -> BuildRequest:
        """A request that succeeds; `changes` are fields of the build, `precisions`, `repository` or `gates`."""
        repository = changes.pop("repository", f"{self.registry}/team/surface-{uuid.uuid4().hex[:12]}")
        fields: dict[str, Any] = {
            "source": Artifact(uri=self.source),
            "calibration": Artifact(uri=self.calibration),
            "evaluation": Artifact(uri=self.evaluation),
            "platform": Platform(architecture="amd64"),
            "toolchain": Toolchain(precisions=changes.pop("precisions", ("int8", "fp32"))),
            "base": self.base,
        }
        gates = changes.pop("gates", None)
        wanted = Build(**{**fields, **changes})
        return BuildRequest(build=wanted, repository=repository, plain_http=True, gates=gates)

    def digest(self, uri: str) -> str:
        """64 hex digits of an object in the bucket."""
        return hashlib.sha256(self.store.read(uri)).hexdigest()

    async def build(
        self,
        request: BuildRequest,
        *,
        settings: StoreSettings | None = None,
        credentials: Credentials | None = None,
        compiler: Compiler | None = None,
        maker: Maker | None = None,
    ) -> Built:
        """Carry a request out as the program does, with shorter waits."""
        work = self.folder / f"work-{next(self.numbers)}"
        work.mkdir()
        sources = Sources({"s3": Bucket(settings or self.store.settings, attempts=2, first_delay=0.01)})
        async with registries_for(request, credentials or Credentials(), PATIENCE) as registries:
            return await build(request, sources, registries, work, compiler=compiler, maker=maker)

    async def manifest(self, built: Built) -> Manifest:
        from edgesmith_builder.oci import Reference  # noqa: PLC0415 - one user

        async with Registry(plain_http=True) as client:
            found = await client.manifest(Reference.parse(built.image))
        assert found is not None
        return found


async def push_base(
    address: str,
    name: str = "edgesmith/runtime",
    credentials: Credentials | None = None,
    authorities: str | None = None,
    *,
    layer_text: str = "a layer of",
    labels: Mapping[str, str] | None = None,
) -> str:
    """A base image for amd64 and arm64 under one index, pushed by our own client; over TLS with authorities."""
    repository = Repository.parse(f"{address}/{name}")
    entries = []
    plain = authorities is None
    async with Registry(plain, credentials, backoff=PATIENCE, authorities=authorities) as client:
        for architecture in ("amd64", "arm64"):
            layer = BytesBlob(f"{layer_text} {architecture}".encode() * 5000, LAYER_GZIP)
            config = BytesBlob(
                canonical(
                    {
                        "os": "linux",
                        "architecture": architecture,
                        "created": "2026-01-02T03:04:05Z",
                        "config": {
                            "Entrypoint": ["/serve"],
                            "User": "65532",
                            "Labels": {"of": "base", **(labels or {})},
                        },
                        "rootfs": {"type": "layers", "diff_ids": [layer.descriptor.digest]},
                        "history": [{"created": "2026-01-02T03:04:05Z", "created_by": "test"}],
                    }
                ),
                CONFIG,
            )
            await client.push_blob(repository, layer)
            await client.push_blob(repository, config)
            raw = Manifest(config.descriptor, (layer.descriptor,)).to_bytes()
            descriptor = Descriptor.of(raw, MANIFEST)
            await client.push_manifest(repository.pinned(descriptor.digest), raw)
            entries.append({**descriptor.to_json(), "platform": {"os": "linux", "architecture": architecture}})
        index = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        digest = await client.push_manifest(repository.tagged("1"), index, INDEX)
    return f"{repository}@{digest}"


@pytest.fixture(scope="session")
def supplies(registry: str, store: Store) -> dict[str, str]:
    return supplies_of(registry, store)


def supplies_of(registry: str, store: Store) -> dict[str, str]:
    """A base image in the registry, a model and its sets in the bucket."""
    model, inputs = classifier(), images(64)
    return {
        "base": asyncio.run(push_base(registry)),
        "source": store.put("surface/model.onnx", model.SerializeToString()),
        "calibration": store.put("surface/calibration.npz", npz(image=images(32, seed=2))),
        "evaluation": store.put("surface/evaluation.npz", npz(image=inputs, labels=answers(model, inputs))),
    }


@pytest.fixture
def world(registry: str, store: Store, supplies: dict[str, str], tmp_path: Path) -> World:
    return World(
        registry=registry,
        store=store,
        base=supplies["base"],
        source=supplies["source"],
        calibration=supplies["calibration"],
        evaluation=supplies["evaluation"],
        folder=tmp_path,
    )


@pytest.fixture(name="push_base")
def base_pusher() -> Callable[..., Any]:
    """`push_base`, for test modules."""
    return push_base


Classifier = Callable[..., onnx.ModelProto]


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Models and sets of a test are the same whichever tests ran before."""
    begin_anew()


@pytest.fixture
def patient_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry has as long as a test to say what was built."""
    monkeypatch.setattr("edgesmith.cluster.images.LOOKUP_SECONDS", patience.PATIENCE)


@pytest.fixture
def make_classifier() -> Classifier:
    """`classifier`, for test modules, which cannot import from here."""
    return classifier


@pytest.fixture
def login() -> Callable[[str, str], Credentials]:
    """`docker_config`, for test modules."""
    return docker_config


@pytest.fixture
def cutting_proxy() -> type[CuttingProxy]:
    """The class, for test modules."""
    return CuttingProxy


@pytest.fixture(scope="session")
def readonly_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that refuses whatever is pushed."""
    folder = tmp_path_factory.mktemp("readonly-registry")
    server = start_registry(folder, storage="maintenance: {readonly: {enabled: true}}")
    yield server.address
    server.stop()


@pytest.fixture
def sets() -> Sets:
    """What data sets are made of, for test modules."""
    return Sets(images, answers, npz)


@dataclass(frozen=True)
class Sets:
    images: Callable[..., NDArray[np.float32]]
    answers: Callable[[onnx.ModelProto, NDArray[np.float32]], NDArray[np.int64]]
    npz: Callable[..., bytes]
