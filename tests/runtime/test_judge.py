"""Whom a server asks: the server before it for figures, its own model for golden samples, its notes for both."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from edgesmith_runtime.dispatcher import Dispatcher
from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.judging.bounds import Gates
from edgesmith_runtime.judging.confidence import confidence_of, probabilities, with_numbers
from edgesmith_runtime.judging.figures import Figures
from edgesmith_runtime.judging.judge import Judge
from edgesmith_runtime.judging.notes import Notes
from edgesmith_runtime.judging.previous import ask
from edgesmith_runtime.judging.replaying import Replay
from edgesmith_runtime.judging.sketch import BUCKETS
from edgesmith_runtime.judging.traffic import Traffic
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.services import service_of
from edgesmith_runtime.tensors import TensorSpec
from tests.patience import PATIENCE
from tests.runtime.judged import told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class Played:
    """A server that answers with the same bytes, whatever is asked."""

    def __init__(self, answer: bytes, *, hangs: bool = False) -> None:
        self.answer, self.hangs, self.asked = answer, hangs, b""
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        if not self.hangs:
            writer.close()


def answered(answer: bytes, *, own: str = "me", hangs: bool = False) -> tuple[Figures | None, bytes]:
    async def once() -> tuple[Figures | None, bytes]:
        async with Played(answer, hangs=hangs) as played:
            return await ask("127.0.0.1", played.port, own=own), played.asked

    return asyncio.run(once())


def page_of(body: bytes, status: str = "200 OK", length: object = None) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def test_the_other_server_is_asked_for_its_figures() -> None:
    found, asked = answered(page_of(told().text()))
    assert found == told()
    assert asked.startswith(b"GET /traffic HTTP/1.1\r\nHost: 127.0.0.1:")


NO_ANSWER = {
    "an older server": page_of(b'{"error": "path /traffic is not known"}', "404 Not Found"),
    "not ready": page_of(told().text(), "503 Service Unavailable"),
    "no length": b"HTTP/1.1 200 OK\r\n\r\n" + told().text(),
    "too long": page_of(told().text(), length=10**9),
    "a length that is none": page_of(told().text(), length="-5"),
    "shorter than it says": page_of(told().text(), length=len(told().text()) + 1),
    "headers without end": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000,
    "nothing": b"",
    "something else": page_of(b"ok"),
}


@pytest.mark.parametrize("answer", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_whoever_does_not_answer_as_a_server_does_is_nobody(answer: bytes) -> None:
    assert answered(answer)[0] is None


def test_a_server_does_not_compare_itself_with_itself() -> None:
    assert answered(page_of(told().text()), own="i")[0] is None


def test_who_says_nothing_is_waited_for_no_longer_than_two_seconds() -> None:
    assert answered(b"HTTP/1.1 200 OK\r\n", hangs=True)[0] is None


def test_where_nobody_listens_nobody_answers() -> None:
    assert asyncio.run(ask("127.0.0.1", 1, own="me")) is None


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"LINE_7_SERVICE_HOST": "10.0.0.7", "LINE_7_SERVICE_PORT_HTTP": "8000"}, ("10.0.0.7", 8000)),
        ({"LINE_7_SERVICE_HOST": "fd00::7", "LINE_7_SERVICE_PORT_HTTP": "80"}, ("fd00::7", 80)),
        ({"LINE_7_SERVICE_HOST": "10.0.0.7"}, None),
        ({"LINE_7_SERVICE_HOST": "10.0.0.7", "LINE_7_SERVICE_PORT_HTTP": "tcp://10.0.0.7:80"}, None),
        ({}, None),
    ],
)
def test_kubernetes_says_where_the_service_is(variables: dict[str, str], found: tuple[str, int] | None) -> None:
    assert service_of("line-7", variables) == found


class Model:
    """An engine whose answers a test chooses."""

    inputs = (TensorSpec("x", "FP32", (-1, 2)),)
    outputs = (TensorSpec("raw", "FP32", (-1, 2)), TensorSpec("y", "FP32", (-1, 2)))
    warning = None

    def __init__(self) -> None:
        self.wrong: list[bool | EngineError] = []
        """What goes wrong with the next runs."""
        self.runs = 0

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, *, busy: bool = False
    ) -> dict[str, NDArray[Any]]:
        del outputs, busy
        self.runs += 1
        fault = self.wrong.pop(0) if self.wrong else False
        if isinstance(fault, EngineError):
            raise fault
        raw = inputs["x"] * (3 if fault else 1)
        return {"raw": raw, "y": np.exp(raw) / np.exp(raw).sum(axis=-1, keepdims=True)}

    def settle(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""


INPUTS = np.array([[1, 2], [0, 3], [2, 2]], np.float32)


def golden_of(model: Model) -> Golden:
    return Golden.of({"x": INPUTS}, model.infer({"x": INPUTS}), 0.05)


def test_the_output_whose_rows_add_up_to_one_says_how_sure_the_model_is() -> None:
    assert probabilities(Model(), golden_of(Model())) == "y"
    spoilt = Model()
    spoilt.wrong = [EngineError("gone")]
    assert probabilities(spoilt, golden_of(Model())) is None
    assert confidence_of(np.array([[0.5, 0.5], [0.1, 0.9]], np.float32)) == pytest.approx(0.7)
    assert confidence_of(np.array([0.2, 0.8])) == pytest.approx(0.8)
    assert confidence_of(np.array([[1.02, 0.0]])) == 1
    assert confidence_of(np.zeros((0, 2))) is None


def test_an_output_whose_golden_answers_have_infinities_may_have_them() -> None:
    model = Model()
    golden = golden_of(model)
    assert with_numbers(model, golden) == ("raw", "y")
    endless = Golden.of({"x": INPUTS}, {"raw": np.array([[1, -np.inf]] * 3, np.float32), "y": INPUTS}, 0.05)
    assert with_numbers(model, endless) == ("y",)


class Round:
    """Golden samples replayed by a clock that a test sets."""

    def __init__(self, model: Model, dispatcher: Dispatcher, metrics: Metrics) -> None:
        self.metrics = metrics
        self.replay = Replay(dispatcher, model, golden_of(Model()), metrics=metrics, interval=60.0, now=0.0)
        self._dispatcher = dispatcher

    def look(self, now: float) -> str | None:
        """Look twice, with the end of what that starts in between; the reason of what is found."""
        found = self.replay.look(now)
        while self._dispatcher.pending:
            threading.Event().wait(0.001)
        found = found or self.replay.look(now)
        return f"{found.reason}: {found.message}" if found else None


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def dispatcher(metrics: Metrics) -> Iterator[Dispatcher]:
    made = Dispatcher(workers=1, limit=8, metrics=metrics)
    yield made
    made.close()


def test_golden_samples_are_asked_for_in_turn_once_in_each_interval(dispatcher: Dispatcher, metrics: Metrics) -> None:
    model = Model()
    rounds = Round(model, dispatcher, metrics)
    assert [rounds.look(now) for now in (0, 59)] == [None, None]
    assert model.runs == 0
    assert [rounds.look(now) for now in (60, 61, 62, 63, 64, 121)] == [None] * 6
    assert model.runs == 3
    rounds.look(122)
    assert model.runs == 4
    assert metrics.get("edgesmith_golden_replays_total", "agrees") == 4


def test_one_wrong_answer_is_asked_for_again_and_two_end_the_server(dispatcher: Dispatcher, metrics: Metrics) -> None:
    model = Model()
    rounds = Round(model, dispatcher, metrics)
    model.wrong = [True, False, EngineError("it hung up"), True]
    assert [rounds.look(now) for now in (60, 61, 62)] == [None, None, None]
    found = rounds.look(63)
    assert found is not None
    assert found.startswith("GoldenMismatch: while serving, twice in a row, output 'raw' of sample 1 has ")
    assert metrics.get("edgesmith_golden_replays_total", "differs") == 2
    assert metrics.get("edgesmith_golden_replays_total", "failed") == 1


def test_an_engine_that_fails_twice_ends_the_server(dispatcher: Dispatcher, metrics: Metrics) -> None:
    model = Model()
    rounds = Round(model, dispatcher, metrics)
    model.wrong = [EngineError("it hung up"), EngineError("it hung up")]
    assert rounds.look(60) is None
    assert rounds.look(61) == "EngineFailed: golden sample 0 failed twice while serving: it hung up"


def test_while_requests_are_answered_no_sample_is_asked_for(dispatcher: Dispatcher, metrics: Metrics) -> None:
    model, going, go_on = Model(), threading.Event(), threading.Event()
    rounds = Round(model, dispatcher, metrics)

    def request(busy: bool) -> None:  # noqa: FBT001 - the queue calls it
        del busy
        going.set()
        assert go_on.wait(PATIENCE)

    asked = dispatcher.submit(request)
    assert going.wait(PATIENCE)
    assert rounds.replay.look(100) is None
    assert dispatcher.pending == 1, "nothing waits behind the request"
    go_on.set()
    asked.result(PATIENCE)
    while dispatcher.pending:
        threading.Event().wait(0.001)
    rounds.look(101)
    assert model.runs == 1


def test_a_server_looks_for_the_one_before_it_until_it_answers(
    dispatcher: Dispatcher, metrics: Metrics, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edgesmith_runtime.judging.judge._ASK", 0.01)
    replay = Replay(dispatcher, Model(), golden_of(Model()), metrics=metrics, interval=0, now=0)
    traffic = Traffic("new")
    for _ in range(3):
        traffic.failed()
    other = replace(told(model="old"), taken=(400, *([0] * (BUCKETS - 1))))
    own = page_of(traffic.figures().text())

    async def both() -> None:
        async with Played(own) as played:
            judge = Judge(Gates(), traffic, replay, ("127.0.0.1", played.port), Notes.read(tmp_path))
            running = asyncio.ensure_future(judge.run())
            while not played.asked:  # noqa: ASYNC110 - another task sets it
                await asyncio.sleep(0.01)
            judge.tell(metrics)
            assert metrics.get("edgesmith_previous_known") == 0
            played.answer = page_of(other.text())
            while not traffic.before:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            judge.tell(metrics)
            running.cancel()

    asyncio.run(asyncio.wait_for(both(), PATIENCE))
    assert metrics.get("edgesmith_previous_known") == 1
    assert metrics.get("edgesmith_runs_total", "failed") == 3
    assert 0 < metrics.get("edgesmith_gate_evidence", "errors") < 1
    assert Notes.read(tmp_path).before == "old", "known after a restart, too"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{" * 5000, '{"over": 1, "before": 7}', '{"before": "%s"}' % ("m" * 301)]
)
def test_notes_that_cannot_be_read_say_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "edgesmith-judging.json").write_text(text)
    found = Notes.read(tmp_path)
    assert (found.over, found.before) == (False, "")


def test_notes_that_cannot_be_kept_are_not(tmp_path: Path) -> None:
    Notes(tmp_path / "nowhere", over=True).keep()
    Notes(None, over=True).keep()
    assert Notes.read(tmp_path / "nowhere").over is False
    assert Notes.read(None).folder is None
