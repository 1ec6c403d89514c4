"""Models that pass their golden samples and do worse with real inputs, and clients that ask for them."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection, RemoteDisconnected
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.judging.figures import Figures
from edgesmith_runtime.judging.sketch import BUCKETS
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

node: Any = helper.make_node
_KINDS = {"f": (TensorProto.FLOAT, "FP32"), "i": (TensorProto.INT64, "INT64"), "O": (TensorProto.STRING, "BYTES")}


def bundle_of(
    folder: Path, nodes: Sequence[Any], sample: NDArray[Any], answer: tuple[Any, ...], *weights: NDArray[Any]
) -> Path:
    """The bundle of a model from `x` to `y`.

    Args:
        folder: Where to make it; its name is the model's.
        nodes: The model's nodes.
        sample: Golden inputs, the first axis for the samples.
        answer: The shape of `y`.
        weights: What nodes call `w0` and so on.
    """
    kind, _ = _KINDS[sample.dtype.kind]
    folder.parent.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", kind, ["n", *(["m"] * (sample.ndim - 1))])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, answer)],
        [numpy_helper.from_array(array, f"w{index}") for index, array in enumerate(weights)],
    )
    path = folder.with_suffix(".onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    engine = load_engine("onnxruntime", path, threads=1)
    answers = [engine.infer({"x": sample[index : index + 1]})["y"][0] for index in range(len(sample))]
    return write_bundle(
        folder,
        engine="onnxruntime",
        precision="fp32",
        model_file=path,
        inputs=engine.inputs,
        outputs=engine.outputs,
        labels=None,
        golden=Golden.of({"x": sample}, {"y": np.stack(answers)}, 0.05),
    ).folder


def sharp(folder: Path, factor: float) -> Path:
    """Probabilities of the classes that `x` has scores of, the surer the larger the factor; no numbers below -100."""
    nodes = [
        node("Add", ["x", "w1"], ["positive"]),
        node("Sqrt", ["positive"], ["root"]),
        node("Mul", ["root", "w2"], ["nothing"]),
        node("Mul", ["x", "w0"], ["scores"]),
        node("Add", ["scores", "nothing"], ["all"]),
        node("Softmax", ["all"], ["y"], axis=1),
    ]
    sample = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    return bundle_of(folder, nodes, sample, ("n", "m"), *(np.array(one, np.float32) for one in (factor, 100, 0)))


def table(folder: Path, rows: int) -> Path:
    """The row of a table that `x` names; golden samples name the first three."""
    sample = np.arange(3, dtype=np.int64)
    return bundle_of(folder, [node("Gather", ["w0", "x"], ["y"])], sample, ("n", 2), np.ones((rows, 2), np.float32))


def reader(folder: Path) -> Path:
    """The number that a text has; others it fails at."""
    sample = np.array(["1", "2.5"], dtype=object)
    return bundle_of(folder, [node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], sample, ("n",))


def products(folder: Path, count: int) -> Path:
    """`x` multiplied by itself again and again."""
    names = ["x", *(f"t{index}" for index in range(count - 1)), "y"]
    nodes = [node("MatMul", [before, "x"], [after]) for before, after in pairwise(names)]
    return bundle_of(folder, nodes, np.ones((2, 1), np.float32), ("n", "m"))


class Client:
    """Asks a server over one connection.

    Args:
        port: Its HTTP port.
        model: The model's name.
    """

    def __init__(self, port: int, model: str) -> None:
        self._port = port
        self._model = model

    def ask(self, array: NDArray[Any], times: int = 1) -> list[int]:
        """Send the same request so often; the status of each, fewer where the server ended."""
        _, datatype = _KINDS[array.dtype.kind]
        tensor = {"name": "x", "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}
        body = json.dumps({"inputs": [tensor]})
        found: list[int] = []
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)) as connection:
            for _ in range(times):
                try:
                    connection.request("POST", f"/v2/models/{self._model}/infer", body)
                    response = connection.getresponse()
                    response.read()
                except (ConnectionError, RemoteDisconnected):
                    return found
                found.append(response.status)
                if response.getheader("Connection") == "close":
                    return found
        return found

    def get(self, path: str) -> tuple[int, bytes]:
        """Fetch a page."""
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()


def told(**more: Any) -> Figures:
    """What one server tells another of itself."""
    return replace(Figures("m", "i", "", 1, 2, tuple([5] + [0] * (BUCKETS - 1)), 3, 0.9, 0.01), **more)
