"""Asks a server over HTTP or gRPC, byte for byte as told, and takes its answer apart into fields to compare."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any, Protocol

import grpc
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2 as messages

from tests.patience import PATIENCE

Fields = dict[str, Any]

INFLATED: Mapping[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}
HEADER_LENGTH = "Inference-Header-Content-Length"
SERVICE = "inference.GRPCInferenceService"


class Served(Protocol):
    """A server on this machine."""

    http: int
    grpc: int


@dataclass(frozen=True)
class Http:
    """A request over HTTP.

    Attributes:
        method: Its method.
        path: Its path.
        body: Its body; None for none.
        headers: Further headers.
        chunked: Whether the body goes in chunks, of which nobody knows how many come.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = False

    def ask(self, server: Served) -> Fields:
        """The status, the headers that matter, and what the body says."""
        connection = HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)
        try:
            body: Any = self.body
            headers = dict(self.headers)
            if self.chunked and self.body is not None:
                body, headers["Transfer-Encoding"] = iter((self.body[:7], self.body[7:])), "chunked"
            connection.request(self.method, self.path, body, headers, encode_chunked=self.chunked)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        encoding = answer.headers.get("Content-Encoding")
        found: Fields = {"status": answer.status, "type": (answer.headers.get("Content-Type") or "").partition(";")[0]}
        if encoding:
            found["encoding"] = encoding
            said = INFLATED[encoding](said)
        return found | _body(said, answer.headers.get(HEADER_LENGTH))


@dataclass(frozen=True)
class Grpc:
    """A call over gRPC.

    Attributes:
        call: Its name, or that of a call of another service, with it: ``/grpc.health.v1.Health/Check``.
        sent: Its messages; each is a message or any bytes.
        compression: How gRPC compresses them.
        metadata: What is sent with the call besides.
    """

    call: str
    sent: tuple[Any, ...]
    compression: grpc.Compression = grpc.Compression.NoCompression
    metadata: tuple[tuple[str, str], ...] = ()

    def ask(self, server: Served) -> Fields:
        """The code, the sentence, and what the answers say."""
        method = messages.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name.get(self.call)
        kind: Any = getattr(messages, method.output_type.name) if method else None
        path = f"/{SERVICE}/{self.call}" if method else self.call
        data = [one if isinstance(one, bytes) else one.SerializeToString() for one in self.sent]
        found: Fields = {"code": "OK"}
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
            asked: Any = channel.stream_stream(path)
            call = asked(iter(data), timeout=PATIENCE, compression=self.compression, metadata=self.metadata)
            try:
                for index, answer in enumerate(call):
                    if method is None:
                        found[f"answer {index}"] = answer.hex()
                        continue
                    prefix = f"answer {index}." if method.server_streaming else ""
                    found |= {f"{prefix}{name}": value for name, value in _message(kind.FromString(answer)).items()}
            except grpc.RpcError:
                found |= {"code": call.code().name, "error": call.details()}
        return found


def _body(body: bytes, header_length: str | None) -> Fields:
    length = len(body) if header_length is None else int(header_length)
    found: Fields = {} if header_length is None else {"header length": "given"}
    if not body:
        return found
    try:
        document = json.loads(body[:length])
    except ValueError:
        return found | {"text": body.decode("utf-8", "replace")}
    found |= flat(document)
    rest = body[length:]
    for output in document.get("outputs", ()) if isinstance(document, dict) else ():
        size = output.get("parameters", {}).get("binary_data_size")
        if size is not None:
            found[f"outputs.{output['name']}.bytes"], rest = rest[:size].hex(), rest[size:]
    return found | ({"rest": rest.hex()} if rest else {})


def _message(message: Any) -> Fields:
    """The fields of a message, raw tensors by the names of their outputs."""
    answer = message.infer_response if hasattr(message, "infer_response") else message
    found: Fields = {}
    if hasattr(answer, "raw_output_contents"):
        pairs = zip(answer.outputs, answer.raw_output_contents, strict=True)
        found = {f"outputs.{output.name}.bytes": raw.hex() for output, raw in pairs}
        answer.ClearField("raw_output_contents")
    fields = MessageToDict(message, preserving_proto_field_name=True)
    if hasattr(message, "infer_response"):
        fields |= fields.pop("infer_response", {})
    if "error_message" in fields:
        fields["error"] = fields.pop("error_message")
    return found | flat(fields)


def flat(document: Any, path: str = "") -> Fields:
    """The leaves of a document by their paths; of lists of objects, each by its name."""
    if isinstance(document, dict):
        found: Fields = {} if document or not path else {path: {}}
        for name, value in document.items():
            found |= flat(value, f"{path}.{name}" if path else name)
        return found
    if isinstance(document, list) and any(isinstance(item, dict) for item in document):
        return {
            name: value
            for item in document
            for name, value in flat(item, f"{path}.{item.get('name', item.get('batch_size', ''))}".strip(".")).items()
        }
    return {path: document}
