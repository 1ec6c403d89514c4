"""Requests run together: each has its own answer, a lone one waits for nobody, and none fails for another."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc
from onnx import TensorProto, helper

from edgesmith_runtime.batching import Batching, batched, unbatched
from edgesmith_runtime.engine import EngineError, EngineInputError
from edgesmith_runtime.engine.batching import BatchingEngine
from edgesmith_runtime.loading import load
from edgesmith_runtime.signature import ModelSignature
from edgesmith_runtime.tensors import TensorSpec
from tests.runtime.conftest import _bundle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import StartServer

LONG = 60.0


class Doubling:
    """Answers twice its input, notes its batches, and can be held in the middle of a run."""

    inputs = (TensorSpec("x", "FP32", (-1, -1)),)
    outputs = (TensorSpec("double", "FP32", (-1, -1)), TensorSpec("sum", "FP32", (-1,)))
    warning = None

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.running = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, *, busy: bool = False
    ) -> dict[str, NDArray[Any]]:
        assert not busy or self.batches is not None
        x = inputs["x"]
        self.batches.append(len(x))
        self.running.set()
        assert self.go_on.wait(LONG)
        if (x < 0).any():
            raise EngineError("the model takes nothing below 0")
        found = {"double": x * 2, "sum": x.sum(axis=1)}
        return {name: found[name] for name in outputs or found}

    def settle(self) -> None: ...

    def close(self) -> None: ...


class Asked:
    """How many requests are on their way, as a test says."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def coming(self) -> int:
        return self.count

    def ran(self) -> None: ...


def rows(count: int, value: float = 1.0, width: int = 3) -> dict[str, NDArray[Any]]:
    return {"x": np.full((count, width), value, np.float32)}


def together(engine: Doubling, feeds: Sequence[dict[str, NDArray[Any]]], most: int = 8) -> list[Any]:
    """Ask while a first request is being run, so that all of them come before the next run; errors as they are."""
    queue = Asked(0)
    batching = BatchingEngine(engine, most=most, wait=0.0, queue=queue)
    engine.go_on.clear()
    with ThreadPoolExecutor(len(feeds) + 1) as pool:
        first = pool.submit(batching.infer, rows(1))
        assert engine.running.wait(LONG)
        asked = []
        for count, feed in enumerate(feeds, 1):
            asked.append(pool.submit(batching.infer, feed))
            while len(batching._waiting) < count and not asked[-1].done() and len(engine.batches) < count + 1:
                pass
        engine.go_on.set()
        first.result(LONG)
        return [one.exception(LONG) or one.result(LONG) for one in asked]


def test_who_comes_during_a_run_is_run_together() -> None:
    engine = Doubling()
    answers = together(engine, [rows(1, value) for value in range(5)])
    assert engine.batches == [1, 5]
    for value, answer in enumerate(answers):
        assert answer["double"].tolist() == [[2.0 * value] * 3]
        assert answer["sum"].tolist() == [3.0 * value]


def test_a_batch_is_no_larger_than_it_may_be() -> None:
    engine = Doubling()
    together(engine, [rows(3), rows(3), rows(2), rows(1), rows(5)])
    assert engine.batches == [1, 8, 6]


def test_what_has_other_sizes_is_run_by_itself() -> None:
    engine = Doubling()
    answers = together(engine, [rows(1, 1, 3), rows(1, 2, 4), rows(1, 3, 3), rows(1, 4, 4)])
    assert engine.batches == [1, 2, 2]
    assert [answer["sum"].tolist() for answer in answers] == [[3], [8], [9], [16]]


def test_what_fails_fails_alone() -> None:
    engine = Doubling()
    answers = together(engine, [rows(1, 1), rows(1, -1), rows(2, 2)])
    assert engine.batches == [1, 4, 1, 1, 2]
    assert isinstance(answers[1], EngineError)
    assert [answers[0]["sum"].tolist(), answers[2]["sum"].tolist()] == [[3], [6, 6]]


def test_a_request_of_the_largest_batch_is_run_by_itself() -> None:
    engine = Doubling()
    together(engine, [rows(8)], most=8)
    assert engine.batches == [1, 8]


def test_a_lone_request_waits_for_nobody() -> None:
    engine = Doubling()
    batching = BatchingEngine(engine, most=8, wait=LONG, queue=Asked(1))
    assert batching.infer(rows(1), ["sum"])["sum"].tolist() == [3]
    with pytest.raises(EngineInputError, match="'other' is not one of the model's"):
        batching.infer(rows(1), ["other"])


def test_who_is_on_the_way_is_waited_for_and_no_longer_than_allowed() -> None:
    engine = Doubling()
    batching = BatchingEngine(engine, most=8, wait=LONG, queue=Asked(3))
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda value: batching.infer(rows(1, value)), range(3)))
    assert engine.batches == [3]
    assert [answer["sum"].tolist() for answer in answers] == [[0], [3], [6]]
    hasty = BatchingEngine(engine, most=8, wait=0.05, queue=Asked(3))
    hasty.infer(rows(1))
    assert engine.batches == [3, 1]


