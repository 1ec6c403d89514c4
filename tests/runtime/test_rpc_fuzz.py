"""Whatever a client sends to the gRPC port: calls of others are answered, and nothing is held when it has gone."""

from __future__ import annotations

import random
import socket
import struct
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from edgesmith_runtime.codec.wire import prefix
from edgesmith_runtime.http2.hpack import encode
from tests.runtime.http2 import DATA, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame, frames

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

PRIORITY, PUSH, WINDOW, CONTINUATION = 2, 5, 8, 9
PATHS = [
    b"/inference.GRPCInferenceService/ModelInfer",
    b"/inference.GRPCInferenceService/ServerLive",
    b"/inference.GRPCInferenceService/ModelMetadata",
    b"/grpc.health.v1.Health/Watch",
    b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    b"/nothing",
]
TENSOR = prefix(1, 1) + b"x" + prefix(2, 4) + b"FP32" + prefix(3, 2) + b"\x01\x04"
INFER = prefix(1, 3) + b"toy" + prefix(5, len(TENSOR)) + TENSOR + prefix(7, 16) + struct.pack("<4f", 1, 2, 3, 4)


def headers(rng: random.Random) -> bytes:
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": rng.choice(PATHS),
        b"content-type": b"application/grpc",
    }
    for _ in range(rng.randint(0, 2)):
        name = rng.choice([*fields, b"grpc-encoding", b"grpc-timeout", b"te", b"x" * 200])
        fields[name] = rng.choice([b"", b"gzip", b"1m", b"\xff\0", rng.randbytes(20), *fields.values()])
    return encode(fields.items())


def message(rng: random.Random) -> bytes:
    data = rng.choice([INFER, INFER, b"", b"\x0a\x03toy", rng.randbytes(30), bytes(20_000)])
    size = len(data) if rng.random() < 0.8 else rng.choice([0, 1, len(data) + 7, 2**31])
    return bytes([rng.choice([0, 0, 0, 0, 1, 9])]) + struct.pack(">I", size) + data


def conversation(rng: random.Random) -> bytes:
    """Frames, most of them in order; then some bytes of them may be spoiled."""
    sent = [PREFACE, frame(SETTINGS, 0, 0, rng.choice([b"", struct.pack(">HI", 4, rng.choice([0, 7, 2**31 - 1]))]))]
    stream = 1
    for _ in range(rng.randint(1, 12)):
        if rng.random() < 0.4:
            sent += a_call(rng, stream)
            stream += 2
        else:
            sent.append(anything(rng, rng.randrange(1, stream + 2, 2)))
    data = bytearray(b"".join(sent))
    for _ in range(rng.choice([0, 0, 1, 3])):
        at = rng.randrange(len(data))
        data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
    return bytes(data)


def a_call(rng: random.Random, stream: int) -> list[bytes]:
    block, ends = headers(rng), rng.random() < 0.1
    cut = rng.randrange(len(block)) if rng.random() < 0.2 else len(block)
    sent = [frame(HEADERS, (4 if cut == len(block) else 0) | ends, stream, block[:cut])]
    if cut < len(block):
        sent.append(frame(CONTINUATION, 4, stream, block[cut:]))
    last = rng.choice([0, 1, 1, 1, 3])
    return sent + [
        frame(DATA, int(one == last and rng.random() < 0.8), stream, message(rng)) for one in range(1, last + 1)
    ]


def anything(rng: random.Random, stream: int) -> bytes:
    """A frame that may be in order, on a stream that may have begun."""
    number = struct.pack(">I", rng.choice([0, 1, 99, 2**31 - 1]))
    setting = struct.pack(">HI", rng.randint(0, 9), rng.randrange(2**32))
    return rng.choice(
        [
            frame(DATA, rng.choice([0, 1, 8]), stream, rng.randbytes(rng.randint(0, 50))),
            frame(RST_STREAM, 0, stream, bytes(4)),
            frame(PING, rng.randrange(2), 0, rng.randbytes(8)),
            frame(WINDOW, 0, rng.choice([0, stream]), number),
            frame(SETTINGS, rng.randrange(2), 0, setting),
            frame(rng.choice([PRIORITY, PUSH, GOAWAY, 77]), rng.randrange(256), stream, rng.randbytes(5)),
            frame(HEADERS, rng.randrange(256), stream, rng.randbytes(rng.randint(0, 40))),
        ]
    )


@pytest.fixture(scope="module")
def server(toy: Bundle, start_module_server: StartServer) -> Server:
    return start_module_server(toy.folder)


def live(server: Server) -> bytes:
    """What a client that does nothing wrong is answered, and whom it finds in flight."""
    with closing(socket.create_connection(("127.0.0.1", server.grpc), 20)) as connection:
        head = {b":method": b"POST", b":scheme": b"http", b":path": PATHS[0], b"content-type": b"application/grpc"}
        data = b"\0" + struct.pack(">I", len(INFER)) + INFER
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 4, 1, encode(head.items())))
        connection.sendall(frame(DATA, 1, 1, data))
        return next(payload for kind, _, payload in frames(connection) if kind == DATA)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_others_are_answered(server: Server, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test that repeats itself
    expected = live(server)
    for _ in range(300):
        data = conversation(rng)
        with closing(socket.create_connection(("127.0.0.1", server.grpc), 20)) as connection, suppress(OSError):
            at = 0
            while at < len(data):
                count = rng.choice([1, 10, 1000, len(data)])
                connection.sendall(data[at : at + count])
                at += count
            if rng.random() < 0.5:
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
        assert server.process.poll() is None
    assert live(server) == expected


def test_nothing_of_it_is_held_and_nothing_failed(server: Server) -> None:
    def held() -> list[str]:
        with closing(socket.create_connection(("127.0.0.1", server.http), 20)) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            page = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        return [line for line in page.splitlines() if line.startswith("edgesmith_requests_in_flight")]

    while held() != ["edgesmith_requests_in_flight 0"]:
        pass
    assert server.stop() == 0
    assert not [line for line in server.lines if "failed" in line["message"]], "no mistake of the server's own"
