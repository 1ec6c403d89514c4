"""A server on this device as an engine: what the self-test asks, it asks as a client does."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import numpy as np

from edgesmith_runtime.codec.binary import from_raw, to_raw
from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.errors import BadRequest
from edgesmith_runtime.tensors import TensorSpec, datatype_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["LOOPBACK", "RemoteEngine", "server_version"]

LOOPBACK: Final = "127.0.0.1"
_TIMEOUT: Final = 600.0
"""Seconds for one answer; slow devices take large batches too."""

_LENGTH: Final = "Inference-Header-Content-Length"
_LONGEST: Final = 500


class RemoteEngine:
    """A model behind a port of this device, over one connection: for one thread at a time.

    Args:
        port: The HTTP port.
        model: The model's name.

    Raises:
        EngineError: There is no such model.
        OSError, HTTPException: The server does not answer.
    """

    warning: str | None = None
    """Triton says nothing of its own doubts."""

    def __init__(self, port: int, model: str) -> None:
        self._connection = HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT)
        self._path = f"/v2/models/{quote(model)}"
        said = json.loads(self._ask("GET", self._path)[0])
        self.inputs, self.outputs = (
            tuple(TensorSpec(one["name"], one["datatype"], tuple(map(int, one["shape"]))) for one in said[kind])
            for kind in ("inputs", "outputs")
        )

    def infer(
        self,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Sequence[str] | None = None,
        *,
        busy: bool = False,  # noqa: ARG002 - the server sees for itself who waits
    ) -> dict[str, NDArray[Any]]:
        """Ask the server once; see `Engine.infer`.

        Raises:
            EngineError: It refused, or failed.
            OSError, HTTPException: It does not answer.
        """
        names = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        entries, parts = [], []
        for name, array in inputs.items():
            raw = to_raw(array)
            parts.append(raw)
            entry = {"name": name, "datatype": datatype_of(np.asarray(array)), "shape": list(array.shape)}
            entries.append(entry | {"parameters": {"binary_data_size": len(raw)}})
        asked = [{"name": name, "parameters": {"binary_data": True}} for name in names]
        head = json.dumps({"inputs": entries, "outputs": asked}).encode()
        body, length = self._ask("POST", f"{self._path}/infer", b"".join([head, *parts]), {_LENGTH: str(len(head))})
        return _tensors(memoryview(body), length)

    def settle(self) -> None:
        """Nothing: the server gives back by itself."""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, int]:
        self._connection.request(method, path, body, dict(headers or {}))
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != HTTPStatus.OK:
            raise EngineError(f"the server refused: {_words(text)}")
        return text, int(answer.headers.get(_LENGTH, len(text)))


def server_version(port: int) -> str:
    """Ask a server on this device for its version.

    Args:
        port: The HTTP port.

    Raises:
        OSError, HTTPException: It does not answer.
    """
    connection = HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", "/v2")
        return str(json.loads(connection.getresponse().read())["version"])
    finally:
        connection.close()


def _words(text: bytes) -> str:
    """What a server says of a refusal."""
    said = text[:_LONGEST].decode(errors="replace")
    try:
        return str(json.loads(text)["error"])[:_LONGEST]
    except (ValueError, KeyError, TypeError):
        return said


def _tensors(body: memoryview, length: int) -> dict[str, NDArray[Any]]:
    answers: dict[str, NDArray[Any]] = {}
    rest = body[length:]
    for output in json.loads(bytes(body[:length]))["outputs"]:
        size = output["parameters"]["binary_data_size"]
        shape = tuple(output["shape"])
        try:
            answers[output["name"]] = from_raw(
                TensorSpec(output["name"], output["datatype"], shape), shape, rest[:size]
            )
        except BadRequest as error:
            raise EngineError(f"the server's answer cannot be read: {error}") from error
        rest = rest[size:]
    return answers
