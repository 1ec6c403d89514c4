"""``ModelStreamInfer``: requests answered in their order, mistakes answered in their place, and every end of a call."""

from __future__ import annotations

import asyncio
import queue
import signal
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import grpc
import numpy as np
import pytest
import tritonclient.grpc

from edgesmith_runtime.http.limits import MEBIBYTE
from edgesmith_runtime.rpc.call import Call, Method
from tests.patience import PATIENCE
from tests.runtime.calls import calling
from tests.runtime.held import HELD, Hold
from tests.runtime.http2 import DATA, SETTINGS, WINDOW_UPDATE, frame
from tests.runtime.pages import until
from tests.runtime.test_clients import tensor
from tests.runtime.test_metrics import scrape

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.bundle import Bundle
    from edgesmith_runtime.rpc.server import GrpcServer
    from tests.runtime.conftest import Server, StartServer

messages = tritonclient.grpc.service_pb2
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


def request(value: float, identity: str = "", rows: int = 1, **fields: Any) -> Any:
    made = messages.ModelInferRequest(**({"model_name": "toy", "id": identity, "outputs": [{"name": "relu"}]} | fields))
    made.inputs.add(name="x", datatype="FP32", shape=[rows, 4])
    made.raw_input_contents.append(np.full((rows, 4), value, "<f4").tobytes())
    return made


def streamed(server: Server, requests: Iterator[Any]) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        stub = tritonclient.grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        yield from stub.ModelStreamInfer(requests, timeout=PATIENCE)


def first(answer: Any) -> float:
    return float(np.frombuffer(answer.infer_response.raw_output_contents[0], "<f4")[0])


def test_answers_come_in_the_order_of_requests(toy_server: Server) -> None:
    found = list(streamed(toy_server, (request(value, f"n{value}", rows=value % 7 + 1) for value in range(200))))
    assert [answer.infer_response.id for answer in found] == [f"n{value}" for value in range(200)]
    assert [first(answer) for answer in found] == list(range(200))
    assert all(answer.error_message == "" for answer in found)
    assert all(answer.infer_response.parameters["triton_final_response"].bool_param for answer in found)


def test_a_mistake_is_answered_in_its_place(toy_server: Server) -> None:
    wrong = request(1, "wrong")
    wrong.inputs[0].name = "z"
    odd = request(1, "odd")
    odd.parameters["triton_x"].bool_param = True
    final = request(4, "final")
    final.parameters["triton_enable_empty_final_response"].bool_param = True
    asked = [request(1, "a"), wrong, request(2, "b", model_name="other"), odd, final, request(3, "c")]
    found = list(streamed(toy_server, iter(asked)))
    assert [answer.infer_response.id for answer in found] == ["a", "wrong", "b", "odd", "final", "c"]
    assert [answer.error_message for answer in found] == [
        "",
        "input 'z' is not one of the model's; expected 'x'",
        "model 'other' is not served here; expected 'toy'",
        "parameter 'triton_x' is reserved; expected no name that begins with 'triton_'",
        "",
        "",
    ]
    assert not found[1].infer_response.outputs
    assert [first(found[index]) for index in (0, 4, 5)] == [1, 4, 3]


def test_a_message_that_is_none_is_answered_too(toy_server: Server) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{toy_server.grpc}") as channel:
        method: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(STREAM)
        sent = [b"\xff\xff", request(7).SerializeToString(), b""]
        found = [
            messages.ModelStreamInferResponse.FromString(answer) for answer in method(iter(sent), timeout=PATIENCE)
        ]
    assert found[0].error_message.startswith("the message ")
    assert first(found[1]) == 7
    assert "model '' is not served here" in found[2].error_message


def test_a_stream_without_requests_ends(toy_server: Server) -> None:
    assert list(streamed(toy_server, iter(()))) == []


def test_streams_that_ended_take_no_place(toy_server: Server) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{toy_server.grpc}") as channel:  # one connection, which has 64 places
        stub = tritonclient.grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(70):
            assert len(list(stub.ModelStreamInfer(iter([request(1)]), timeout=PATIENCE))) == 1


