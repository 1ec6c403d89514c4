"""Compressed messages over gRPC: what they are answered, and that none is inflated before its turn."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.calls import Client
from tests.runtime.http2 import DATA
from tests.runtime.test_streams import first, messages, request

if TYPE_CHECKING:
    from tests.runtime.conftest import Server

ROOT = Path(__file__).resolve().parents[2]
METHOD = "/inference.GRPCInferenceService/"
GOOD = request(2, "good").SerializeToString()


def test_many_messages_may_wait_and_one_at_a_time_is_inflated() -> None:
    """In a process of its own: a client's messages and the runtime's have the same names, of which one can have one."""
    line = [sys.executable, "-m", "tests.runtime.packed_calls"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"most": 1, "left": 0, "statuses": ["0"]}


def framed(data: bytes) -> bytes:
    return b"\x01" + len(data).to_bytes(4, "big") + data


async def asked(server: Server, method: str, data: bytes, encoding: str = "gzip") -> tuple[str, list[bytes]]:
    """How a call with one compressed message ends, and its answers."""
    client = Client(*await asyncio.open_connection("127.0.0.1", server.grpc))
    named: Mapping[bytes, bytes] = {b"grpc-encoding": encoding.encode()}
    client.begin(1, changes={b":path": (METHOD + method).encode(), **named})
    client.send(1, framed(data), ends=True)
    status = await client.status(1)
    client.writer.close()
    client.reading.cancel()
    found = b"".join(data for kind, _, _, data in client.frames if kind == DATA)
    answers = []
    while found:
        end = 5 + int.from_bytes(found[1:5], "big")
        answers.append(found[5:end])
        found = found[end:]
    return status, answers


WRONG = {
    "no gzip": (GOOD, "gzip", "3 the body cannot be inflated as gzip"),
    "cut off": (gzip.compress(GOOD)[:-3], "gzip", "3 the body is not one whole gzip stream"),
    "too long": (gzip.compress(bytes(2**20 + 1)), "gzip", "8 the body is over 1048576 bytes inflated"),
    "in no way that was said": (gzip.compress(GOOD), "identity", "3 a message is compressed and grpc-encoding"),
}


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer", "ServerLive"])
@pytest.mark.parametrize(("data", "encoding", "said"), WRONG.values(), ids=WRONG.keys())
async def test_what_cannot_be_inflated_ends_its_call(
    toy_server: Server, method: str, data: bytes, encoding: str, said: str
) -> None:
    status, answers = await asked(toy_server, method, data, encoding)
    assert status.startswith(said)
    assert not answers


async def test_what_is_inflated_is_answered_as_what_came_so(toy_server: Server) -> None:
    status, (answer,) = await asked(toy_server, "ModelInfer", gzip.compress(GOOD))
    assert status == "0"
    found = messages.ModelStreamInferResponse(infer_response=messages.ModelInferResponse.FromString(answer))
    assert (first(found), found.infer_response.id) == (2, "good")
    status, (answer,) = await asked(toy_server, "ModelStreamInfer", gzip.compress(GOOD))
    assert status == "0"
    found = messages.ModelStreamInferResponse.FromString(answer)
    assert (first(found), found.infer_response.id) == (2, "good")
    assert await asked(toy_server, "ServerLive", gzip.compress(b"")) == ("0", [b"\x08\x01"])


OTHER = request(2, "b", model_name="other").SerializeToString()
NEWER = request(2, "c", model_version="7").SerializeToString()
MISTAKES = {
    "no protobuf": (b"\xff" * 9, "3 the message", ""),
    "another model": (OTHER, "5 model 'other' is not served here; expected 'toy'", "b"),
    "another version": (
        request(2, "c", model_version="7").SerializeToString(),
        "5 model 'toy' has no version '7'",
        "c",
    ),
}


@pytest.mark.parametrize(("data", "said", "identity"), MISTAKES.values(), ids=MISTAKES.keys())
async def test_mistakes_are_told_from_each_other(toy_server: Server, data: bytes, said: str, identity: str) -> None:
    status, answers = await asked(toy_server, "ModelInfer", gzip.compress(data))
    assert (status.startswith(said), answers) == (True, [])
    status, (answer,) = await asked(toy_server, "ModelStreamInfer", gzip.compress(data))
    assert status == "0"
    found = messages.ModelStreamInferResponse.FromString(answer)
    assert found.error_message.startswith(said[2:])
    assert found.infer_response.id == identity
