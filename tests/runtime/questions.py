"""What is asked of our server and of a real tritonserver, to compare the answers: a table of requests with names."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as messages
from tritonclient.utils import serialize_byte_tensor

from tests.runtime.asking import HEADER_LENGTH, Grpc, Http
from tests.runtime.conftest import TYPES, example

Question = Http | Grpc
Json = dict[str, Any]

X = np.array([[1, -2, 3, -4], [0.5, 0, 0, 0.25]], np.float32)
FIELDS = {"BOOL": "bool", "INT64": "int64", "UINT64": "uint64", "FP32": "fp32", "FP64": "fp64", "BYTES": "bytes"}
FIELDS |= dict.fromkeys(("INT8", "INT16", "INT32"), "int") | dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint")
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def tensor(array: Any = X, name: str = "x", datatype: str = "FP32", **fields: Any) -> Json:
    """An input as JSON."""
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()} | fields


def infer(
    document: Any, tail: bytes = b"", model: str = "toy", headers: Mapping[str, str] = MappingProxyType({})
) -> Http:
    """An inference over HTTP; bytes behind the JSON get the header that says where they begin."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    length = {HEADER_LENGTH: str(len(body))} if tail else {}
    return Http("POST", f"/v2/models/{model}/infer", body + tail, length | dict(headers))


def toy(*outputs: Json, parameters: Json | None = None, **fields: Any) -> Json:
    """A request of the toy model as JSON; `fields` are those of its input."""
    document: Json = {"id": "7", "inputs": [tensor(**fields)], "outputs": list(outputs) or [{"name": "relu"}]}
    return document | ({"parameters": parameters} if parameters is not None else {})


def call(*outputs: Json, parameters: Json | None = None, raw: bytes | None = X.tobytes(), **fields: Any) -> Any:
    """A request of the toy model as a message; `fields` are those of its input."""
    message = messages.ModelInferRequest(
        model_name="toy", id="7", outputs=list(outputs) or [{"name": "relu"}], parameters=parameters or {}
    )
    message.inputs.add(**({"name": "x", "datatype": "FP32", "shape": X.shape} | fields))
    if raw is not None:
        message.raw_input_contents.append(raw)
    return message


def raw_of(datatype: str, array: Any) -> bytes:
    """A tensor's bytes as both protocols carry them."""
    if datatype != "BYTES":
        return bytes(array.tobytes())
    encoded = np.array([item.encode() for item in array.ravel()], np.object_).reshape(array.shape)
    return bytes(serialize_byte_tensor(encoded).item())


EXAMPLES = {name: example(name, (3, 2)) for name in TYPES}


def pages() -> Iterator[tuple[str, Question]]:
    """Everything that is no inference, over HTTP."""
    for name, path in {
        "live": "health/live",
        "ready": "health/ready",
        "server": "",
        "model": "models/toy",
        "version": "models/toy/versions/1",
        "model ready": "models/toy/ready",
        "version ready": "models/toy/versions/1/ready",
        "config": "models/toy/config",
        "another model": "models/other",
        "another version": "models/toy/versions/2",
        "a version that is no number": "models/toy/versions/x",
        "another model ready": "models/other/ready",
        "config of another model": "models/other/config",
        "statistics of another model": "models/other/stats",
        "statistics of another version": "models/toy/versions/2/stats",
        "no page": "nowhere",
        "trace": "trace/setting",
        "trace of a model": "models/toy/trace/setting",
        "logging": "logging",
        "shared memory": "systemsharedmemory/status",
        "CUDA memory": "cudasharedmemory/status",
        "a region": "systemsharedmemory/region/a/status",
    }.items():
        yield f"page {name}", Http("GET", f"/v2/{path}".rstrip("/"))
    yield "page server with a slash", Http("GET", "/v2/")
    yield "post to a page", Http("POST", "/v2/models/toy", b"{}")
    yield "get of an inference", Http("GET", "/v2/models/toy/infer")
    for name, body in {"": b"", " of ready models": b'{"ready":true}', " of no object": b"[]"}.items():
        yield f"index{name}", Http("POST", "/v2/repository/index", body)
    yield "index of no JSON", Http("POST", "/v2/repository/index", b"{")
    yield "index of a repository", Http("POST", "/v2/repository/own/index", b"")
    for name, path in {"a health page": "health/live", "a model": "models/toy", "no page": "nowhere"}.items():
        yield f"head of {name}", Http("HEAD", f"/v2/{path}")
    yield "head of an inference", Http("HEAD", "/v2/models/toy/infer")
    yield "get of the index", Http("GET", "/v2/repository/index")
    yield "load", Http("POST", "/v2/repository/models/toy/load", b"{}")
    yield "unload", Http("POST", "/v2/repository/models/toy/unload", b"{}")
    yield "register", Http("POST", "/v2/systemsharedmemory/region/a/register", b'{"key":"a","offset":0,"byte_size":8}')


