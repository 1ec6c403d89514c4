"""Requests run together: each has its own answer, a lone one waits for nobody, and none fails for another."""

from __future__ import annotations

import random
import threading
import time
import weakref
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx
import pytest
import tritonclient.grpc
from onnx import TensorProto, helper

from edgesmith_runtime import inference as inferring
from edgesmith_runtime.batching import Batching, together, unbatched
from edgesmith_runtime.dispatcher import Dispatcher
from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.errors import AnswerFailed, BadRequest
from edgesmith_runtime.health import Health, Patience
from edgesmith_runtime.inference import inference, run_together
from edgesmith_runtime.loading import load
from edgesmith_runtime.mates import Together
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.service import LoadedModel, Service
from edgesmith_runtime.signature import InferRequest, ModelSignature, RequestedOutput
from edgesmith_runtime.tensors import TensorSpec
from tests.patience import PATIENCE
from tests.runtime.conftest import _bundle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import StartServer


class Doubling:
    """Answers twice its input, notes its batches, and can be held in the middle of a run."""

    inputs = (TensorSpec("x", "FP32", (-1, -1)),)
    outputs = (TensorSpec("double", "FP32", (-1, -1)), TensorSpec("sum", "FP32", (-1,)))
    warning = None

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.values = 0
        """The most values of one run: of as many requests, where each has a value of its own."""
        self.running = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, *, busy: bool = False
    ) -> dict[str, NDArray[Any]]:
        assert busy in {True, False}
        x = inputs["x"]
        self.batches.append(len(x))
        self.values = max(self.values, len(np.unique(x)))
        self.running.set()
        assert self.go_on.wait(PATIENCE)
        if (x < 0).any():
            raise EngineError("the model takes nothing below 0")
        found = {"double": x * 2, "sum": x.sum(axis=1)}
        return {name: found[name] for name in outputs or found}

    def settle(self) -> None: ...

    def close(self) -> None: ...


Answer = dict[str, Any]


