"""``grpc.reflection``: tools such as ``grpcurl`` ask a server what it serves, and need no ``.proto`` file then.

https://github.com/grpc/grpc/blob/master/doc/server-reflection.md describes it. Requests and responses are a field or
two each, so they are read and written here; the descriptions themselves are what the protocol buffer compiler made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from edgesmith_runtime.codec.wire import WireError, fields, prefix
from edgesmith_runtime.errors import BadRequest
from edgesmith_runtime.protocol import inference_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgesmith_runtime.rpc.call import Call

__all__ = ["NAMES", "ReflectionMethods"]

NAMES: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""One protocol under two names; older tools know the second only."""

_HOST, _BY_NAME, _BY_SYMBOL, _LIST = 1, 3, 4, 7
"""Fields of ServerReflectionRequest."""
_ORIGINAL, _FILES, _SERVICES, _ERROR = 2, 4, 6, 7
"""Fields of ServerReflectionResponse; `_HOST` is the same."""
_NOT_FOUND: Final = b"\x08\x05"
"""An ErrorResponse's code field: NOT_FOUND."""
_UNIMPLEMENTED: Final = b"\x08\x0c"


class ReflectionMethods:
    """Answers the messages of ``ServerReflectionInfo``, one by one."""

    def __init__(self) -> None:
        files = [FileDescriptorProto.FromString(inference_pb2.DESCRIPTOR.serialized_pb), _health()]
        self._services = [f"{file.package}.{service.name}" for file in files for service in file.service]
        self._by_name = {file.name: file.SerializeToString() for file in files}
        self._by_symbol = {symbol: self._by_name[file.name] for file in files for symbol in _symbols(file)}

    def info(self, message: bytes | memoryview, _: Call) -> bytes:
        """Say what one message asks for."""
        host, asked, what = b"", 0, ""
        try:
            for number, _whole, content in fields(memoryview(message)):
                if number == _HOST and content is not None:
                    host = bytes(content)
                elif content is not None:
                    asked, what = number, str(content, "utf-8")
        except (WireError, UnicodeDecodeError) as error:
            raise BadRequest("the message is no ServerReflectionRequest in protobuf's wire format") from error
        return _field(_HOST, host) + _field(_ORIGINAL, bytes(message)) + self._response(asked, what)

    def _response(self, asked: int, what: str) -> bytes:
        if asked == _LIST:
            return _field(_SERVICES, b"".join(_field(1, _field(1, name.encode())) for name in self._services))
        if asked not in {_BY_NAME, _BY_SYMBOL}:
            return _error(
                _UNIMPLEMENTED, "nothing is told of extensions; a file, a symbol or the services were expected"
            )
        found = (self._by_name if asked == _BY_NAME else self._by_symbol).get(what)
        if found is None:
            return _error(_NOT_FOUND, f"{what[:100]!r} is not described here; expected a name of {self._services[0]}")
        return _field(_FILES, _field(1, found))


def _field(number: int, content: bytes) -> bytes:
    return prefix(number, len(content)) + content


def _error(code: bytes, sentence: str) -> bytes:
    return _field(_ERROR, code + _field(2, sentence.encode()))


def _symbols(file: FileDescriptorProto) -> Iterator[str]:
    """Every name that a file describes, with its package."""
    for service in file.service:
        yield f"{file.package}.{service.name}"
        yield from (f"{file.package}.{service.name}.{method.name}" for method in service.method)
    yield from _messages(file.package, file.message_type)


def _messages(scope: str, messages: Iterable[DescriptorProto]) -> Iterator[str]:
    for message in messages:
        name = f"{scope}.{message.name}"
        yield name
        yield from (f"{name}.{enum.name}" for enum in message.enum_type)
        yield from _messages(name, message.nested_type)


def _health() -> FileDescriptorProto:
    """``grpc/health/v1/health.proto``.

    https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto
    """
    file = FileDescriptorProto(name="grpc/health/v1/health.proto", package="grpc.health.v1", syntax="proto3")
    one = FieldDescriptorProto.LABEL_OPTIONAL
    request = file.message_type.add(name="HealthCheckRequest")
    request.field.add(name="service", number=1, label=one, type=FieldDescriptorProto.TYPE_STRING)
    response = file.message_type.add(name="HealthCheckResponse")
    status = response.enum_type.add(name="ServingStatus")
    for number, name in enumerate(("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")):
        status.value.add(name=name, number=number)
    kind = ".grpc.health.v1.HealthCheckResponse.ServingStatus"
    response.field.add(name="status", number=1, label=one, type=FieldDescriptorProto.TYPE_ENUM, type_name=kind)
    service = file.service.add(name="Health")
    for name, streams in (("Check", False), ("Watch", True)):
        method = service.method.add(name=name, server_streaming=streams)
        method.input_type, method.output_type = f".{file.package}.{request.name}", f".{file.package}.{response.name}"
    return file