def datatypes() -> Iterator[tuple[str, Question]]:
    """Every datatype in every form."""
    for given, wanted in product(("JSON", "binary"), repeat=2):
        document, tail = _types(given, wanted)
        yield f"every datatype {given} to {wanted}", infer(document, tail, "types")
    document, tail = _types("binary", "binary")
    broken = tail.replace("grüße".encode(), b"gr\xff\xff\xff\xffe")
    yield "bytes that are no text", infer(document, broken, model="types")
    message = messages.ModelInferRequest(model_name="types", id="7")
    for name, array in EXAMPLES.items():
        message.inputs.add(name=f"in_{name}", datatype=name, shape=[3, 2])
        message.raw_input_contents.append(raw_of(name, array))
    yield "every datatype raw over gRPC", Grpc("ModelInfer", (message,))
    nested = toy(data=X.tolist())
    yield "nested lists", infer(nested)
    for name in ("FP16", "BF16", "FP99", "", "fp32"):
        yield f"datatype {name!r}", infer(toy(datatype=name))
    yield "no samples", infer(toy(array=np.zeros((0, 4), np.float32)))
    yield "halves as JSON", infer(toy(datatype="FP16"))
    odd: dict[str, Any] = {
        "over FP32": 1e39,
        "null": None,
        "text": "1",
        "a truth": True,
        "huge": 10**400,
    }
    for name, item in odd.items():
        yield f"element {name}", infer(toy(data=[item, 1, 1, 1, 1, 1, 1, 1]))
    yield "a literal NaN", infer(json.dumps(toy()).replace("-2.0", "NaN").encode())
    yield "fewer elements", infer(toy(data=[1, 2, 3]))
    yield "more elements", infer(toy(data=[1] * 9))
    yield "data that is no list", infer(toy(data=1))
    infinite = X.copy()
    infinite[0, 0] = np.inf
    document = {"inputs": [_binary()], "outputs": [{"name": "relu"}]}
    yield "infinity as JSON", infer(document, infinite.tobytes())
    document = {"inputs": [_binary()], "outputs": [{"name": "relu", "parameters": {"binary_data": True}}]}
    yield "infinity as bytes", infer(document, infinite.tobytes())


def _types(given: str, wanted: str, left_out: str = "") -> tuple[Json, bytes]:
    """A request with every datatype, JSON or binary; halves are binary at any rate."""
    document: Json = {"inputs": [], "outputs": []}
    tail = b""
    for name, array in EXAMPLES.items():
        if name == left_out:
            continue
        entry: Json = {"name": f"in_{name}", "datatype": name, "shape": [3, 2]}
        if given == "JSON" and name != "FP16":
            entry["data"] = array.ravel().tolist()
        else:
            entry["parameters"] = {"binary_data_size": len(raw_of(name, array))}
            tail += raw_of(name, array)
        document["inputs"].append(entry)
        binary = {"binary_data": wanted == "binary" or name == "FP16"}
        document["outputs"].append({"name": f"out_{name}", "parameters": binary})
    return document, tail


