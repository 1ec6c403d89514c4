"""Sends inputs to a server and says what it should not have done: nothing is exempt.

Every request is answered, or its connection ends, in bounded time; with the statuses that docs/runtime.md lists and no
mistake of the server's own; and a good request in between gets the right answer.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as messages

from tests.fuzz.inputs import INFER, STREAM, Input, document, message

PATIENCE: Final = 30.0
"""Seconds for an answer, or the end of a connection."""
STATUSES: Final = frozenset({200, 400, 404, 405, 413, 417, 431, 500, 501, 503, 505})
"""Of docs/runtime.md; 408 takes longer than any input does."""
CODES: Final = frozenset(
    {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL"}
)
_REASONS: Final[dict[int | str, tuple[str, ...]]] = {
    500: ("holds infinities or NaN",),
    503: ("its timeout of", "requests are not counted"),
    "UNAVAILABLE": ("its timeout of",),
    "INTERNAL": (),
}
"""Statuses that an input may have for these reasons only."""
_OWN: Final = "the server failed"
"""How the sentence of a mistake of its own begins."""


@dataclass(frozen=True)
class Found:
    """What an input did.

    Attributes:
        input: The input.
        what: What should not have been, in a sentence.
    """

    input: Input
    what: str


@dataclass
class Answer:
    """One response over HTTP."""

    status: int
    body: bytes
    closes: bool


class Broken(Exception):  # noqa: N818 - what the bytes are
    """What came is not a row of whole answers, or did not come."""


@dataclass
class HttpPort:
    """The HTTP port.

    Attributes:
        port: Its number.
        sent: How many inputs were sent.
    """

    port: int
    sent: int = 0

    def requests(self, batch: list[Input]) -> Iterator[Found]:
        """Requests of right framing, one behind the other on a connection, a good one after each few."""
        left = list(batch)
        while left:
            answered = 0
            try:
                for one, answer in self._answers(left):
                    answered += 1
                    if what := _wrong(answer):
                        yield Found(one, what)
            except Broken as error:
                yield Found(left[answered], str(error))
                answered += 1
            self.sent += answered
            left = left[answered:]
        if what := self.good(float(self.sent % 1000)):
            yield Found(batch[-1], what)

    def bytes(self, one: Input) -> Iterator[Found]:
        """Anything at all, then the end of what is sent."""
        self.sent += 1
        received = bytearray()
        try:
            with closing(self._connect()) as connection:
                try:
                    connection.sendall(one.data[0])
                    connection.shutdown(socket.SHUT_WR)
                    while piece := connection.recv(65536):
                        received += piece
                except (ConnectionResetError, BrokenPipeError):
                    return
                except TimeoutError:
                    yield Found(one, f"the connection did not end within {PATIENCE:g} seconds")
                    return
            heads = b"HEAD" in one.data[0]
            for answer in _taken_apart(bytes(received), heads=heads):
                if what := _wrong(answer):
                    yield Found(one, what)
        except Broken as error:
            yield Found(one, str(error))

    def good(self, value: float) -> str | None:
        """What is wrong with the answer to a good request; None: nothing."""
        body = json.dumps(document(value) | {"id": f"good {value}"}).encode()
        head = f"POST /v2/models/toy/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        try:
            ((_, answer),) = self._answers([Input("request", (head + body,), "POST")])
            said = json.loads(answer.body)
            right = said["id"] == f"good {value}" and said["outputs"][0]["data"] == [value, 2, 3, 4]
        except (Broken, KeyError, ValueError, OSError) as error:
            return f"a good request afterwards got no answer: {error!r}"
        return None if right else f"a good request afterwards was answered {answer.status} {answer.body[:200]!r}"

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _answers(self, batch: list[Input]) -> Iterator[tuple[Input, Answer]]:
        """The answers to requests up to one that ends the connection."""
        with closing(self._connect()) as connection:
            with suppress(ConnectionResetError, BrokenPipeError):  # the server may close before it has read all
                connection.sendall(b"".join(one.data[0] for one in batch))
            with connection.makefile("rb") as stream:
                for one in batch:
                    answer = _read(stream, head=one.method == "HEAD")
                    yield one, answer
                    if answer.closes:
                        return


def _read(stream: Any, *, head: bool) -> Answer:
    try:
        while True:
            line: bytes = stream.readline(65536)
            if not line.startswith(b"HTTP/1.1 "):
                raise Broken(f"{line[:60]!r} came where an answer begins")
            status = int(line[9:12])
            headers: dict[bytes, bytes] = {}
            while (line := stream.readline(65536)) not in {b"\r\n", b""}:
                name, _, value = line.partition(b":")
                headers[name.lower()] = value.strip().lower()
            if status >= 200:
                break
        length = 0 if head else int(headers[b"content-length"])
        body = stream.read(length)
    except TimeoutError as error:
        raise Broken(f"no answer came within {PATIENCE:g} seconds") from error
    except OSError as error:
        raise Broken(f"the connection broke: {error}") from error
    if len(body) != length:
        raise Broken(f"an answer of {length} bytes ended after {len(body)}")
    return Answer(status, body, headers.get(b"connection") == b"close")


def _taken_apart(received: bytes, *, heads: bool) -> Iterator[Answer]:
    while received:
        head, end, received = received.partition(b"\r\n\r\n")
        if not end or not head.startswith(b"HTTP/1.1 "):
            raise Broken(f"{head[:60]!r} came where an answer begins")
        status = int(head[9:12])
        if status < 200:
            continue
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(lines[b"content-length"])
        if heads and (not received or received.startswith(b"HTTP/1.1 ")):
            length = 0
        if len(received) < length:
            raise Broken(f"an answer of {length} bytes ended after {len(received)}")
        yield Answer(status, received[:length], closes=False)
        received = received[length:]


def _wrong(answer: Answer) -> str | None:
    if answer.status not in STATUSES:
        return f"status {answer.status} is none of those documented"
    if answer.status < 400 or not answer.body:
        return None
    try:
        sentence = json.loads(answer.body)["error"]
    except (ValueError, KeyError, TypeError):
        return f"an error of status {answer.status} has the body {answer.body[:100]!r}"
    if answer.status in _REASONS and not any(reason in sentence for reason in _REASONS[answer.status]):
        return f"status {answer.status} says {sentence[:300]!r}"
    if sentence.startswith(_OWN) or "\n" in sentence or len(sentence) > 1100:
        return f"status {answer.status} says {sentence[:300]!r}"
    return None


@dataclass
class GrpcPort:
    """The gRPC port.

    Attributes:
        port: Its number.
        sent: How many inputs were sent.
    """

    port: int
    sent: int = 0
    _channel: grpc.Channel = field(init=False)

    def __post_init__(self) -> None:
        """Connect."""
        self._channel = grpc.insecure_channel(
            f"127.0.0.1:{self.port}", options=[("grpc.max_receive_message_length", -1)]
        )

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def calls(self, batch: Iterable[Input]) -> Iterator[Found]:
        """Calls at once, a good one among them."""
        asked = [(one, self._call(one)) for one in batch]
        value = float(self.sent % 1000)
        good = self._call(Input("call", (message(value).SerializeToString(),), INFER))
        for one, call in asked:
            self.sent += max(1, len(one.data))
            if what := self._wrong(one, call):
                yield Found(one, what)
        try:
            (answer,) = map(messages.ModelInferResponse.FromString, good)
            right = np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [max(value, 0), 2, 3, 4]
        except grpc.RpcError as error:
            yield Found(asked[-1][0], f"a good request beside it got no answer: {error.code().name} {error.details()}")
        else:
            if not right:
                yield Found(asked[-1][0], "a good request beside it got the answer of another")

    def _each(self, one: Input) -> Iterator[Found]:
        """One call, no other beside it."""
        if what := self._wrong(one, self._call(one)):
            yield Found(one, what)

    def frames(self, one: Input) -> Iterator[Found]:
        """Anything at all, then the end of what is sent."""
        self.sent += 1
        with closing(socket.create_connection(("127.0.0.1", self.port), PATIENCE)) as connection:
            try:
                connection.sendall(one.data[0])
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass
            except TimeoutError:
                yield Found(one, f"the connection did not end within {PATIENCE:g} seconds")

    def _call(self, one: Input) -> Any:
        method: Any = self._channel.stream_stream(one.method)
        return method(iter(one.data), timeout=PATIENCE)

    def _wrong(self, one: Input, call: Any) -> str | None:
        try:
            answers = list(call)
        except grpc.RpcError:
            answers = []
        code, sentence = call.code().name, call.details() or ""
        known = code in CODES and any(reason in sentence for reason in _REASONS.get(code, ("",)))
        if not known or sentence.startswith(_OWN):
            return f"code {code} says {sentence[:300]!r}"
        if one.method == STREAM and code == "OK" and len(answers) != len(one.data):
            return f"{len(one.data)} requests of a stream got {len(answers)} answers"
        for answer in answers if one.method == STREAM else ():
            said = messages.ModelStreamInferResponse.FromString(answer)
            if said.error_message.startswith(_OWN) or not (said.error_message or said.infer_response.outputs):
                return f"a stream says {said.error_message[:300]!r}"
        return None


def send(ports: tuple[HttpPort, GrpcPort], inputs: list[Input]) -> Iterator[Found]:
    """Send inputs, those of a kind together where they go over one connection."""
    http, grpc_port = ports
    requests = [one for one in inputs if one.kind in {"request", "picture"}]
    calls = [one for one in inputs if one.kind == "call"]
    for one in inputs:
        if one.kind == "bytes":
            yield from http.bytes(one)
        elif one.kind == "frames":
            yield from grpc_port.frames(one)
    if requests:
        yield from http.requests(requests)
    if calls:
        yield from grpc_port.calls(calls)
