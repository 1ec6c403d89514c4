"""Small real models, bundles of them, and servers in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgesmith_runtime.bundle import Bundle, write_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden
from tests.patience import PATIENCE
from tests.runtime.http1 import Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def _save(path: Path, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> Path:
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _value(name: str, kind: int, shape: Sequence[str | int]) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _bundle(folder: Path, name: str, model: Path, samples: Mapping[str, NDArray[Any]], labels: Sequence[str]) -> Bundle:
    engine = load_engine("onnxruntime", model, threads=1)
    answers: dict[str, list[NDArray[Any]]] = {spec.name: [] for spec in engine.outputs}
    whole = {spec.name for spec in engine.inputs if samples[spec.name].ndim == len(spec.shape) + 1}
    for index in range(len(next(iter(samples.values())))):
        feed = {key: array[index] if key in whole else array[index : index + 1] for key, array in samples.items()}
        for key, answer in engine.infer(feed).items():
            answers[key].append(answer if whole else answer[0])
    written = write_bundle(
        folder / name,
        engine="onnxruntime",
        precision="fp32",
        model_file=model,
        inputs=engine.inputs,
        outputs=engine.outputs,
        labels=labels,
        golden=Golden.of(samples, {key: np.stack(parts) for key, parts in answers.items()}, 0.05),
    )
    return replace(written, model=name)


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``x`` FP32 [-1,4] to its ``relu`` and its ``softmax``."""
    nodes = [helper.make_node("Relu", ["x"], ["relu"]), helper.make_node("Softmax", ["x"], ["softmax"], axis=1)]
    outputs = [_value(name, TensorProto.FLOAT, ("n", 4)) for name in ("relu", "softmax")]
    path = tmp_path_factory.mktemp("toy") / "toy.onnx"
    return _save(path, nodes, [_value("x", TensorProto.FLOAT, ("n", 4))], outputs)