def _binary(size: int = 32, **fields: Any) -> Json:
    return {"name": "x", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": size}} | fields


def bfloats() -> Iterator[tuple[str, Question]]:
    """BF16, and halves of both kinds as JSON."""
    bits = np.array([[0x3F80, 0xC000], [0x7F7F, 0x8000], [0x0001, 0x7F80]], np.uint16)
    entry: Json = {"name": "x", "datatype": "BF16", "shape": [3, 2], "parameters": {"binary_data_size": 12}}
    given, wanted = {"inputs": [entry]}, {"name": "y", "parameters": {"binary_data": True}}
    yield "BF16 binary", infer(given | {"outputs": [wanted]}, bits.tobytes(), "halves")
    small = bits[:2].tobytes()
    shorter = entry | {"shape": [2, 2], "parameters": {"binary_data_size": 8}}
    yield "BF16 to JSON", infer({"inputs": [shorter], "outputs": [{"name": "y"}]}, small, "halves")
    data = {"name": "x", "datatype": "BF16", "shape": [1, 2], "data": [1, 0.5]}
    yield "BF16 of JSON", infer({"inputs": [data], "outputs": [wanted]}, model="halves")
    odd = entry | {"parameters": {"binary_data_size": 10}}
    yield "BF16 of another size", infer({"inputs": [odd], "outputs": [wanted]}, bits.tobytes()[:10], "halves")
    message = messages.ModelInferRequest(model_name="halves", outputs=[{"name": "y"}])
    message.inputs.add(name="x", datatype="BF16", shape=[3, 2])
    message.raw_input_contents.append(bits.tobytes())
    yield "gRPC BF16", Grpc("ModelInfer", (message,))
    document, tail = _types("binary", "JSON")
    next(one for one in document["outputs"] if one["name"] == "out_FP16")["parameters"]["binary_data"] = False
    yield "FP16 to JSON", infer(document, tail, "types")
    document, tail = _types("JSON", "JSON")
    half = next(one for one in document["inputs"] if one["name"] == "in_FP16")
    half["data"] = EXAMPLES["FP16"].ravel().tolist()
    del half["parameters"]
    yield "FP16 of JSON", infer(document, model="types")


def encodings() -> Iterator[tuple[str, Question]]:
    """Binary data, bare tensors, compressed bodies."""
    both = {"inputs": [_binary()], "parameters": {"binary_data_output": True}}
    one = both | {"outputs": [{"name": "relu"}, {"name": "softmax", "parameters": {"binary_data": False}}]}
    yield "all outputs binary", infer(both, X.tobytes())
    yield "named outputs where all are binary", infer(one, X.tobytes())
    yield "bare tensor", infer(X[:1].tobytes(), headers={HEADER_LENGTH: "0"})
    yield "bare tensor of two samples", infer(X.tobytes(), headers={HEADER_LENGTH: "0"})
    yield "bare tensor of a part", infer(X.tobytes()[:20], headers={HEADER_LENGTH: "0"})
    yield "bare tensor of many inputs", infer(X.tobytes(), model="types", headers={HEADER_LENGTH: "0"})
    yield "binary too short", infer({"inputs": [_binary()]}, X.tobytes()[:-1])
    yield "binary too long", infer({"inputs": [_binary()]}, X.tobytes() + b"\0")
    yield "binary of another size", infer({"inputs": [_binary(28)]}, X.tobytes()[:28])
    yield "binary of a negative size", infer({"inputs": [_binary(-1)]}, X.tobytes())
    yield "binary beside data", infer({"inputs": [_binary(data=[1] * 8)]}, X.tobytes())
    text = json.dumps(toy()).encode()
    yield "header length no number", infer(X[:1].tobytes(), headers={HEADER_LENGTH: "abc"})
    for name, value in {"over the body": "9999", "negative": "-1", "all": str(len(text))}.items():
        yield f"header length {name}", infer(text, headers={HEADER_LENGTH: value})
    for packing, pack in PACKED.items():
        headers = {"Content-Encoding": packing, "Accept-Encoding": packing}
        many = json.dumps(_types("JSON", "JSON", left_out="FP16")[0]).encode()
        yield f"{packing} both ways", infer(pack(many), model="typed", headers=headers)
        document, tail = _types("binary", "binary")
        yield f"{packing} of a binary answer", infer(document, tail, "types", {"Accept-Encoding": packing})
        yield f"{packing} of little", infer(pack(text), headers=headers)
        body = json.dumps({"inputs": [_binary()]}).encode()
        headers = {"Content-Encoding": packing, HEADER_LENGTH: str(len(body))}
        yield f"{packing} of binary", infer(pack(body + X.tobytes()), headers=headers)
        yield f"{packing} that is none", infer(text, headers={"Content-Encoding": packing})
    yield "in chunks", replace(infer(text), chunked=True)
    yield "in chunks with binary data", replace(infer({"inputs": [_binary()]}, X.tobytes()), chunked=True)
    yield "in chunks, and no JSON", replace(infer(text[:-1]), chunked=True)
    yield "another encoding", infer(text, headers={"Content-Encoding": "br"})
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        yield f"gRPC {compression.name}", Grpc("ModelInfer", (call(),), compression)


PARAMETERS: dict[str, Any] = {
    "anything": "x",
    "priority": 2,
    "timeout": 30_000_000,
    "sequence_id": 5,
    "sequence_start": True,
    "sequence_end": True,
    "headers": "x",
    "triton_other": 1,
    "triton_enable_empty_final_response": True,
}
ODD: dict[str, list[Any]] = {
    "anything": [[1], None, {"a": 1}, 1.5, False],
    "priority": [-1, "x", 1.5],
    "timeout": [-1, "x", 1],
    "sequence_id": [-1, "a", "", 0],
    "sequence_start": [1, False],
    "binary_data_output": [1, True],
}


def parameters() -> Iterator[tuple[str, Question]]:
    """Parameters of requests, inputs and outputs."""
    for name, value in [*PARAMETERS.items(), *((name, value) for name, values in ODD.items() for value in values)]:
        yield f"parameter {name} {value!r}", infer(toy(parameters={name: value}))
        if not isinstance(value, list | dict):
            yield f"gRPC parameter {name} {value!r}", Grpc("ModelInfer", (call(parameters={name: _parameter(value)}),))
    for name, value in {"anything": "x", "shared_memory_region": "r", "shared_memory_byte_size": 4}.items():
        yield (
            f"input parameter {name}",
            infer(toy(parameters={}) | {"inputs": [tensor() | {"parameters": {name: value}}]}),
        )
        yield f"output parameter {name}", infer(toy({"name": "relu", "parameters": {name: value}}))
    yield "parameters that are a list", infer(toy() | {"parameters": [1]})
    for classes in (0, 1, 2, 4, 100, -1, "2", 1001):
        asked = {"name": "softmax", "parameters": {"classification": classes}}
        yield f"classification {classes!r}", infer(toy(asked))
        if isinstance(classes, int):
            asked = {"name": "softmax", "parameters": {"classification": _parameter(classes)}}
            yield f"gRPC classification {classes!r}", Grpc("ModelInfer", (call(asked),))
    asked = {"name": "relu", "parameters": {"classification": 2, "binary_data": True}}
    yield "binary classification", infer(toy(asked))
    yield "binary_data of another type", infer(toy({"name": "relu", "parameters": {"binary_data": 1}}))
    yield "no id", infer({"inputs": [tensor()], "outputs": [{"name": "relu"}]})
    yield "an id that is a number", infer(toy() | {"id": 7})
    yield "an id of any text", infer(toy() | {"id": 'a"\u00fc\n'})


def _parameter(value: Any) -> Any:
    fields = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    return messages.InferParameter(**({fields[type(value)]: value} if value is not None else {}))


def mistakes() -> Iterator[tuple[str, Question]]:
    """Requests that do not fit, over both protocols."""
    changes: dict[str, Json] = {
        "rank": {"shape": [8]},
        "size": {"shape": [1, 8]},
        "negative size": {"shape": [-2, -4]},
        "batch": {"array": np.ones((9, 4), np.float32)},
        "unknown input": {"name": "z"},
        "other datatype": {"datatype": "INT32"},
    }
    for name, fields in changes.items():
        yield f"wrong {name}", infer(toy(**fields))
        array = fields.pop("array", X)
        fields.setdefault("shape", array.shape)
        yield f"gRPC wrong {name}", Grpc("ModelInfer", (call(raw=array.tobytes(), **fields),))
    others: dict[str, Json] = {
        "no inputs": {"inputs": []},
        "inputs missing": {"inputs": None},
        "inputs that are an object": {"inputs": {}},
        "an input twice": {"inputs": [tensor(), tensor()]},
        "an unknown output": {"outputs": [{"name": "z"}]},
        "an output twice": {"outputs": [{"name": "relu"}, {"name": "relu"}]},
        "no outputs": {"outputs": []},
        "outputs that are an object": {"outputs": {}},
        "an input without a name": {"inputs": [{"datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]},
        "an input without data": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4]}]},
        "an input without a shape": {"inputs": [{"name": "x", "datatype": "FP32", "data": [1, 1, 1, 1]}]},
        "an unknown field": {"more": 1},
    }
    for name, change in others.items():
        yield name, infer({key: value for key, value in (toy() | change).items() if value is not None})
    for name, body in {"no JSON": b"{", "nothing": b"", "a list": b"[]", "no text": b'{"\xff":1}'}.items():
        yield f"a body that is {name}", infer(body)
    yield "another model's inference", infer(toy(), model="other")
    yield "another version's inference", Http("POST", "/v2/models/toy/versions/2/infer", json.dumps(toy()).encode())
    yield "the version's inference", Http("POST", "/v2/models/toy/versions/1/infer", json.dumps(toy()).encode())