def test_outputs_without_a_batch_end_it() -> None:
    class Whole(Doubling):
        def infer(self, *args: Any, **kwargs: Any) -> dict[str, NDArray[Any]]:
            return super().infer(*args, **kwargs) | {"sum": np.zeros(7, np.float32)}

    engine = Whole()
    answers = together(engine, [rows(1, 1), rows(1, 2)])
    assert engine.batches == [1, 2, 1, 1]
    assert [answer["double"].tolist() for answer in answers] == [[[2] * 3], [[4] * 3]]


@pytest.mark.parametrize("seed", range(3))
def test_each_has_its_own_answer(seed: int) -> None:
    engine, queue = Doubling(), Asked(4)
    batching = BatchingEngine(engine, most=6, wait=0.0005, queue=queue)

    def ask(number: int) -> None:
        rng = random.Random(seed * 1000 + number)  # noqa: S311 - a test that repeats itself
        for step in range(40):
            count, width, wrong = rng.randint(1, 7), rng.choice((2, 2, 3)), rng.random() < 0.1
            value = number * 100 + step + 1
            wanted = rng.choice((None, ["sum"], ["double"], ["sum", "double"]))
            feed = rows(count, -value if wrong else value, width)
            try:
                found = batching.infer(feed, wanted)
            except EngineError:
                assert wrong
                continue
            assert not wrong
            assert list(found) == (wanted or ["double", "sum"])
            if "sum" in found:
                assert found["sum"].tolist() == [float(value * width)] * count
            if "double" in found:
                assert found["double"].tolist() == [[2.0 * value] * width] * count

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ask, number) for number in range(8)]:
            done.result(LONG)
    assert not batching._waiting
    assert not batching._running


X, FIXED = TensorSpec("x", "FP32", (-1, 4)), TensorSpec("x", "FP32", (1, 4))
TABLE = {
    "open": (X, TensorSpec("y", "FP32", (-1, 2)), True, 8, None),
    "a batch of one": (X, TensorSpec("y", "FP32", (-1, 2)), True, 1, "a batch has 1 at most"),
    "a fixed input": (FIXED, TensorSpec("y", "FP32", (-1, 2)), False, 8, "input 'x' has no batch"),
    "an open size that is no batch": (X, TensorSpec("y", "FP32", (-1, 2)), False, 8, "input 'x' has no batch"),
    "a fixed output": (X, TensorSpec("y", "FP32", (1, 2)), True, 8, "output 'y' has no batch"),
    "an output of no rank": (X, TensorSpec("y", "FP32", ()), True, 8, "output 'y' has no batch"),
}


@pytest.mark.parametrize(("given", "answered", "batch", "size", "reason"), TABLE.values(), ids=TABLE.keys())
def test_what_can_be_run_together(
    given: TensorSpec,
    answered: TensorSpec,
    batch: bool,  # noqa: FBT001
    size: int,
    reason: str | None,
) -> None:
    signature = ModelSignature("m", "p", {"x": given}, {"y": answered}, (), {"x": 8} if batch else {})
    found = unbatched(signature, size)
    assert found is None if reason is None else (found or "").startswith(reason)


def mixing(folder: Path) -> Bundle:
    """A model whose answer to a sample depends on the others of its batch."""
    nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=0)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 4)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "mixing", values[:1], values[1:])
    path = folder / "mixing.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    samples = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    return _bundle(folder, "mixing", path, {"x": samples}, ())


def test_golden_samples_say_whether_a_model_takes_batches(
    toy: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batching = Batching(0.001, 4)
    fine = load(toy.folder, threads=2, max_batch=8, together=4)
    assert isinstance(batched(fine, batching, Asked()).model.engine, BatchingEngine)
    assert batched(fine, Batching(), Asked()) is fine
    wrong = load(mixing(tmp_path).folder, threads=1, max_batch=8, together=4)
    assert batched(wrong, batching, Asked()) is wrong
    assert "requests are not run together: in a batch, output 'y' of sample 0" in caplog.text


def test_a_server_that_runs_requests_together_answers_each_its_own(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--batch-latency-ms", "2", "--batch-size", "4", "--threads", "2")

    def ask(number: int) -> None:
        with closing(tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")) as client:
            for step in range(30):
                x = np.full((1 + step % 3, 4), number * 100 + step, np.float32)
                given = tritonclient.grpc.InferInput("x", list(x.shape), "FP32")
                given.set_data_from_numpy(x)
                assert np.array_equal(client.infer("toy", [given]).as_numpy("relu"), x)

    with ThreadPoolExecutor(12) as pool:
        for done in [pool.submit(ask, number) for number in range(12)]:
            done.result(LONG)
    assert server.stop() == 0
    assert not [line for line in server.lines if line["level"] != "info"]
