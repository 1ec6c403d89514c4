"""The engine: what it loads, what it refuses, and many callers at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from needs import beside
from onnx import TensorProto, helper

from edgesmith_runtime.bundle import TensorSpec
from edgesmith_runtime.engine import EngineError, EngineInputError, engine_version, load_engine

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_model_describes_itself(toy_model: Path) -> None:
    engine = load_engine("onnxruntime", toy_model, threads=2)
    assert engine.inputs == (TensorSpec("x", "FP32", (-1, 4)),)
    assert engine.outputs == (TensorSpec("relu", "FP32", (-1, 4)), TensorSpec("softmax", "FP32", (-1, 4)))
    engine.close()


@pytest.mark.parametrize("busy", [False, True])
def test_outputs_come_in_the_order_asked_for(toy_model: Path, busy: bool) -> None:  # noqa: FBT001 - pytest gives it
    engine = load_engine("onnxruntime", toy_model, threads=2)
    answers = engine.infer({"x": np.ones((1, 4), np.float32)}, ["softmax", "relu"], busy=busy)
    assert list(answers) == ["softmax", "relu"]


def test_many_callers_get_their_own_answers(toy_model: Path) -> None:
    engine = load_engine("onnxruntime", toy_model, threads=2)

    def call(seed: int) -> bool:
        x = np.random.default_rng(seed).normal(size=(100, 4)).astype(np.float32)
        return all(np.array_equal(engine.infer({"x": x}, ["relu"])["relu"], np.maximum(x, 0)) for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))


WRONG: dict[str, dict[str, Any]] = {
    "shape": {"x": np.ones((1, 5), np.float32)},
    "type": {"x": np.ones((1, 4), np.float64)},
    "name": {"y": np.ones((1, 4), np.float32)},
    "none": {},
}


@pytest.mark.parametrize("inputs", WRONG.values(), ids=WRONG.keys())
def test_wrong_inputs_are_told_in_one_sentence(toy_model: Path, inputs: dict[str, Any]) -> None:
    with pytest.raises(EngineInputError, match="the model refused its inputs: ") as caught:
        load_engine("onnxruntime", toy_model, threads=1).infer(inputs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(EngineError, match=r"model\.onnx cannot be loaded by ONNX Runtime"):
        load_engine("onnxruntime", tmp_path / "model.onnx", threads=1)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"model\.onnx cannot be loaded by ONNX Runtime"):
        load_engine("onnxruntime", tmp_path / "model.onnx", threads=1)


def test_types_without_a_name_are_refused(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.BFLOAT16, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "test", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(EngineError, match=r"input 'x' has type tensor\(bfloat16\); expected a tensor of BOOL"):
        load_engine("onnxruntime", tmp_path / "model.onnx", threads=1)


def test_other_engines_are_refused(toy_model: Path) -> None:
    with pytest.raises(EngineError, match="engine 'tensorrt' is not known; expected one of onnxruntime"):
        load_engine("tensorrt", toy_model, threads=1)
    with pytest.raises(EngineError, match="engine 'tensorrt' is not known"):
        engine_version("tensorrt")


def test_threads_are_at_least_one(toy_model: Path) -> None:
    with pytest.raises(EngineError, match="threads is 0; expected at least 1"):
        load_engine("onnxruntime", toy_model, threads=0)


def test_a_published_model_runs() -> None:
    engine = load_engine("onnxruntime", beside("data/onnx/mnist.onnx"), threads=2)
    (spec,) = engine.inputs
    (answer,) = engine.infer({spec.name: np.zeros([abs(size) for size in spec.shape], np.float32)}).values()
    assert answer.shape == (1, 10)
