"""``ModelStreamInfer``: requests answered in their order, mistakes answered in their place, and every end of a call."""

from __future__ import annotations

import gc
import queue
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc

from edgesmith_runtime.errors import BadRequest, Unavailable
from edgesmith_runtime.http.limits import MEBIBYTE, Budget
from edgesmith_runtime.rpc.intake import Intake
from edgesmith_runtime.rpc.leaving import Leaving
from edgesmith_runtime.rpc.streams import Streams
from tests.runtime.test_clients import tensor

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
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
        yield from stub.ModelStreamInfer(requests, timeout=60)


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
        found = [messages.ModelStreamInferResponse.FromString(answer) for answer in method(iter(sent), timeout=20)]
    assert found[0].error_message.startswith("the message ")
    assert first(found[1]) == 7
    assert "model '' is not served here" in found[2].error_message


def test_a_stream_without_requests_ends(toy_server: Server) -> None:
    assert list(streamed(toy_server, iter(()))) == []


def test_streams_that_ended_take_no_place(toy_server: Server) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{toy_server.grpc}") as channel:  # one connection, which has 64 places
        stub = tritonclient.grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(70):
            assert len(list(stub.ModelStreamInfer(iter([request(1)]), timeout=20))) == 1


class Context:
    """Of a call, what is asked of it while it waits."""

    def add_callback(self, _: object) -> bool:
        return True


def test_a_request_that_failed_is_forgotten_without_the_collector_of_garbage() -> None:
    context: Any = Context()
    leaving = Leaving(context)
    future: Future[bytes] = Future()
    future.set_exception(BadRequest("no"))
    left = weakref.ref(leaving), weakref.ref(future)
    gc.disable()
    try:
        with suppress(BadRequest):
            leaving.wait(future)
        del leaving, future
        assert [one() for one in left] == [None, None]
    finally:
        gc.enable()


def test_tritonclient_streams(toy_server: Server) -> None:
    answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    with closing(tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{toy_server.grpc}")) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for value in range(3):
            x = np.full((1, 4), value, np.float32)
            options = {"enable_empty_final_response": True} if value else {}
            given = [tensor(tritonclient.grpc, "x", x, "FP32")]
            client.async_stream_infer("toy" if value != 1 else "other", given, request_id=str(value), **options)
        found = [answers.get(timeout=20) for _ in range(3)]
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


def test_requests_of_streams_count(slow: Bundle, start_server: StartServer) -> None:
    server = start_server(slow.folder, "--queue", "1", "--threads", "1")
    big = messages.ModelInferRequest(model_name="slow")
    big.inputs.add(name="x", datatype="FP32", shape=[900, 900])
    big.raw_input_contents.append(np.zeros((900, 900), "<f4").tobytes())
    small = messages.ModelInferRequest(model_name="slow", id="small")
    small.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    small.raw_input_contents.append(bytes(4))
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(lambda: list(streamed(server, iter([big] * 3))))
        refused = None
        while refused is None and not busy.done():
            refused = next((one for one in streamed(server, iter([small])) if one.error_message), None)
        assert refused is not None
        assert "1 requests are in flight, which is the limit" in refused.error_message
        assert refused.infer_response.id == "small"
        others = [one.error_message for one in busy.result(60) if one.error_message]
        assert all("requests are in flight" in message for message in others)
    assert server.stop() == 0


Start = Callable[..., tuple[grpc.Server, str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start gRPC servers in this process that answer what they are sent."""
    with ExitStack() as ends:

        def serve(budget: Budget, streams: Streams, answer: Callable[[bytes], bytes]) -> tuple[grpc.Server, str]:
            intake = Intake(budget, calls=8, headroom=2**40)
            server = grpc.server(ThreadPoolExecutor(8))

            def run(requests: Any, context: Any, send: Any) -> None:
                try:
                    if streams.run(intake.stream(requests, context), answer, context, send):
                        send(None)
                except Unavailable as error:
                    context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

            run.experimental_non_blocking = True  # type: ignore[attr-defined]
            handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(run)
            server.add_registered_method_handlers("test.Test", {"Run": handler})
            address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            server.start()
            ends.callback(lambda: server.stop(None).wait())
            return server, address

        yield serve


def running(channel: grpc.Channel) -> Any:
    return channel.stream_stream("/test.Test/Run")


def test_a_stream_gives_back_what_each_request_took(start: Start) -> None:
    budget = Budget(MEBIBYTE, MEBIBYTE)
    held: list[int] = []

    def answer(message: bytes) -> bytes:
        held.append(MEBIBYTE - budget.left)
        return message[:1]

    _, address = start(budget, Streams(), answer)
    with grpc.insecure_channel(address) as channel:
        method = running(channel)
        sizes = [600_000, 5, 700_000, 1]
        assert len(list(method((bytes(size) for size in sizes), timeout=20))) == 4
    assert held == sizes
    while budget.left < MEBIBYTE:
        pass  # the server sees the end of the call after its client has
    budget.take(b"other", 1000)
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError, match="too many requests are in mem"):
        list(running(channel)(iter([bytes(MEBIBYTE)]), timeout=20))


def test_a_client_that_takes_nothing_is_cut_off(start: Start) -> None:
    streams = Streams(longest=0.1)
    answered: list[bytes] = []

    def answer(message: bytes) -> bytes:
        answered.append(message)
        return bytes(3 * MEBIBYTE)

    _, address = start(Budget(MEBIBYTE, MEBIBYTE), streams, answer)
    with grpc.insecure_channel(address) as channel:
        call = running(channel)(iter([b"1"] * 50), timeout=60)
        while not answered or streams._streams:
            streams.look()
        assert len(answered) < 50
        call.cancel()


def test_a_stream_at_work_sends_its_answer_before_the_end(start: Start) -> None:
    streams, asked, go_on = Streams(), threading.Event(), threading.Event()

    def answer(message: bytes) -> bytes:
        asked.set()
        assert go_on.wait(20)
        return message

    _, address = start(Budget(MEBIBYTE, MEBIBYTE), streams, answer)
    requests = Requests()
    with grpc.insecure_channel(address) as channel:
        call = running(channel)(iter(requests), timeout=60)
        requests.send(b"1")
        assert asked.wait(20)
        streams.stop()
        go_on.set()
        assert next(call) == b"1"
        with pytest.raises(grpc.RpcError, match="the server is stopping"):
            next(call)
        requests.end()
