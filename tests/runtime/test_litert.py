"""What LiteRT does beyond what all engines do."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from needs import beside
from published import grace_hopper, imagenet, mobilenet
from tflite import Operator, Tensor, options, write_tflite
from toys import TOYS

from edgesmith_runtime.bundle import TensorSpec
from edgesmith_runtime.engine import EngineError, EngineInputError, load_engine
from edgesmith_runtime.engine.litert import _Slot
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.engine import Engine


def reshaped(path: Path, kind: str) -> Path:
    """A model that answers its input [-1,2] as it came."""
    pattern = Tensor("pattern", [2], "int32", np.array([-1, 2], np.int32))
    tensors = [Tensor("x", [-1, 2], kind), Tensor("y", [-1, 2], kind), pattern]
    return write_tflite(path, tensors, [Operator("RESHAPE", ["x", "pattern"], ["y"])], ["x"], ["y"])


KINDS = {
    "BOOL": "BOOL",
    "UINT8": "UINT8",
    "UINT16": "UINT16",
    "UINT32": "UINT32",
    "UINT64": "UINT64",
    "INT8": "INT8",
    "INT16": "INT16",
    "INT32": "INT32",
    "INT64": "INT64",
    "FP16": "FLOAT16",
    "FP32": "FLOAT32",
    "FP64": "FLOAT64",
}


@pytest.mark.parametrize("datatype", KINDS)
def test_every_type_comes_back(tmp_path: Path, datatype: str) -> None:
    engine = load_engine("litert", reshaped(tmp_path / "model.tflite", KINDS[datatype]), threads=1)
    assert engine.inputs == (TensorSpec("x", datatype, (-1, 2)),)
    kind = {"BOOL": "bool", "FP16": "f2", "FP32": "f4", "FP64": "f8"}.get(datatype, datatype.lower())
    x = np.array([[0, 1], [1, 0], [1, 1]]).astype(kind)
    (answer,) = engine.infer({"x": x}).values()
    assert answer.dtype == x.dtype
    assert np.array_equal(answer, x)


def test_texts_come_back_as_their_bytes(tmp_path: Path) -> None:
    engine = load_engine("litert", reshaped(tmp_path / "model.tflite", "STRING"), threads=1)
    assert engine.inputs == (TensorSpec("x", "BYTES", (-1, 2)),)
    texts = ["", "grüße", "a\0b", "end\0"]
    (answer,) = engine.infer({"x": np.array(texts, np.object_).reshape(2, 2)}).values()
    assert answer.ravel().tolist() == [text.encode() for text in texts]


@pytest.mark.parametrize(("kind", "word"), [("COMPLEX64", "complex64"), ("RESOURCE", "object")])
def test_other_types_are_refused(tmp_path: Path, kind: str, word: str) -> None:
    with pytest.raises(EngineError, match=f"input 'x' has type {word}; expected a tensor of BOOL, UINT8"):
        load_engine("litert", reshaped(tmp_path / "model.tflite", kind), threads=1)


def test_fixed_sizes_stay(tmp_path: Path) -> None:
    tensors = [Tensor("x", [1, 4]), Tensor("y", [1, 4])]
    model = write_tflite(tmp_path / "model.tflite", tensors, [Operator("RELU", ["x"], ["y"])], ["x"], ["y"])
    engine = load_engine("litert", model, threads=1)
    assert engine.inputs == (TensorSpec("x", "FP32", (1, 4)),)
    with pytest.raises(EngineInputError, match=r"'x' is FP32 \[2,4\]; expected FP32 \[1,4\]"):
        engine.infer({"x": np.ones((2, 4), np.float32)})


def failing(path: Path, operator: Operator, x: tuple[list[int], str], constant: Any) -> Engine:
    """A model of one operator from ``x`` and a constant ``w`` to ``y``."""
    weights = Tensor("w", constant.shape, str(constant.dtype), constant)
    tensors = [Tensor("x", *x), Tensor("y", [-1, -1]), weights]
    return load_engine("litert", write_tflite(path, tensors, [operator], ["x"], ["y"]), threads=1)


def test_an_index_outside_is_the_clients_mistake(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gather = Operator("GATHER", ["w", "x"], ["y"], options("GatherOptions"))
    table = np.arange(30, dtype=np.float32).reshape(10, 3)
    engine = failing(tmp_path / "model.tflite", gather, ([-1], "int32"), table)
    with pytest.raises(EngineInputError) as caught:
        engine.infer({"x": np.array([10], np.int32)})
    assert str(caught.value) == "the model refused its inputs in its GATHER node 0: gather index out of bounds"
    assert engine.infer({"x": np.array([9], np.int32)})["y"].tolist() == [[27, 28, 29]]
    assert capfd.readouterr().err == ""


def test_sizes_that_do_not_go_together_are_the_clients_mistake(tmp_path: Path) -> None:
    add = Operator("ADD", ["x", "w"], ["y"], options("AddOptions"))
    engine = failing(tmp_path / "model.tflite", add, ([-1, -1], "float32"), np.ones((2, 3), np.float32))
    for _ in range(2):
        with pytest.raises(EngineInputError, match="the model refused its inputs in its TfLiteXNNPackDelegate node"):
            engine.infer({"x": np.ones((2, 2), np.float32)})
        assert engine.infer({"x": np.ones((2, 3), np.float32)})["y"].tolist() == [[2, 2, 2], [2, 2, 2]]


def test_what_no_input_is_to_blame_for_is_the_models_failure(tmp_path: Path) -> None:
    fill = Operator("FILL", ["x", "w"], ["y"])
    engine = failing(tmp_path / "model.tflite", fill, ([1], "int32"), np.float32(1).reshape(()))
    with pytest.raises(EngineError) as caught:
        engine.infer({"x": np.array([-5], np.int32)})
    assert caught.value.message.endswith("in its FILL node 0")


def test_operators_that_it_lacks_are_told(tmp_path: Path) -> None:
    tensors = [Tensor("x", [1]), Tensor("y", [1])]
    operator = Operator("CUSTOM", ["x"], ["y"], custom="Mine")
    model = write_tflite(tmp_path / "model.tflite", tensors, [operator], ["x"], ["y"])
    with pytest.raises(EngineError, match=r"^model\.tflite has operator 'Mine', which LiteRT does not have; expected"):
        load_engine("litert", model, threads=1)


def test_a_model_for_the_edge_tpu_is_told_from_others() -> None:
    model = beside("data/coral/mobilenet_v2_1.0_224_quant_edgetpu.tflite")
    with pytest.raises(
        EngineError, match=f"^{re.escape(model.name)} is compiled for the Edge TPU, which engine litert"
    ):
        load_engine("litert", model, threads=1)


def test_runs_at_once_have_an_interpreter_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = load_engine("litert", TOYS["litert"](tmp_path), threads=2)
    run, both, threads = _Slot.run, threading.Barrier(2, timeout=PATIENCE), []

    def held(self: Any, *arguments: Any) -> Any:
        threads.append(self._threads)
        if len(threads) <= both.parties:
            both.wait()
        return run(self, *arguments)

    monkeypatch.setattr(_Slot, "run", held)
    x = {"x": np.ones((1, 4), np.float32)}
    with ThreadPoolExecutor(2) as pool:
        for answer in [pool.submit(engine.infer, x, busy=True) for _ in range(2)]:
            answer.result(PATIENCE)
    assert threads == [1, 1], "requests that come together take a thread each"
    engine.infer(x)
    assert threads == [1, 1, 2], "a lone one takes them all"


@pytest.mark.parametrize("busy", [False, True])
def test_a_published_quantised_model_answers(busy: bool) -> None:  # noqa: FBT001 - pytest gives it
    engine = load_engine("litert", mobilenet(), threads=2)
    assert engine.inputs == (TensorSpec("input", "UINT8", (1, 224, 224, 3)),)
    (scores,) = engine.infer({"input": grace_hopper()}, busy=busy).values()
    assert scores.dtype == np.uint8
    assert imagenet()[int(scores.argmax())] == "military uniform"
