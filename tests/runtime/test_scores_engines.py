"""A shift that nothing but the scores of the answers shows, with each engine and with a server."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from tflite import Operator, Tensor, options, softmax, write_tflite
from toys import ir_file, onnx_file

from edgesmith_runtime.drift.recording import baseline_of
from edgesmith_runtime.drift.watch import State, Watch
from edgesmith_runtime.engine import load_engine
from tests.patience import PATIENCE
from tests.runtime.drifting import answered_by, bundle_with
from tests.runtime.judged import Client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from edgesmith_runtime.drift.baseline import Baseline
    from edgesmith_runtime.engine import Engine
    from tests.runtime.conftest import StartServer

SIZE = 16
BOARD = np.where(np.indices((SIZE, SIZE)).sum(0) % 2, 1.0, -1.0)
"""A board of squares of one pixel: the coarse form of a picture that has it is the same whichever way it is turned."""
WEIGHTS = (10 * np.stack([0 * BOARD, BOARD, -BOARD]).reshape(3, -1) / BOARD.size).astype(np.float32)
BIAS = np.array([2, 0, 0], np.float32)
"""The first class is always the first; which one is second depends on how the board is turned."""


def of_onnx(folder: Path) -> Path:
    """The model for engines that take ONNX or are made from it."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w0", "w1"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["y"], axis=1),
    ]
    inputs, outputs = {"x": (TensorProto.FLOAT, ("n", SIZE, SIZE))}, {"y": (TensorProto.FLOAT, ("n", 3))}
    return onnx_file(folder / "model.onnx", nodes, inputs, outputs, (WEIGHTS, BIAS))


def of_tflite(folder: Path) -> Path:
    """The same for LiteRT."""
    tensors = [
        Tensor("x", [-1, SIZE, SIZE]),
        Tensor("w", [3, BOARD.size], values=WEIGHTS),
        Tensor("b", [3], values=BIAS),
        Tensor("logits", [-1, 3]),
        Tensor("y", [-1, 3]),
    ]
    whole = Operator("FULLY_CONNECTED", ["x", "w", "b"], ["logits"], options("FullyConnectedOptions"))
    return write_tflite(folder / "model.tflite", tensors, [whole, softmax("logits", "y")], ["x"], ["y"])


MODELS: dict[str, Callable[[Path], Path]] = {
    "litert": of_tflite,
    "onnxruntime": of_onnx,
    "openvino": lambda folder: ir_file(of_onnx(folder)),
}


def pictures(rng: np.random.Generator, ways: NDArray[np.int64]) -> NDArray[np.float32]:
    """Pictures of noise and the board, turned the ways that are said: -1 or 1."""
    noise = 0.1 * rng.standard_normal((len(ways), SIZE, SIZE))
    return np.asarray(0.5 + noise + 0.1 * ways[:, np.newaxis, np.newaxis] * BOARD, np.float32)


def either(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """One way or the other, by chance."""
    return rng.choice([-1, 1], count)


def baseline_with(engine: Engine) -> Baseline:
    """A baseline of pictures with the board either way."""
    rng = np.random.default_rng(1)
    made = baseline_of(answered_by(engine, pictures(rng, either(rng, 400))), {"x": 2}, seed="a", classes="y")
    assert made is not None
    return made


def seen(engine: Engine, baseline: Baseline, share: float) -> Watch:
    """What a device knows that saw so many pictures with the board one way, as a share."""
    watch, rng = Watch(baseline, cycle=0), np.random.default_rng(2)
    while watch.state is State.LEARNING:
        inputs = {"x": pictures(rng, np.where(rng.random(10) < share, 1, -1))}
        watch.see(inputs, engine.infer(inputs), float(watch.samples))
    return watch


@pytest.mark.parametrize("engine", MODELS)
def test_another_second_class_is_seen_in_what_each_engine_answers(engine: str, tmp_path: Path) -> None:
    loaded = load_engine(engine, MODELS[engine](tmp_path), threads=1)
    baseline = baseline_with(loaded)
    usual, shifted = seen(loaded, baseline, 0.5), seen(loaded, baseline, 1.0)
    assert (usual.state, shifted.state) == (State.STEADY, State.DRIFTED)
    assert [one.name for one in shifted.figures if one.ratio > 1] == ["scores"]


@pytest.mark.long
def test_another_second_class_is_told_by_a_server(tmp_path: Path, start_server: StartServer) -> None:
    model = of_onnx(tmp_path)
    engine, rng = load_engine("onnxruntime", model, threads=1), np.random.default_rng(2)
    golden = answered_by(engine, pictures(rng, either(rng, 5)))
    bundle = bundle_with(baseline_with(engine), tmp_path / "board", model, golden)
    server = start_server(bundle, "--privacy", "Statistics", "--drift-cycle-seconds", "0")
    client, deadline = Client(server.http, "board"), time.monotonic() + 5 * PATIENCE
    found: dict[str, Any] = {"state": "Learning"}
    while found["state"] == "Learning":
        assert time.monotonic() < deadline, found
        assert client.ask(pictures(rng, np.ones(8, np.int64))) == [200]
        found = json.loads(client.get("/drift")[1])
    above = [one["name"] for one in found["features"] if one["value"] > one["limit"]]
    assert (found["state"], above) == ("Drifted", ["scores"])
