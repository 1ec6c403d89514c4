"""What every engine does: specifications, answers, wrong inputs, many callers at once, memory."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from toys import LAYERS, TOLD, TOYS

from edgesmith_runtime.bundle import TensorSpec
from edgesmith_runtime.device import resident_memory, trim_heap
from edgesmith_runtime.engine import ENGINES, EngineError, EngineInputError, engine_version, load_engine

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.engine import Engine

PRODUCTS = {"edgetpu": "LiteRT", "litert": "LiteRT", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


ELSEWHERE = {"qnn"}
"""Engines of a vendor's packages, which the environment of the tests has not: tests/builder/test_qnn.py."""


@pytest.fixture(scope="module", params=[name for name in ENGINES if name not in ELSEWHERE])
def name(request: pytest.FixtureRequest) -> str:
    """Every engine there is; one without a toy model fails."""
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy model in the form that the engine takes."""
    return TOYS[name](tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def engine(name: str, model: Path) -> Engine:
    """The toy model on two threads, loaded once."""
    return load_engine(name, model, threads=2, options=TOLD.get(name, {}))


def test_it_names_its_version(name: str) -> None:
    assert callable(import_module(f"edgesmith_runtime.engine.{name}").load)
    assert re.fullmatch(rf"{name} \d+\.\d+\.\d+", engine_version(name))


def test_a_model_describes_itself(engine: Engine) -> None:
    assert engine.inputs == (TensorSpec("x", "FP32", (-1, 4)),)
    assert engine.outputs == (TensorSpec("relu", "FP32", (-1, 4)), TensorSpec("softmax", "FP32", (-1, 4)))


@pytest.mark.parametrize(("size", "busy"), [*product([1, 3, 1], [False, True])])
def test_answers_follow_the_batch(engine: Engine, size: int, busy: bool) -> None:  # noqa: FBT001 - pytest gives it
    x = np.random.default_rng(size).normal(size=(size, 4)).astype(np.float32)
    answers = engine.infer({"x": x}, busy=busy)
    assert list(answers) == ["relu", "softmax"]
    assert np.array_equal(answers["relu"], np.maximum(x, 0))
    assert np.allclose(answers["softmax"], np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), atol=1e-6)
    assert all(answer.dtype == np.float32 for answer in answers.values())


def test_outputs_come_in_the_order_asked_for(engine: Engine) -> None:
    x = {"x": np.ones((1, 4), np.float32)}
    assert list(engine.infer(x, ["softmax", "relu"])) == ["softmax", "relu"]
    assert list(engine.infer(x, ["softmax"])) == ["softmax"]


def test_an_answer_stays_what_it_was(engine: Engine) -> None:
    first = engine.infer({"x": np.full((1, 4), 1, np.float32)})["relu"]
    engine.infer({"x": np.full((1, 4), 2, np.float32)})
    assert first.tolist() == [[1, 1, 1, 1]]


def test_inputs_may_be_slices_that_lie_apart(engine: Engine) -> None:
    x = np.arange(16, dtype=np.float32).reshape(4, 4).T[::2]
    assert engine.infer({"x": x})["relu"].tolist() == x.tolist()


def test_many_callers_get_their_own_answers(engine: Engine) -> None:
    def call(seed: int) -> bool:
        x = np.random.default_rng(seed).normal(size=(seed % 3 + 1, 4)).astype(np.float32)
        return all(np.array_equal(engine.infer({"x": x}, ["relu"])["relu"], np.maximum(x, 0)) for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))


WRONG: dict[str, dict[str, Any]] = {
    "shape": {"x": np.ones((1, 5), np.float32)},
    "rank": {"x": np.ones(4, np.float32)},
    "type": {"x": np.ones((1, 4), np.float64)},
    "whole numbers": {"x": np.ones((1, 4), np.int32)},
    "name": {"y": np.ones((1, 4), np.float32)},
    "one too many": {"x": np.ones((1, 4), np.float32), "y": np.ones((1, 4), np.float32)},
    "none": {},
}


@pytest.mark.parametrize("inputs", WRONG.values(), ids=WRONG.keys())
def test_wrong_inputs_are_told_in_one_sentence(engine: Engine, inputs: dict[str, Any]) -> None:
    with pytest.raises(EngineInputError, match="the model refused its inputs") as caught:
        engine.infer(inputs)
    assert "\n" not in str(caught.value)
    assert engine.infer({"x": np.ones((1, 4), np.float32)})["relu"].tolist() == [[1, 1, 1, 1]], "and serves on"


def test_an_unknown_output_is_refused(engine: Engine) -> None:
    with pytest.raises(EngineInputError, match="z") as caught:
        engine.infer({"x": np.ones((1, 4), np.float32)}, ["z"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_other_files_are_refused(name: str, model: Path, tmp_path: Path, content: bytes | None) -> None:
    other = tmp_path / model.name
    if content is not None:
        other.write_bytes(content)
    with pytest.raises(EngineError, match=f"{re.escape(model.name)} cannot be loaded by {PRODUCTS[name]}: .") as caught:
        load_engine(name, other, threads=1, options=TOLD.get(name, {}))
    assert not re.search(r"\n|\.(h|cc|cpp):\d", str(caught.value))


def test_threads_are_at_least_one(name: str, model: Path) -> None:
    with pytest.raises(EngineError, match="threads is 0; expected at least 1"):
        load_engine(name, model, threads=0)


def test_an_option_that_it_does_not_know_is_refused(name: str, model: Path) -> None:
    with pytest.raises(EngineError, match=f"option 'cores' is 'all', which engine {name} does not know; expected "):
        load_engine(name, model, threads=1, options={**TOLD.get(name, {}), "cores": "all"})


QUIET = """
import json, sys
from pathlib import Path
import numpy as np
from edgesmith_runtime.engine import load_engine
engine = load_engine(sys.argv[1], Path(sys.argv[2]), threads=2, options=json.loads(sys.argv[3]))
engine.infer({"x": np.ones((1, 4), np.float32)}, busy=True)
engine.close()
"""


def test_nothing_of_its_own_gets_into_the_log(name: str, model: Path) -> None:
    command = [sys.executable, "-c", QUIET, name, str(model), json.dumps(TOLD.get(name, {}))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


def _memory() -> int:
    """What is resident once the C library has given back what it holds for later, as the server has it do."""
    trim_heap()
    return resident_memory()


LARGE = """
import json, sys
from pathlib import Path
import numpy as np
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.device import resident_memory, trim_heap
engine = load_engine(sys.argv[1], Path(sys.argv[2]), threads=2, options=json.loads(sys.argv[3]))
small, large = (np.zeros(shape, np.float32) for shape in json.loads(sys.argv[4]))
def memory():
    trim_heap()
    return resident_memory()