class Requested(np.ndarray[Any, Any]):
    """A tensor that can be looked for as long as it is in memory."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # numpy's has none


class Asked:
    """A queue in front of an engine that runs requests together."""

    def __init__(self, engine: Doubling, *, most: int = 8, seconds: float = 0.0, workers: int = 1) -> None:
        metrics = Metrics()
        self.engine = engine
        self.queue = Dispatcher(workers=workers, limit=1000, metrics=metrics)
        self.queue.together = Together(run_together, most, seconds)
        health = Health(self.queue, Patience())
        self.service = Service(dispatcher=self.queue, health=health, metrics=metrics)
        specs = {spec.name: spec for spec in engine.inputs}, {spec.name: spec for spec in engine.outputs}
        self.model = LoadedModel(ModelSignature("m", "p", *specs, (), {"x": 8}), cast("Any", engine))
        self.read: weakref.WeakSet[Requested] = weakref.WeakSet()
        self.most_read = 0

    def ask(self, rows: int, value: float = 1.0, width: int = 3, wanted: Sequence[str] = ("sum",)) -> Future[Answer]:
        """Ask for rows of one value; one of -2 cannot even be read."""

        def decode() -> InferRequest:
            if value == UNREAD:
                raise BadRequest("it cannot be read")
            x = np.full((rows, width), value, np.float32).view(Requested)
            self.read.add(x)
            self.most_read = max(self.most_read, len(self.read))
            return InferRequest("", {"x": x}, tuple(RequestedOutput(name, binary=True) for name in wanted))

        def encode(_: InferRequest, answers: Mapping[str, NDArray[Any]]) -> Answer:
            if value == UNWRITTEN:
                raise BadRequest("its answer cannot be written")
            return {name: array.tolist() for name, array in answers.items()}

        job = inference(
            self.service,
            self.model,
            since=time.perf_counter(),
            decode=decode,
            encode=encode,
        )
        return self.service.queue(job)

    def behind(self, *requests: tuple[Any, ...]) -> list[Answer | BaseException]:
        """Ask while a first request is being run; errors as they are."""
        self.engine.go_on.clear()
        first = self.ask(1)
        assert self.engine.running.wait(PATIENCE)
        asked = [self.ask(*request) for request in requests]
        self.engine.go_on.set()
        first.result(PATIENCE)
        return [one.exception(PATIENCE) or one.result(PATIENCE) for one in asked]


def all_over(asked: Asked) -> None:
    """Wait until no place is taken: who asked is told a moment before that."""
    end = time.monotonic() + PATIENCE
    while asked.queue.pending:
        assert time.monotonic() < end, "a place is taken for ever"
        time.sleep(0.001)


UNREAD = -2.0
UNWRITTEN = 97.0


def test_who_comes_during_a_run_is_run_together() -> None:
    asked = Asked(Doubling())
    answers = asked.behind(*((1, value, 3, ("sum", "double")) for value in range(5)))
    assert asked.engine.batches == [1, 5]
    for value, answer in enumerate(answers):
        assert answer == {"sum": [3.0 * value], "double": [[2.0 * value] * 3]}
    all_over(asked)
    told = asked.service.statistics.document()
    assert (told["inference_count"], told["execution_count"]) == (6, 2)
    assert [one["batch_size"] for one in told["batch_stats"]] == [1, 5]


def test_a_batch_is_no_larger_than_it_may_be() -> None:
    asked = Asked(Doubling())
    answers = asked.behind((3, 1), (3, 2), (2, 3), (1, 4), (5, 5), (8, 6), (1, 7))
    assert asked.engine.batches == [1, 8, 6, 8, 1]
    assert [len(cast("Answer", answer)["sum"]) for answer in answers] == [3, 3, 2, 1, 5, 8, 1]


def test_no_more_requests_than_may_be_are_run_together() -> None:
    asked = Asked(Doubling(), most=3)
    asked.behind(*((1, value) for value in range(7)))
    assert asked.engine.batches == [1, 3, 3, 1]


def test_what_is_read_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests may be small as they come, and large when they have been read."""
    monkeypatch.setattr(inferring, "_MOST_READ", 30)
    asked = Asked(Doubling())
    answers = asked.behind(*((1, value) for value in range(7)))
    assert asked.engine.batches == [1, 3, 3, 1]
    assert answers == [{"sum": [3.0 * value]} for value in range(7)]
    assert asked.most_read == 3


def test_what_has_other_sizes_is_run_by_itself() -> None:
    asked = Asked(Doubling())
    answers = asked.behind((1, 1, 3), (1, 2, 4), (1, 3, 3), (1, 4, 4))
    assert asked.engine.batches == [1, 2, 2]
    assert answers == [{"sum": [3]}, {"sum": [8]}, {"sum": [9]}, {"sum": [16]}]


def test_what_fails_fails_alone() -> None:
    asked = Asked(Doubling())
    answers = asked.behind((1, 1), (1, -1), (1, UNREAD), (2, 2))
    assert asked.engine.batches == [1, 4, 1, 1, 2]
    assert (answers[0], answers[3]) == ({"sum": [3]}, {"sum": [6, 6]})
    assert [type(answer) for answer in answers[1:3]] == [AnswerFailed, BadRequest]
    all_over(asked)


def test_a_run_is_counted_though_the_first_of_its_answers_cannot_be_written() -> None:
    asked = Asked(Doubling())
    answers = asked.behind((1, UNWRITTEN), (1, 2), (1, 3))
    assert asked.engine.batches == [1, 3]
    assert [type(answers[0]), *answers[1:]] == [BadRequest, {"sum": [6]}, {"sum": [9]}]
    told = asked.service.statistics.document()
    assert (told["inference_count"], told["execution_count"]) == (3, 2)
    assert [one["batch_size"] for one in told["batch_stats"]] == [1, 3]