def calls() -> Iterator[tuple[str, Question]]:
    """Calls over gRPC."""
    for name in ("ServerLive", "ServerReady", "ServerMetadata"):
        yield f"gRPC {name}", Grpc(name, (b"",))
    for name in ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"):
        kind = getattr(messages, f"{name}Request")
        known = [("toy", ""), ("toy", "1")] if name != "ModelStatistics" else []
        for model, version in (*known, ("toy", "2"), ("toy", "x"), ("other", "")):
            yield f"gRPC {name} {model} {version}".rstrip(), Grpc(name, (kind(name=model, version=version),))
    yield "gRPC index", Grpc("RepositoryIndex", (messages.RepositoryIndexRequest(),))
    yield "gRPC index of a repository", Grpc("RepositoryIndex", (messages.RepositoryIndexRequest(repository_name="a"),))
    for name in (
        "RepositoryModelLoad", "RepositoryModelUnload", "TraceSetting", "LogSettings", "SystemSharedMemoryStatus",
        "SystemSharedMemoryRegister", "CudaSharedMemoryUnregister",
    ):  # fmt: skip
        yield f"gRPC {name}", Grpc(name, (b"",))
    typed = messages.ModelInferRequest(model_name="typed")
    for name, array in EXAMPLES.items():
        if name in FIELDS:
            given = typed.inputs.add(name=f"in_{name}", datatype=name, shape=[3, 2])
            items = [item.encode() for item in array.ravel()] if name == "BYTES" else array.ravel().tolist()
            getattr(given.contents, f"{FIELDS[name]}_contents").extend(items)
    yield "gRPC typed contents", Grpc("ModelInfer", (typed,))
    contents = {"fp32_contents": X.ravel().tolist()}
    yield "gRPC contents", Grpc("ModelInfer", (call(raw=None, contents=contents),))
    yield "gRPC contents beside raw", Grpc("ModelInfer", (call(contents=contents),))
    yield "gRPC contents of another type", Grpc("ModelInfer", (call(raw=None, contents={"int_contents": [1] * 8}),))
    yield "gRPC fewer contents", Grpc("ModelInfer", (call(raw=None, contents={"fp32_contents": [1] * 7}),))
    yield "gRPC no contents", Grpc("ModelInfer", (call(raw=None),))
    yield "gRPC raw too short", Grpc("ModelInfer", (call(raw=X.tobytes()[:-4]),))
    yield "gRPC raw too long", Grpc("ModelInfer", (call(raw=X.tobytes() + bytes(4)),))
    yield "gRPC unknown output", Grpc("ModelInfer", (call({"name": "z"}),))
    yield "gRPC output twice", Grpc("ModelInfer", (call({"name": "relu"}, {"name": "relu"}),))
    yield "gRPC another model", Grpc("ModelInfer", (messages.ModelInferRequest(model_name="other"),))
    yield "gRPC no inputs", Grpc("ModelInfer", (messages.ModelInferRequest(model_name="toy"),))
    yield "gRPC no message", Grpc("ModelInfer", (b"\xff\xff",))
    wrong = call()
    wrong.inputs[0].name = "z"
    final = call(parameters={"triton_enable_empty_final_response": messages.InferParameter(bool_param=True)})
    yield "stream", Grpc("ModelStreamInfer", (call(), wrong, final, messages.ModelInferRequest(id="8"), call()))
    for said in ("true", "True", "false", "1", ""):
        stream = Grpc("ModelStreamInfer", (call(), wrong, call()), metadata=(("triton_grpc_error", said),))
        yield f"stream with triton_grpc_error {said}".rstrip(), stream
    yield "stream of nothing", Grpc("ModelStreamInfer", ())


