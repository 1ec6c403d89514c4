"""A short run of the fuzzer (`make fuzz` is the long one), what it found before, and whether it would find anything."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import grpc
import pytest

from tests.fuzz.inputs import CORPUS, INFER, STREAM, Input, a_call, message, request, some_frames, stream_of_bytes
from tests.fuzz.pictures import KIND, PicturePort, a_picture
from tests.fuzz.ports import Found, GrpcPort, HttpPort, send
from tests.fuzz.run import GROWTH, batch, keep
from tests.fuzz.target import Target, picture_target_bundle, toy_bundle

INPUTS = 3000
PICTURES = 600


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The server that is sent all of it."""
    with Target(toy_bundle(tmp_path_factory.mktemp("fuzz"))) as started:
        yield started


@pytest.fixture
def ports(target: Target) -> Iterator[tuple[HttpPort, GrpcPort]]:
    """Both of its ports."""
    grpc_port = GrpcPort(target.grpc)
    yield HttpPort(target.http), grpc_port
    grpc_port.close()


Ports = tuple[HttpPort, GrpcPort]


@pytest.fixture(scope="module")
def taking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The server that is sent pictures."""
    with Target(picture_target_bundle(tmp_path_factory.mktemp("fuzz"))) as started:
        yield started


@pytest.fixture
def picture_ports(taking: Target) -> Iterator[Ports]:
    """Both of its ports."""
    grpc_port = GrpcPort(taking.grpc)
    yield PicturePort(taking.http), grpc_port
    grpc_port.close()


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*.json")), ids=lambda file: file.stem)
def test_what_was_found_is_mended(ports: Ports, picture_ports: Ports, file: Path) -> None:
    """More often than a connection has places for calls, so that one which is not given back is seen."""
    one = Input.read(file)
    for _ in range(7):
        assert list(send(picture_ports if one.kind == KIND else ports, [one] * 10)) == []


def test_inputs_find_nothing(target: Target, ports: Ports) -> None:
    rng = Random("make test")  # noqa: S311 - it repeats itself
    before = target.memory
    while ports[0].sent + ports[1].sent < INPUTS:
        assert list(send(ports, batch(rng))) == []
    assert target.memory - before < GROWTH


def test_pictures_find_nothing(taking: Target, picture_ports: Ports) -> None:
    """And are not all refused before a decoder sees them."""
    rng = Random("make test")  # noqa: S311 - it repeats itself
    before = taking.memory
    while picture_ports[0].sent < PICTURES:
        assert list(send(picture_ports, [a_picture(rng) for _ in range(20)])) == []
    assert taking.memory - before < GROWTH
    with urllib.request.urlopen(f"http://127.0.0.1:{taking.http}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    counted = dict(line.rsplit(" ", 1) for line in text.splitlines() if 'operation="image"' in line)
    answered = {name.partition('code="')[2][:3]: int(count) for name, count in counted.items()}
    assert answered["200"] > PICTURES / 10
    assert answered["400"] > PICTURES / 10
    assert "404" not in answered
    assert taking.stop() == 0
    assert [line for line in taking.lines if line["level"] != "info"] == []


def test_the_server_goes_on_and_has_logged_nothing(target: Target, ports: Ports) -> None:
    assert ports[0].good(7) is None
    ports[1].close()
    assert target.stop() == 0
    assert [line for line in target.lines if line["level"] != "info"] == []


def test_the_same_seed_is_the_same_inputs() -> None:
    assert batch(Random(5)) == batch(Random(5))  # noqa: S311 - as above
    assert batch(Random(5)) != batch(Random(6))  # noqa: S311 - as above
    assert [a_picture(Random(seed)) for seed in range(60)] == [a_picture(Random(seed)) for seed in range(60)]  # noqa: S311 - as above


@pytest.mark.parametrize("make", [request, stream_of_bytes, a_call, some_frames])
def test_an_input_is_kept_and_read_again(
    make: Callable[[Random], Input], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fuzz.run.CORPUS", tmp_path)
    one = make(Random(3))  # noqa: S311 - as above
    file = keep(Found(one, "it fell over"))
    assert Input.read(file) == one
    assert json.loads(file.read_text())["found"] == "it fell over"


GOOD = b"POST /v2/models/toy/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
ANSWERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "b'' came where an answer begins"),
    "other bytes": (b"hello", "b'hello' came where an answer begins"),
    "a part": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "an answer of 9 bytes ended after 5"),
    "another status": (b"HTTP/1.1 418 T\r\nContent-Length: 0\r\n\r\n", "status 418 is none of those documented"),
    "an error that is no JSON": (b"HTTP/1.1 400 B\r\nContent-Length: 2\r\n\r\nno", "has the body b'no'"),
    "no answer for no reason": (
        b'HTTP/1.1 503 U\r\nContent-Length: 16\r\n\r\n{"error":"full"}',
        "status 503 says 'full'",
    ),
    "an error of its own": (
        b'HTTP/1.1 500 I\r\nContent-Length: 29\r\n\r\n{"error":"the server failed"}',
        "status 500 says 'the server failed'",
    ),
}


@pytest.mark.parametrize("kind", ["request", "bytes"])
@pytest.mark.parametrize("case", ANSWERS)
def test_a_wrong_answer_over_http_is_found(case: str, kind: str) -> None:
    answer, expected = ANSWERS[case]
    if kind == "bytes" and not answer:
        return  # bytes that are no request need no answer
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with closing(connection), suppress(ConnectionError):
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

        def accept() -> None:
            with suppress(OSError):  # the listener is closed where the second connection does not come
                serve()

        threading.Thread(target=accept, daemon=True).start()
        port = HttpPort(listener.getsockname()[1])
        sent = Input(kind, (GOOD,), "POST")
        found = [one.what for one in (port.requests([sent]) if kind == "request" else port.bytes(sent))]
    assert any(expected in what for what in found), found
    assert kind == "bytes" or any("a good request afterwards" in what for what in found)


@pytest.mark.parametrize(
    ("method", "answers", "code", "expected"),
    [
        (INFER, 1, grpc.StatusCode.INTERNAL, "code INTERNAL says 'the server failed'"),
        (INFER, 1, grpc.StatusCode.UNAVAILABLE, "code UNAVAILABLE says"),
        (INFER, 1, grpc.StatusCode.UNKNOWN, "code UNKNOWN says"),
        (STREAM, 1, None, "2 requests of a stream got 1 answers"),
        (STREAM, 2, None, "a stream says ''"),
    ],
)
def test_a_wrong_answer_over_grpc_is_found(
    method: str, answers: int, code: grpc.StatusCode | None, expected: str
) -> None:
    def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        list(requests)
        yield from [b""] * answers
        if code is not None:
            context.abort(code, "the server failed")

    server = grpc.server(ThreadPoolExecutor(4))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(answer)
    for path in (INFER, STREAM):
        _, service, name = path.split("/")
        server.add_registered_method_handlers(service, {name: handler})
    port = GrpcPort(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    sent = Input("call", (message().SerializeToString(),) * (2 if method == STREAM else 1), method)
    found = [one.what for one in port._each(sent)]
    port.close()
    server.stop(None).wait()
    assert any(expected in what for what in found), found
