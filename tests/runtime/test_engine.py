"""The registry of engines, and what ONNX Runtime does beyond what all of them do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from needs import beside
from onnx import TensorProto, helper, numpy_helper

from edgesmith_runtime.engine import ENGINES, EngineError, EngineInputError, engine_version, load_engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[2]


def test_types_without_a_name_are_refused(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT8E4M3FN, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "test", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(EngineError, match=r"input 'x' has type tensor\(float8e4m3fn\); expected a tensor of BOOL"):
        load_engine("onnxruntime", tmp_path / "model.onnx", threads=1)


def test_other_engines_are_refused(toy_model: Path) -> None:
    with pytest.raises(EngineError, match="engine 'tensorrt' is not known; expected one of "):
        load_engine("tensorrt", toy_model, threads=1)
    with pytest.raises(EngineError, match="engine 'tensorrt' is not known"):
        engine_version("tensorrt")


def test_engines_are_imported_when_asked_for() -> None:
    line = "import sys, edgesmith_runtime.loading; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", line], check=True, capture_output=True, text=True).stdout.split()
    assert "edgesmith_runtime.engine.registry" in modules
    assert not {"onnxruntime", *(f"edgesmith_runtime.engine.{name}" for name in ENGINES)} & set(modules)


def test_an_engine_that_is_not_installed_is_told(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "edgesmith_runtime.engine.onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match="engine 'onnxruntime' cannot be imported: "):
        load_engine("onnxruntime", toy_model, threads=1)


def test_options_that_an_engine_does_not_know_are_refused(toy_model: Path) -> None:
    with pytest.raises(EngineError, match="option 'device' is 'NPU', which engine onnxruntime does not know; expected"):
        load_engine("onnxruntime", toy_model, threads=1, options={"device": "NPU"})


def test_no_thread_spins_between_runs(toy_model: Path) -> None:
    engine: Any = load_engine("onnxruntime", toy_model, threads=2)
    for session in (engine._wide.session, engine._narrow.session):
        options = session.get_session_options()
        assert options.get_session_config_entry("session.force_spinning_stop") == "1"
        assert int(options.get_session_config_entry("session.intra_op.spin_duration_us")) <= 50


def test_the_first_run_warms_both_sessions(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = load_engine("onnxruntime", toy_model, threads=2)
    names = {engine._wide: "wide", engine._narrow: "narrow"}
    threads = [one.session.get_session_options().intra_op_num_threads for one in names]
    assert threads == [2, 1]
    asked: list[str] = []
    run = type(engine._wide).run

    def noted(self: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(names[self])
        return run(self, *arguments, **options)

    monkeypatch.setattr(type(engine._wide), "run", noted)
    x = {"x": np.ones((1, 4), np.float32)}
    with pytest.raises(EngineInputError):
        engine.infer({})
    engine.infer(x)
    engine.infer(x)
    assert asked == ["narrow", "wide", "wide"], "a request that was refused is no sample of what is usual"


def network(path: Path, nodes: list[Any], x: tuple[int, list[Any]], weights: tuple[NDArray[Any], ...] = ()) -> Path:
    """A model from ``x`` to ``y`` with weights ``w0``, ``w1`` and so on."""
    constants = [numpy_helper.from_array(array, f"w{index}") for index, array in enumerate(weights)]
    inputs = [helper.make_tensor_value_info("x", *x)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def test_usual_runs_keep_their_memory(toy_model: Path) -> None:
    given_back: list[bool] = []
    engine: Any = load_engine("onnxruntime", toy_model, threads=1)

    class Session:
        """ONNX Runtime's own, which runs nothing that is not noted."""

        def __init__(self, session: Any) -> None:
            self.session = session

        def run(self, outputs: Any, feeds: Any, options: Any) -> Any:
            try:
                given_back.append(options.get_run_config_entry("memory.enable_memory_arena_shrinkage") == "cpu:0")
            except RuntimeError:  # there is no such entry
                given_back.append(False)
            return self.session.run(outputs, feeds, options)

    engine._wide.session = Session(engine._wide.session)
    for size in (1, 2, 3, 1, 1):
        engine.infer({"x": np.ones((size, 4), np.float32)})
    assert given_back == [False, False, True, True, False], "a large run, and the one after it, which frees its answer"