def beside() -> Iterator[tuple[str, Question]]:
    """Services beside the protocol's own."""
    check = "/grpc.health.v1.Health/Check"
    own = b"inference.GRPCInferenceService"
    for name, message in {
        "": b"",
        " of the service": b"\x0a" + bytes([len(own)]) + own,
        " of another service": b"\x0a\x05other",
        " of no message": b"\xff",
    }.items():
        yield f"gRPC health{name}", Grpc(check, (message,))
    for version in ("v1", "v1alpha"):
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        yield f"gRPC reflection {version}", Grpc(path, (b"\x3a\x00",))


def words() -> Iterator[tuple[str, Question]]:
    """BYTES in each form, alone. Classes of it are not asked for: tritonserver 2.51 ends then."""
    asked = [{"name": "out_BYTES", "parameters": {"binary_data": True}}]
    entry: Json = {"name": "in_BYTES", "datatype": "BYTES", "shape": [2, 1]}
    yield "words as JSON", infer({"inputs": [entry | {"data": ["a", "gr\u00fc\u00dfe"]}]}, model="words")
    yield "words as nested JSON", infer({"inputs": [entry | {"data": [["a"], [""]]}]}, model="words")
    tail = b"\1\0\0\0a\0\0\0\0"
    binary = entry | {"parameters": {"binary_data_size": len(tail)}}
    yield "words as bytes", infer({"inputs": [binary], "outputs": asked}, tail, "words")
    yield "a bare word", infer(b"hello", model="words", headers={HEADER_LENGTH: "0"})
    for name, broken in {"end early": b"\1\0\0\0a\5\0\0\0b", "too many": tail + b"\0" * 4, "too few": tail[:5]}.items():
        one = entry | {"parameters": {"binary_data_size": len(broken)}}
        yield f"words that {name}", infer({"inputs": [one], "outputs": asked}, broken, "words")


def questions() -> dict[str, Question]:
    """All of them by name."""
    found: dict[str, Question] = {}
    for table in (pages, datatypes, bfloats, words, encodings, parameters, mistakes, calls, beside):
        for name, question in table():
            assert name not in found, name
            found[name] = question
    return found


def model_of(question: Question) -> str:
    """Whose server of ours is asked."""
    if isinstance(question, Grpc):
        sent = question.sent[0] if question.sent and not isinstance(question.sent[0], bytes) else None
        name = getattr(sent, "model_name", "toy")
    else:
        name = question.path.removeprefix("/v2/models/").partition("/")[0]
    return name if name in {"types", "typed", "halves", "words"} else "toy"
