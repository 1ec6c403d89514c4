"""Inputs for both ports, made of good ones: documents, messages, heads and frames with something changed in them."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
from tritonclient.grpc import service_pb2 as messages

from tests.runtime.http2 import DATA, HEADERS, PING, RST_STREAM, SETTINGS, call, frame

CORPUS: Final = Path(__file__).resolve().parents[1] / "runtime" / "corpus"
"""What was found, an input a file; `make test` tries each again."""

WILD: Final[list[Any]] = [
    None, True, False, -1, 0, 1, 2, 8, 9, 2**31, 2**63 - 1, 2**63, 2**64, 10**400, 1.5, -0.0, 1e308, 1e-400,
    float("nan"), float("inf"), "", "x", "toy", "relu", "FP32", "BYTES", "BF16", "\ud800", "\udfff\0", "é" * 300,
    "x" * 5000, [], [[]], {}, [None], {"": []}, {"name": "x"}, [1, "a", None], [[1, 2], [3, 4]], ["\ud800"], [1] * 40,
    [[[[[[[1]]]]]]],
]  # fmt: skip
NAMES: Final = (
    "id", "inputs", "outputs", "parameters", "name", "datatype", "shape", "data", "binary_data_size", "binary_data",
    "classification", "binary_data_output", "timeout", "priority", "sequence_id", "sequence_start", "triton_x",
    "shared_memory_region", "ready",
)  # fmt: skip
PATHS: Final = (
    "/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models/toy", "/v2/models/toy/versions/1",
    "/v2/models/toy/config", "/v2/models/toy/ready", "/v2/models/toy/stats", "/v2/models/stats", "/v2/models/toy/infer",
    "/v2/models/toy/versions/1/infer", "/v2/repository/index", "/v2/repository/models/toy/load", "/v2/logging",
    "/v2/trace/setting", "/v2/systemsharedmemory/status", "/v2/cudasharedmemory/region/a/register", "/metrics",
    "/traffic", "/drift", "/", "/v2/models/toy/image", "/v2/models/%74oy", "/v2/models/toy/versions/%00",
    "/v2/models//infer", "/v2/models/toy/infer?a=b",
)  # fmt: skip
METHODS: Final = ("GET", "HEAD", "POST", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FOO")
HEADERS_OF: Final = {
    "Inference-Header-Content-Length": ("0", "1", "60", "9999999", "-1", "abc", "1" * 30, "\u0661"),
    "Content-Encoding": ("gzip", "deflate", "identity", "br", "gzip, gzip", ""),
    "Accept-Encoding": ("gzip", "deflate;q=0", "gzip;q=0, deflate", "*", ",,,", "é"),
    "Content-Type": ("application/json", "application/octet-stream", "text/plain; a=b", ""),
    "Expect": ("100-continue", "nothing"),
    "Upgrade": ("h2c", "websocket"),
    "X-Odd": ("é", "a" * 2000, "\t"),
    "Accept": ("*/*", "text/html"),
    "Range": ("bytes=0-1",),
    "Cookie": ("a=b; c",),
}
CALLS: Final = (
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig", "ModelStatistics",
    "RepositoryIndex", "RepositoryModelLoad", "TraceSetting", "LogSettings", "SystemSharedMemoryRegister",
    "CudaSharedMemoryStatus",
)  # fmt: skip
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
STREAM: Final = "/inference.GRPCInferenceService/ModelStreamInfer"
OTHERS: Final = (
    *(f"/inference.GRPCInferenceService/{name}" for name in CALLS),
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
)


@dataclass(frozen=True)
class Input:
    """What is sent.

    Attributes:
        kind: ``request``: one request over HTTP with right framing; ``bytes``: anything to the HTTP port; ``call``: the
            messages of one call over gRPC; ``frames``: anything to the gRPC port; ``picture``: a request with a
            picture, to a server that takes them.
        data: The bytes, or each message.
        method: The call's method, or the request's.
    """

    kind: str
    data: tuple[bytes, ...]
    method: str = ""

    def text(self, found: str) -> str:
        """Write it for the corpus, with what it did."""
        parts = [base64.b64encode(part).decode() for part in self.data]
        return json.dumps({"kind": self.kind, "method": self.method, "found": found, "data": parts}, indent=1) + "\n"

    @classmethod
    def read(cls, file: Path) -> Input:
        """Read one of the corpus."""
        said = json.loads(file.read_text())
        return cls(said["kind"], tuple(map(base64.b64decode, said["data"])), said["method"])


def document(value: float = 1) -> dict[str, Any]:
    """A good request as JSON."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [value, 2, 3, 4], "parameters": {"a": 1}}
    asked = {"name": "relu", "parameters": {"binary_data": False}}
    return {"id": "7", "inputs": [tensor], "outputs": [asked], "parameters": {"timeout": 0, "b": "c"}}