for busy in (False, True):
    engine.infer({"x": small}, busy=busy)
before = memory()
for busy in (False, True):
    engine.infer({"x": large}, busy=busy)
    engine.infer({"x": small}, busy=busy)
engine.settle()
print(memory() - before)
"""


def test_a_large_run_gives_its_memory_back(name: str, tmp_path: Path) -> None:
    """In a process of its own: in this one, the heap has what other tests have left of it."""
    write, shape = LAYERS[name]
    told = [json.dumps(TOLD.get(name, {})), json.dumps([shape(32), shape(1024)])]
    command = [sys.executable, "-c", LARGE, name, str(write(tmp_path)), *told]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 48 * 2**20, "each run needs 64 MiB between its two layers"


def test_a_closed_engine_leaves_nothing(name: str, tmp_path: Path) -> None:
    write, shape = LAYERS[name]
    model = write(tmp_path)
    x = {"x": np.zeros(shape(512), np.float32)}

    def once() -> int:
        engine = load_engine(name, model, threads=2, options=TOLD.get(name, {}))
        for busy in (False, True):
            engine.infer(x, busy=busy)
        engine.close()
        gc.collect()
        return _memory()

    first = once()
    last = max(once() for _ in range(3))
    assert last - first < 48 * 2**20, "an engine needs 32 MiB"