@pytest.fixture(scope="session")
def toy(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The toy model with labels ``a`` to ``d``."""
    samples = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    return _bundle(tmp_path_factory.mktemp("bundle"), "toy", toy_model, {"x": samples}, "abcd")


@pytest.fixture
def toy_copy(toy_model: Path, tmp_path: Path) -> Bundle:
    """A toy bundle of the test's own, to spoil."""
    samples = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    return _bundle(tmp_path, "toy", toy_model, {"x": samples}, "abcd")


@pytest.fixture(scope="session")
def every_type(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One input ``in_<TYPE>`` [-1,2] for every datatype, each answered as it came in ``out_<TYPE>``."""
    return _identities(tmp_path_factory.mktemp("types"), TYPES)


@pytest.fixture(scope="session")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same without FP16, which has no typed contents in gRPC."""
    return _identities(tmp_path_factory.mktemp("typed"), {name: TYPES[name] for name in TYPES if name != "FP16"})


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same with BYTES alone, and of one element a sample."""
    return _identities(tmp_path_factory.mktemp("words"), {"BYTES": TYPES["BYTES"]}, width=1)


def _identities(folder: Path, types: Mapping[str, int], width: int = 2) -> Bundle:
    nodes = [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in types]
    inputs = [_value(f"in_{name}", kind, ("n", width)) for name, kind in types.items()]
    outputs = [_value(f"out_{name}", kind, ("n", width)) for name, kind in types.items()]
    model = _save(folder / "types.onnx", nodes, inputs, outputs)
    return _bundle(folder, "types", model, {f"in_{name}": example(name, (3, width)) for name in types}, ())


@pytest.fixture(scope="session")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """``x`` BF16 [-1,2] as it came in ``y``, as FP32 in ``wide``, and its ``relu`` in BF16."""
    folder = tmp_path_factory.mktemp("halves")
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["wide"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["relu"], to=TensorProto.BFLOAT16),
    ]
    kinds = {"y": TensorProto.BFLOAT16, "wide": TensorProto.FLOAT, "relu": TensorProto.BFLOAT16}
    outputs = [_value(name, kind, ("n", 2)) for name, kind in kinds.items()]
    model = _save(folder / "halves.onnx", nodes, [_value("x", TensorProto.BFLOAT16, ("n", 2))], outputs)
    samples = np.arange(-3, 3, dtype=np.float32).reshape(3, 2) / 4
    return _bundle(folder, "halves", model, {"x": samples}, ())


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """``x`` FP32 [n,n], multiplied by itself ten times: a request chooses how long it takes."""
    folder = tmp_path_factory.mktemp("slow")
    names = ["x", *(f"t{index}" for index in range(9)), "y"]
    nodes = [helper.make_node("MatMul", [a, "x"], [b]) for a, b in pairwise(names)]
    tensors = [_value(name, TensorProto.FLOAT, ("n", "n")) for name in ("x", "y")]
    model = _save(folder / "slow.onnx", nodes, tensors[:1], tensors[1:])
    return _bundle(folder, "slow", model, {"x": np.ones((2, 3, 3), np.float32)}, ())


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """``x`` FP32 [-1,1], repeated in ``y`` [-1,2097152]: a request of some bytes has an answer of 8 MiB."""
    folder = tmp_path_factory.mktemp("wide")
    width = 2**21
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, width])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Expand", ["x", "shape"], ["y"]),
    ]
    x, y = (_value(name, TensorProto.FLOAT, ("n", count)) for name, count in (("x", 1), ("y", width)))
    model = _save(folder / "wide.onnx", nodes, [x], [y])
    return _bundle(folder, "wide", model, {"x": np.ones((1, 1), np.float32)}, ())


@pytest.fixture(scope="session")
def examples() -> dict[str, NDArray[Any]]:
    """A tensor [3,2] of every datatype."""
    return {name: example(name, (3, 2)) for name in TYPES}


def example(datatype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Some elements of a datatype, its extremes among them."""
    count = int(np.prod(shape))
    if datatype == "BYTES":
        texts = ["", "grüße", "a\0b", "{}", "日本", "x" * 300]
        return np.array((texts * count)[:count], dtype=np.object_).reshape(shape)
    if datatype == "BOOL":
        return np.resize([True, False], shape)
    kind = np.dtype({"FP16": "f2", "FP32": "f4", "FP64": "f8"}.get(datatype, datatype.lower()))
    ends: list[Any] = [0, 1]
    if kind.kind == "f":
        ends += [np.finfo(kind).max, np.finfo(kind).tiny, -0.1, np.finfo(kind).min]
    else:
        ends += [np.iinfo(kind).max, np.iinfo(kind).min, 7, 100]
    return np.array((ends * count)[:count], dtype=kind).reshape(shape)


@dataclass
class Server:
    """A server in a process of its own.

    Attributes:
        process: The process.
        http: Its HTTP port, once it listens.
        grpc: Its gRPC port, once it listens.
        lines: Its log so far.
    """

    process: subprocess.Popen[str]
    http: int = 0
    grpc: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)

    def wait_for(self, message: str) -> dict[str, Any]:
        """Read the log up to a message."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            entry: dict[str, Any] = json.loads(line)
            self.lines.append(entry)
            if entry["message"].startswith(message):
                return entry
        raise AssertionError(f"the server ended without {message!r}: {self.lines}")

    def stop(self) -> int:
        """Ask the server to stop and wait for its end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr is not None
        self.lines += [json.loads(line) for line in self.process.stderr]
        self.process.stderr.close()
        return self.process.wait(PATIENCE)


class StartServer(Protocol):
    """Starts a server on free ports and waits until it is ready, or only listens.

    `program` is a program of Python instead of the runtime's command line; it gets the same arguments.
    """

    def __call__(self, bundle: Path, *options: str, ready: bool = True, program: str = "") -> Server: ...


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Start servers for a test, each of a model called like its bundle's folder; what still runs is stopped."""
    with _starting() as start:
        yield start


@pytest.fixture(scope="module")
def start_module_server() -> Iterator[StartServer]:
    """The same for all tests of a file."""
    with _starting() as start:
        yield start


@pytest.fixture(scope="session")
def start_shared_server() -> Iterator[StartServer]:
    """The same for all tests."""
    with _starting() as start:
        yield start


@contextmanager
def _starting() -> Iterator[StartServer]:
    servers: list[Server] = []

    def start(bundle: Path, *options: str, ready: bool = True, program: str = "") -> Server:
        called = ["-c", program] if program else ["-m", "edgesmith_runtime"]
        command = [sys.executable, *called, "serve", "--bundle", str(bundle), "--name", bundle.name]
        process = subprocess.Popen(
            [
                *command,
                "--host",
                "127.0.0.1",
                "--http-port",
                "0",
                "--grpc-port",
                "0",
                "--accept-seconds",
                "0",
                *options,
            ],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        server = Server(process)
        servers.append(server)
        ports = server.wait_for("listening")
        server.http, server.grpc = ports["http_port"], ports["grpc_port"]
        if ready:
            server.wait_for("ready")
        return server

    try:
        yield start
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()
            if server.process.stderr is not None:
                server.process.stderr.close()


@pytest.fixture(scope="session")
def toy_server(toy: Bundle, start_shared_server: StartServer) -> Server:
    """One server of the toy model for all tests that leave it as it is."""
    return start_shared_server(toy.folder, "--max-body-mib", "1", "--max-batch", "1000")


@pytest.fixture(scope="session")
def types_server(every_type: Bundle, start_shared_server: StartServer) -> Server:
    """One server of the model with every datatype."""
    return start_shared_server(every_type.folder)


@pytest.fixture(scope="session")
def typed_server(typed: Bundle, start_shared_server: StartServer) -> Server:
    """One server of the model with every datatype that has typed contents."""
    return start_shared_server(typed.folder)


@pytest.fixture
def client(toy_server: Server) -> Iterator[Client]:
    """A connection to it."""
    with closing(Client(toy_server.http)) as connected:
        yield connected