def message(value: float = 1) -> Any:
    """A good request as a message."""
    made = messages.ModelInferRequest(model_name="toy", id="7", outputs=[{"name": "relu"}])
    made.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    made.raw_input_contents.append(np.array([value, 2, 3, 4], "<f4").tobytes())
    return made


def changed(rng: Random, data: bytes) -> bytes:
    """Bytes with one to eight changes."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(made) + 1)
        match rng.randrange(7):
            case 0 if place < len(made):
                made[place] = rng.randrange(256)
            case 1 if place < len(made):
                made[place] ^= 1 << rng.randrange(8)
            case 2:
                del made[place : place + rng.randint(1, 20)]
            case 3:
                made[place:place] = made[place : place + rng.randint(1, 60)]
            case 4:
                made[place:place] = rng.randbytes(rng.randint(1, 12))
            case 5:
                del made[place:]
            case _:
                made[place:place] = rng.choice(
                    [b"\r\n", b"\n", b"\0", b" ", b":", b'"', b"\xff" * 9, b"\x80", b"[" * 50]
                )
    return bytes(made)


def _places(found: Any) -> list[Any]:
    """Every list and object of a document."""
    nested = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return ([found] if isinstance(found, dict | list) else []) + [place for item in nested for place in _places(item)]


def spoilt(rng: Random, made: Any) -> Any:
    """A document with one to four changes."""
    for _ in range(rng.randint(1, 4)):
        place = rng.choice(_places(made) or [{}])
        value = rng.choice(WILD)
        if isinstance(value, dict | list):
            value = json.loads(json.dumps(value))
        if isinstance(place, dict):
            name = rng.choice([*place, *NAMES]) if rng.random() < 0.95 else rng.choice(["", "\ud800", "x" * 300])
            if rng.random() < 0.2:
                place.pop(name, None)
            else:
                place[name] = value
        elif place and rng.random() < 0.5:
            place[rng.randrange(len(place))] = value
        elif rng.random() < 0.3:
            place *= 2
        else:
            place.append(value)
    return made


def _body(rng: Random) -> tuple[bytes, dict[str, str]]:
    """A body, with the headers that belong to it."""
    chance = rng.random()
    if chance < 0.06:
        return rng.randbytes(rng.randint(0, 300)), {}
    if chance < 0.14:
        return json.dumps(rng.choice([*WILD, {"ready": rng.choice(WILD)}])).encode("utf-8", "surrogatepass"), {}
    made = document(rng.randint(-5, 5))
    tail = b""
    headers: dict[str, str] = {}
    if chance < 0.4:
        tail = np.arange(4, dtype="<f4").tobytes()
        made["inputs"][0] |= {"parameters": {"binary_data_size": 16}}
        del made["inputs"][0]["data"]
        made["outputs"][0]["parameters"]["binary_data"] = rng.random() < 0.5
    if rng.random() < 0.8:
        made = spoilt(rng, made)
    text = json.dumps(made, ensure_ascii=rng.random() < 0.8).encode("utf-8", "surrogatepass")
    if tail:
        headers["Inference-Header-Content-Length"] = str(len(text))
    body = text + tail
    if rng.random() < 0.25:
        body = changed(rng, body)
    if rng.random() < 0.15:
        packing = rng.choice(["gzip", "deflate"])
        headers["Content-Encoding"] = packing
        body = gzip.compress(body, 1, mtime=0) if packing == "gzip" else zlib.compress(body, 1)
        if rng.random() < 0.3:
            body = changed(rng, body)
    return body, headers


def _path(rng: Random) -> str:
    path = "/v2/models/toy/infer" if rng.random() < 0.6 else rng.choice(PATHS)
    if rng.random() < 0.1:
        place = rng.randint(1, len(path))
        path = path[:place] + rng.choice(["/", "%", "%ff", "..", "%2F", "x" * 300, "~", "?", "é"]) + path[place:]
    return path


def request(rng: Random) -> Input:
    """One request with right framing; what it asks for may be anything."""
    path = _path(rng)
    method = "POST" if path.endswith("infer") and rng.random() < 0.9 else rng.choice(METHODS)
    body, headers = _body(rng) if method not in {"GET", "HEAD"} or rng.random() < 0.1 else (b"", {})
    while rng.random() < 0.2:
        name = rng.choice([*HEADERS_OF])
        headers[name] = rng.choice(HEADERS_OF[name])
    lines = [f"{method} {path} HTTP/1.1", "Host: a", *(f"{name}: {value}" for name, value in headers.items())]
    if rng.random() < 0.1 and body:
        lines.append("Transfer-Encoding: chunked")
        size = rng.randint(1, len(body))
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
    return Input("request", ("\r\n".join(lines).encode() + b"\r\n\r\n" + body,), method)


def stream_of_bytes(rng: Random) -> Input:
    """Requests whose framing may be wrong."""
    return Input("bytes", (changed(rng, b"".join(request(rng).data[0] for _ in range(rng.randint(1, 3)))),))


def _parameter(rng: Random) -> Any:
    value = rng.choice([True, 0, 1, -1, 2**63 - 1, 1.5, "", "x", None])
    fields = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    return messages.InferParameter(**({fields[type(value)]: value} if value is not None else {}))


def _change(rng: Random, made: Any, one: Any) -> None:
    """Change a message, or an input of it."""
    changes: Sequence[Callable[[], Any]] = (
        lambda: setattr(made, rng.choice(["model_name", "model_version", "id"]), rng.choice(["", "1", "2", "toy"])),
        lambda: made.parameters[rng.choice(NAMES)].CopyFrom(_parameter(rng)),
        lambda: one.parameters[rng.choice(NAMES)].CopyFrom(_parameter(rng)),
        lambda: made.outputs.add(name=rng.choice(["relu", "softmax", "z", ""])),
        lambda: made.outputs.add(name="relu", parameters={"classification": _parameter(rng)}),
        lambda: one.shape.append(rng.choice([-1, 0, 1, 4, 2**62])),
        lambda: one.ClearField(rng.choice(["shape", "name", "datatype"])),
        lambda: setattr(one, "datatype", rng.choice(["FP32", "BYTES", "BF16", ""])),
        lambda: one.contents.fp32_contents.extend([1.0] * rng.randint(0, 9)),
        lambda: one.contents.int_contents.extend([1] * 4),
        lambda: made.ClearField("raw_input_contents"),
        lambda: made.raw_input_contents.append(rng.randbytes(rng.randint(0, 40))),
        lambda: made.inputs.add().CopyFrom(one),
    )
    rng.choice(changes)()


def _odd_message(rng: Random) -> bytes:
    made = message(rng.randint(-5, 5))
    for _ in range(rng.randint(0, 3)):
        _change(rng, made, rng.choice(made.inputs) if made.inputs else made.inputs.add())
    data: bytes = made.SerializeToString()
    return changed(rng, data) if rng.random() < 0.3 else data


def a_call(rng: Random) -> Input:
    """A call over gRPC, its message changed."""
    chance = rng.random()
    if chance < 0.6:
        return Input("call", (_odd_message(rng),), INFER)
    if chance < 0.8:
        return Input("call", tuple(_odd_message(rng) for _ in range(rng.randint(0, 4))), STREAM)
    data = rng.choice([b"", b"\x0a\x03toy", b"\x0a\x03toy\x12\x011", b"\x3a\x00", b"\x22\x05a.b.c", b"\x10\x01"])
    return Input("call", (changed(rng, data) if rng.random() < 0.7 else data,), rng.choice(OTHERS))


def some_frames(rng: Random) -> Input:
    """A connection to the gRPC port whose frames may be wrong."""
    data = message().SerializeToString()
    path = rng.choice([INFER, STREAM, *OTHERS]).encode()
    sent = call(path, ends=False) + frame(DATA, rng.randrange(2), 1, b"\0" + len(data).to_bytes(4, "big") + data)
    for _ in range(rng.randint(0, 3)):
        kind = rng.choice([DATA, HEADERS, RST_STREAM, SETTINGS, PING, 8, 9, 2, 5, 77])
        sent += frame(kind, rng.randrange(256), rng.choice([0, 1, 2, 3, 2**31 - 1]), rng.randbytes(rng.randint(0, 40)))
    return Input("frames", (changed(rng, sent) if rng.random() < 0.8 else sent,))