def test_who_leaves_is_left_out() -> None:
    asked = Asked(Doubling())
    asked.engine.go_on.clear()
    first = asked.ask(1)
    assert asked.engine.running.wait(PATIENCE)
    waits = [asked.ask(1), asked.ask(1)]
    assert waits[0].cancel()
    assert asked.queue.pending == 2
    asked.engine.go_on.set()
    first.result(PATIENCE)
    waits[1].result(PATIENCE)
    assert asked.engine.batches == [1, 1]


def test_what_waits_at_the_end_is_cancelled() -> None:
    asked = Asked(Doubling())
    asked.engine.go_on.clear()
    first = asked.ask(1)
    assert asked.engine.running.wait(PATIENCE)
    waits = asked.ask(1)
    asked.queue.close()
    assert waits.cancelled()
    asked.engine.go_on.set()
    assert first.result(PATIENCE) == {"sum": [3]}


def test_a_lone_request_waits_for_nobody() -> None:
    asked = Asked(Doubling(), seconds=PATIENCE * 10)
    for _ in range(3):
        assert asked.ask(1).result(PATIENCE) == {"sum": [3]}


@pytest.mark.parametrize("workers", [1, 4])
def test_as_many_as_last_time_are_waited_for(workers: int) -> None:
    asked = Asked(Doubling(), seconds=PATIENCE * 10, workers=workers)
    asked.queue.together = None
    asked.engine.go_on.clear()
    alone = [asked.ask(1) for _ in range(workers)]  # so that no thread is free
    end = time.monotonic() + PATIENCE
    while len(asked.engine.batches) < workers:
        assert time.monotonic() < end
    asked.queue.together = Together(run_together, 8, PATIENCE * 10)
    three = [asked.ask(1) for _ in range(3)]
    asked.engine.go_on.set()
    assert not wait([*alone, *three], PATIENCE).not_done
    again = [asked.ask(1), asked.ask(1)]
    assert not wait(again, 0.2).done, "a third is likely to come"
    assert asked.ask(1).result(PATIENCE) == {"sum": [3]}
    assert not wait(again, PATIENCE).not_done
    assert asked.engine.batches == [*[1] * workers, 3, 3]


def test_outputs_without_a_batch_are_answered_one_by_one() -> None:
    class Whole(Doubling):
        def infer(self, *args: Any, **kwargs: Any) -> dict[str, NDArray[Any]]:
            return super().infer(*args, **kwargs) | {"sum": np.zeros(7, np.float32)}

    asked = Asked(Whole())
    assert asked.behind((1,), (1,)) == [{"sum": [0] * 7}] * 2
    assert asked.engine.batches == [1, 2, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_each_has_its_own_answer(seed: int) -> None:
    asked = Asked(Doubling(), most=6, seconds=0.0005, workers=2)

    def ask(number: int) -> None:
        rng = random.Random(seed * 1000 + number)  # noqa: S311 - a test that repeats itself
        for step in range(40):
            count, width, wrong = rng.randint(1, 7), rng.choice((2, 2, 3)), rng.random() < 0.1
            value = number * 100 + step + 3
            wanted = rng.choice((["sum"], ["double"], ["sum", "double"], ["double", "sum"]))
            future = asked.ask(count, -value if wrong else value, width, wanted)
            if wrong:
                assert isinstance(future.exception(PATIENCE), AnswerFailed)
                continue
            expected = {"sum": [float(value * width)] * count, "double": [[2.0 * value] * width] * count}
            assert list(future.result(PATIENCE).items()) == [(name, expected[name]) for name in wanted]

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ask, number) for number in range(8)]:
            done.result(PATIENCE)
    assert asked.engine.values > 1
    all_over(asked)


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
    assert together(fine, batching) is not None
    assert together(fine, Batching()) is None
    wrong = load(mixing(tmp_path).folder, threads=1, max_batch=8, together=4)
    assert together(wrong, batching) is None
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
            done.result(PATIENCE)
    assert server.stop() == 0
    assert not [line for line in server.lines if line["level"] != "info"]