FLOATS, WHOLE = TensorProto.FLOAT, TensorProto.INT64
FAILING: dict[str, tuple[Any, tuple[int, list[Any]], tuple[Any, ...], Any, type[EngineError], str]] = {
    "sizes": (
        helper.make_node("MatMul", ["x", "x"], ["y"], name="product"),
        (FLOATS, ["n", "m"]),
        (),
        np.ones((2, 3), np.float32),
        EngineInputError,
        "the model refused its inputs in its MatMul node product: MatMul dimension mismatch",
    ),
    "broadcast": (
        helper.make_node("Add", ["x", "w0"], ["y"]),
        (FLOATS, ["n", "m"]),
        (np.ones((2, 3), np.float32),),
        np.ones((2, 2), np.float32),
        EngineInputError,
        "the model refused its inputs in its Add node: Attempting to broadcast an axis by a dimension other than 1.",
    ),
    "reshape": (
        helper.make_node("Reshape", ["x", "w0"], ["y"]),
        (FLOATS, ["n"]),
        (np.array([2, -1]),),
        np.ones(3, np.float32),
        EngineInputError,
        "the model refused its inputs in its Reshape node: The input tensor cannot be reshaped to the requested shape.",
    ),
    "index": (
        helper.make_node("Gather", ["w0", "x"], ["y"]),
        (WHOLE, ["n"]),
        (np.ones((10, 3), np.float32),),
        np.array([10]),
        EngineInputError,
        "the model refused its inputs in its Gather node: indices element out of data bounds, idx=10 must be within",
    ),
    "memory": (
        helper.make_node("ConstantOfShape", ["x"], ["y"]),
        (WHOLE, [1]),
        (),
        np.array([2**42]),
        EngineError,
        "the model needs more memory than there is in its ConstantOfShape node",
    ),
    "beyond memory": (
        helper.make_node("ConstantOfShape", ["x"], ["y"]),
        (WHOLE, [1]),
        (),
        np.array([2**62]),
        EngineError,
        "the model needs more memory than there is in its ConstantOfShape node",
    ),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_failed_run_is_told_without_source_code(tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]) -> None:
    node, kind, weights, x, error, sentence = FAILING[case]
    engine = load_engine("onnxruntime", network(tmp_path / "model.onnx", [node], kind, weights), threads=1)
    with pytest.raises(EngineError) as caught:
        engine.infer({"x": x})
    assert type(caught.value) is error
    assert (str(caught.value) if error is EngineInputError else caught.value.message).startswith(sentence)
    assert not re.search(r"\.(h|cc)\b|onnxruntime", str(caught.value))
    assert capfd.readouterr().err == "", "the engine must not write lines of its own"


def test_a_locale_that_is_not_there_is_named(tmp_path: Path) -> None:
    text = helper.make_tensor_value_info("text", TensorProto.STRING, ["n"])
    node = helper.make_node("StringNormalizer", ["text"], ["small"], case_change_action="LOWER", locale="xx_XX.UTF-8")
    small = helper.make_tensor_value_info("small", TensorProto.STRING, ["n"])
    model = helper.make_model(helper.make_graph([node], "text", [text], [small]), ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    expected = (
        "asks for the locale 'xx_XX.UTF-8', which is not on this machine; 'C' was expected, which every machine has"
    )
    with pytest.raises(EngineError, match=expected):
        load_engine("onnxruntime", tmp_path / "model.onnx", threads=1)


def test_a_published_model_runs() -> None:
    engine = load_engine("onnxruntime", beside("data/onnx/mnist.onnx"), threads=2)
    (spec,) = engine.inputs
    (answer,) = engine.infer({spec.name: np.zeros([abs(size) for size in spec.shape], np.float32)}).values()
    assert answer.shape == (1, 10)
