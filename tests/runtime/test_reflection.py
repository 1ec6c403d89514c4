"""Tools ask the gRPC port what it serves, and build their calls from what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory

from edgesmith_runtime.codec.wire import fields, prefix

if TYPE_CHECKING:
    from tests.runtime.conftest import Server

# Not from the server's own module: its messages and tritonclient's have the same names and cannot be in one process.
NAMES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
FILE, SYMBOL, EXTENSION, SERVICES = 3, 4, 6, 7
"""Fields of ServerReflectionRequest; `SERVICES` is that of an error in the response, too."""
Channel = grpc.Channel


def asking(number: int, what: str, host: bytes = b"") -> bytes:
    return (prefix(1, len(host)) + host if host else b"") + prefix(number, len(what.encode())) + what.encode()


def read(message: bytes) -> dict[int, bytes]:
    """A message's fields that have a length; of several with one number, the last."""
    return {number: bytes(content) for number, _, content in fields(memoryview(message)) if content is not None}


@pytest.fixture
def channel(toy_server: Server) -> Iterator[Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{toy_server.grpc}") as channel:
        yield channel


def ask(channel: Channel, *messages: bytes, name: str = NAMES[0]) -> list[dict[int, bytes]]:
    call: grpc.StreamStreamMultiCallable[Any, bytes] = channel.stream_stream(f"/{name}/ServerReflectionInfo")
    return [read(answer) for answer in call(iter(messages))]


@pytest.mark.parametrize("name", NAMES)
def test_a_call_is_built_from_what_the_server_says_of_itself(channel: Channel, name: str) -> None:
    listed, file, health = ask(
        channel,
        asking(SERVICES, "", host=b"edge-1"),
        asking(SYMBOL, "inference.GRPCInferenceService"),
        asking(SYMBOL, "grpc.health.v1.Health.Check"),
        name=name,
    )
    assert (listed[1], listed[2]) == (b"edge-1", asking(SERVICES, "", host=b"edge-1"))
    services = [bytes(one) for _, _, one in fields(memoryview(listed[6])) if one is not None]
    assert [read(one)[1].decode() for one in services] == ["inference.GRPCInferenceService", "grpc.health.v1.Health"]

    pool = descriptor_pool.DescriptorPool()
    for answer in (file, health):
        pool.AddSerializedFile(read(answer[4])[1])
    method = pool.FindServiceByName("inference.GRPCInferenceService").FindMethodByName("ModelMetadata")
    request = message_factory.GetMessageClass(method.input_type)(name="toy")
    told: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelMetadata"
    )
    metadata: Any = message_factory.GetMessageClass(method.output_type).FromString(told(request.SerializeToString()))
    assert (metadata.name, [one.name for one in metadata.inputs]) == ("toy", ["x"])

    check = pool.FindServiceByName("grpc.health.v1.Health").FindMethodByName("Check")
    asked: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
    found: Any = message_factory.GetMessageClass(check.output_type).FromString(asked(b""))
    watch = pool.FindMethodByName("grpc.health.v1.Health.Watch")
    assert (watch.server_streaming, watch.client_streaming) == (True, False)
    states = check.output_type.enum_types_by_name["ServingStatus"]
    assert states.values_by_number[found.status].name == "SERVING"


def test_every_message_and_the_file_itself_can_be_asked_for(channel: Channel) -> None:
    names = ["inference.ModelInferRequest", "inference.ModelInferRequest.InferInputTensor"]
    file, *others = ask(
        channel,
        asking(FILE, "grpc/health/v1/health.proto"),
        *(asking(SYMBOL, name) for name in names),
        asking(SYMBOL, "grpc.health.v1.HealthCheckResponse.ServingStatus"),
    )
    assert others[2][4] == file[4]
    assert others[0][4] == others[1][4] != file[4]


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (asking(SYMBOL, "inference.Nothing"), 5, "'inference.Nothing' is not described here"),
        (asking(FILE, "nothing.proto"), 5, "'nothing.proto' is not described here"),
        (asking(EXTENSION, "inference.ModelInferRequest"), 12, "nothing is told of extensions"),
        (b"", 12, "nothing is told of extensions"),
    ],
)
def test_what_is_not_known_is_an_answer_and_the_call_goes_on(
    channel: Channel, message: bytes, code: int, words: str
) -> None:
    refused, listed = ask(channel, message, asking(SERVICES, ""))
    assert refused[SERVICES].startswith(bytes([0x08, code]))
    assert words in read(refused[SERVICES])[2].decode()
    assert 6 in listed


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([b"\x22\xff"], "no ServerReflectionRequest"),
        ([b"\x22\x01\xff"], "no ServerReflectionRequest"),
        ([asking(SERVICES, "")] * 1001, "more than 1000 messages"),
    ],
)
def test_what_is_no_request_ends_the_call(channel: Channel, messages: list[bytes], words: str) -> None:
    with pytest.raises(grpc.RpcError, match=words) as caught:
        ask(channel, *messages)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