def test_tritonclient_streams(toy_server: Server) -> None:
    answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    with closing(tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{toy_server.grpc}")) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for value in range(3):
            x = np.full((1, 4), value, np.float32)
            options = {"enable_empty_final_response": True} if value else {}
            given = [tensor(tritonclient.grpc, "x", x, "FP32")]
            client.async_stream_infer("toy" if value != 1 else "other", given, request_id=str(value), **options)
        found = [answers.get(timeout=PATIENCE) for _ in range(3)]
        client.stop_stream()
    (zero, none), (nothing, error), (two, _) = found
    assert (none, nothing) == (None, None)
    assert "model 'other' is not served here" in error.message()
    assert [one.as_numpy("relu")[0, 0] for one in (zero, two)] == [0, 2]
    assert [one.get_response().id for one in (zero, two)] == ["0", "2"]


class Requests:
    """Requests that come when a test says so."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def send(self, message: Any) -> None:
        self._queue.put(message)

    def end(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._queue.get, None)


def test_a_stream_that_waits_does_not_hold_up_the_end(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder)
    requests = Requests()
    answers = streamed(server, iter(requests))
    requests.send(request(5))
    assert first(next(answers)) == 5
    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(grpc.RpcError, match="the server is stopping; ask another") as caught:
        next(answers)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    requests.end()
    assert server.stop() == 0


def test_requests_of_streams_count(toy: Bundle, start_server: StartServer, tmp_path: Path) -> None:
    hold = Hold(tmp_path)
    server = start_server(toy.folder, "--queue", "1", "--threads", "1", hold.option, program=HELD)
    hold.begin()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(lambda: list(streamed(server, iter([request(number) for number in range(3)]))))
        try:
            while "\nedgesmith_requests_in_flight 1\n" not in scrape(server):
                pass
            (refused,) = streamed(server, iter([request(4, "another")]))
        finally:
            hold.end()
        assert "1 requests are in flight, which is the limit" in refused.error_message
        assert refused.infer_response.id == "another"
        assert [first(one) for one in busy.result(PATIENCE)] == [0, 1, 2]
    assert server.stop() == 0


RUN = {b":path": b"/test.Test/Run"}


def framed(size: int) -> bytes:
    return b"\0" + size.to_bytes(4, "big") + bytes(size)


async def test_a_stream_gives_back_what_each_request_took() -> None:
    held: list[int] = []
    sizes = [600_000, 5, 700_000, 1]
    async with calling(body=MEBIBYTE, bodies=MEBIBYTE) as (server, client):

        def answer(message: bytes | memoryview, _: Call) -> bytes:
            held.append(MEBIBYTE - server.budget.left)
            return bytes(message[:1])

        server_methods(server)[b"/test.Test/Run"] = Method("other", answer, streams=True)
        client.begin(1, changes=RUN)
        for size in sizes:
            client.send(1, framed(size))
        client.send(1, b"", ends=True)
        assert await client.status(1) == "0"
        assert held == sizes
        assert server.budget.left == MEBIBYTE
        assert [data for kind, _, _, data in client.frames if kind == DATA] == [b"\0\0\0\0\1\0"] * 4


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    answered: list[None] = []
    async with calling(unread=0.3) as (server, client):

        def answer(_message: bytes | memoryview, _call: Call) -> bytes:
            answered.append(None)
            return bytes(3 * MEBIBYTE)

        server_methods(server)[b"/test.Test/Run"] = Method("other", answer, streams=True)
        client.begin(1, changes=RUN)
        client.send(1, framed(1) * 50)
        assert await client.codes(1) == [8], "CANCEL: it gave no leave for more than its first window"
        assert len(answered) == 1, "no further request is looked at while the answer is not taken"


LARGE = 2 * MEBIBYTE
"""More than may wait on a stream whose messages are looked at."""
ROOM = 16 * MEBIBYTE
ROOM_ON_STREAMS = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, ROOM))
ROOM_ON_CONNECTION = frame(WINDOW_UPDATE, 0, 0, ROOM.to_bytes(4, "big"))


@pytest.mark.parametrize("count", [1, 2], ids=["its end", "a message"])
@pytest.mark.parametrize(
    ("before", "after"),
    [(ROOM_ON_STREAMS, ROOM_ON_CONNECTION), (ROOM_ON_CONNECTION, ROOM_ON_STREAMS)],
    ids=["connection", "settings"],
)
async def test_room_that_is_not_the_streams_own_lets_it_go_on(before: bytes, after: bytes, count: int) -> None:
    async with calling() as (server, client):
        server_methods(server)[b"/test.Test/Run"] = Method("other", lambda *_: bytes(LARGE), streams=True)
        client.write(before)
        client.begin(1, changes=RUN)
        client.send(1, framed(1) * count, ends=True)
        await until(lambda: server.calls == 1)
        (connection,) = server._connections
        await until(lambda: connection.calls[1].closed)
        assert connection.calls[1].seen == 1, "nothing more is looked at while an answer waits"
        client.write(after)
        assert await client.status(1) == "0"
        answers = [len(data) for kind, _, stream, data in client.frames if (kind, stream) == (DATA, 1)]
        assert sum(answers) == count * (5 + LARGE)


async def test_a_stream_at_work_sends_its_answer_before_the_end() -> None:
    async with calling() as (server, client):
        later: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        server_methods(server)[b"/test.Test/Run"] = Method("other", lambda *_: later, streams=True)
        client.begin(1, changes=RUN)
        client.begin(3, changes=RUN)
        client.send(1, framed(1) * 2)
        await until(lambda: server.calls == 2)
        (connection,) = server._connections
        await until(lambda: connection.calls[1].answering is later)
        connection.end()
        assert await client.status(3) == "14 the server is stopping; ask another"
        assert server.calls == 1
        later.set_result(b"1")
        assert await client.status(1) == "14 the server is stopping; ask another"
        assert [data for kind, _, one, data in client.frames if (kind, one) == (DATA, 1)] == [b"\0\0\0\0\0011"]


def server_methods(server: GrpcServer) -> dict[bytes, Method]:
    return cast("dict[bytes, Method]", server.methods)
