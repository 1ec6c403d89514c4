"""Whatever a client sends: every request gets one answer, its own, or the connection is closed."""

from __future__ import annotations

import copy
import gzip
import json
import random
import socket
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

WILD: Final[list[Any]] = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**70, 10**400, 1.5, 1e308, float("nan"), float("inf"), "", "x", "\ud800",
    "\udfff\u0000", "é" * 300, [], [[]], {}, [None], {"": []}, {"name": "x"}, [1, "a", None], [[1, 2], [3, 4]],
    ["\ud800"], [[[[[[[[[[1]]]]]]]]]],
]  # fmt: skip
FIELDS: Final = ("id", "inputs", "outputs", "parameters")
INPUT_FIELDS: Final = ("name", "datatype", "shape", "data", "parameters")


@dataclass
class Sent:
    """A request as bytes, with the answer that it must get where that is known."""

    data: bytes
    value: float | None


def document(value: float) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [value, 2, 3, 4]}
    return {"id": f"\ud800{value}", "inputs": [tensor], "outputs": [{"name": "relu"}]}


def spoiled(rng: random.Random, value: float) -> dict[str, Any]:
    made = document(value)
    for _ in range(rng.randint(1, 3)):
        target: Any = made
        if rng.random() < 0.6 and isinstance(made.get("inputs"), list) and made["inputs"]:
            target = rng.choice(made["inputs"])
        elif rng.random() < 0.3 and isinstance(made.get("outputs"), list) and made["outputs"]:
            target = rng.choice(made["outputs"])
        if not isinstance(target, dict):
            continue
        field = rng.choice((*INPUT_FIELDS, *FIELDS, "binary_data_size", "classification", "binary_data"))
        if rng.random() < 0.2:
            target.pop(field, None)
        elif field in {"classification", "binary_data", "binary_data_size"}:
            target["parameters"] = {field: copy.deepcopy(rng.choice(WILD))}
        else:
            target[field] = copy.deepcopy(rng.choice(WILD))
    return made


def request(rng: random.Random, value: float, *, last: bool) -> Sent:
    """One request with right framing; what it asks for may be anything."""
    wild = rng.random() < 0.5
    text = json.dumps(spoiled(rng, value) if wild else document(value), ensure_ascii=not wild or rng.random() < 0.7)
    body = text.encode("utf-8", "surrogatepass")
    lines = ["POST /v2/models/toy/infer HTTP/1.1", "Host: a"]
    known: float | None = None if wild else value
    if rng.random() < 0.2:
        lines.append("Content-Encoding: gzip")
        body = gzip.compress(body, 1)
    if rng.random() < 0.2:
        body, known = bytes(rng.randbytes(rng.randint(0, 200))), None
    if rng.random() < 0.2:
        lines.append(f"Inference-Header-Content-Length: {rng.choice([0, 1, len(body), 10**20, 'x', -1])}")
        known = None
    if rng.random() < 0.3:
        lines += ["Upgrade: h2c", "HTTP2-Settings: AAAA"]
    options = (["Upgrade"] if "Upgrade: h2c" in lines else []) + (["close"] if last else [])
    if options:
        lines.append(f"Connection: {', '.join(options)}")
    if rng.random() < 0.1:
        lines.append("Expect: 100-continue")
    if not wild and rng.random() < 0.1:
        known = None
        lines[0] = f"{rng.choice(['PUT', 'POST', 'GET'])} {rng.choice(['/', '/v2', '/v2/models/%00', '/x?y'])} HTTP/1.1"
    if rng.random() < 0.3:
        lines.append("Transfer-Encoding: chunked")
        framed = b""
        while body:
            size = rng.randint(1, len(body))
            framed += b"%x\r\n%b\r\n" % (size, body[:size])
            body = body[size:]
        body = framed + b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
    return Sent("\r\n".join(lines).encode() + b"\r\n\r\n" + body, known)


def answers(received: bytes) -> list[tuple[int, bytes]]:
    """Take answers apart; what is not exactly a row of whole answers is an error."""
    found = []
    while received:
        head, end, received = received.partition(b"\r\n\r\n")
        lines = head.decode("ascii").split("\r\n")
        assert end, head
        status = int(lines[0].removeprefix("HTTP/1.1 ").split(" ")[0])
        if status == 100:
            continue
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(headers["content-length"])
        body, received = received[:length], received[length:]
        assert len(body) == length, "an answer was cut off"
        if headers["content-type"] == "application/json":
            json.loads(body)
        found.append((status, body))
    return found


def exchange(rng: random.Random, port: int, data: bytes, *, half_close: bool) -> bytes:
    """Send bytes in some pieces, then read to the end."""
    received = bytearray()
    with closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data:
                size = rng.randint(1, len(data)) if rng.random() < 0.9 else 1
                client.sendall(data[:size])
                data = data[size:]
            if half_close:
                client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65536):
                received += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return bytes(received)


def one_connection(rng: random.Random, port: int) -> None:
    """Requests with right framing get an answer each, and each its own."""
    count = rng.randint(1, 6)
    sent = [request(rng, rng.randint(1, 10**6), last=index == count - 1) for index in range(count)]
    received = answers(exchange(rng, port, b"".join(item.data for item in sent), half_close=False))
    assert len(received) == count
    for item, (status, body) in zip(sent, received, strict=True):
        assert status in {200, 400, 404, 405, 413}, body
        if item.value is not None:
            answer = json.loads(body)
            assert answer["id"] == f"\ud800{item.value}"
            assert answer["outputs"][0]["data"] == [item.value, 2, 3, 4]


def one_broken_connection(rng: random.Random, port: int) -> None:
    """Bytes of any kind get whole answers, and an end."""
    data = bytearray(b"".join(request(rng, rng.randint(1, 10**6), last=False).data for _ in range(rng.randint(1, 4))))
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[place] = rng.randrange(256)
            case 1:
                del data[place : place + rng.randint(1, 20)]
            case 2:
                data[place:place] = data[place : place + rng.randint(1, 60)]
            case _:
                data[place:place] = rng.choice([b"\r\n", b"\n", b"\0", b" ", b":", b"0\r\n\r\n", b"Upgrade: a\r\n"])
    for status, body in answers(exchange(rng, port, bytes(data), half_close=True)):
        assert status < 500 or status in {501, 505}, body


@pytest.fixture(scope="module")
def server(toy: Bundle, start_module_server: StartServer) -> Server:
    return start_module_server(toy.folder, "--max-body-mib", "1")


@pytest.mark.parametrize("seed", range(4))
def test_every_request_gets_its_answer(server: Server, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test that repeats itself
    for _ in range(200):
        one_connection(rng, server.http)


@pytest.mark.parametrize("seed", range(4))
def test_every_connection_ends(server: Server, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test that repeats itself
    for _ in range(200):
        one_broken_connection(rng, server.http)


def test_the_server_had_no_error_of_its_own(server: Server) -> None:
    assert server.stop() == 0
    assert [entry for entry in server.lines if entry["level"] != "info"] == []
