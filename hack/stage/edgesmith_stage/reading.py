"""Reading from an API server over one connection that is kept open.

A test asks for an object several times a second. A kubectl for each of them takes a tenth of a second of a processor,
which the nodes of the same machine then lack.
"""

from __future__ import annotations

import atexit
import base64
import json
import ssl
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from edgesmith_stage.errors import StageError

Object = dict[str, Any]

_SECONDS = 10.0
"""For which an answer is waited."""
_EDGESMITH, _CORE, _BATCH = "apis/edgesmith.dev/v1alpha1", "api/v1", "apis/batch/v1"
_WHERE = {
    "edgemodels": _EDGESMITH,
    "events": _CORE,
    "jobs": _BATCH,
    "nodes": _CORE,
    "pods": _CORE,
    "services": _CORE,
}
_OF_NO_NAMESPACE = {"nodes"}


class Reader:
    """Reads with the client certificate of a kubeconfig that holds its certificates itself, as JSON."""

    def __init__(self, kubeconfig: str) -> None:
        config = json.loads(kubeconfig)
        (cluster,), (user,) = config["clusters"], config["users"]
        context = ssl.create_default_context(cadata=_decoded(cluster["cluster"]["certificate-authority-data"]))
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as both:  # ssl reads a client's certificate from a file
            both.write(_decoded(user["user"]["client-certificate-data"]))
            both.write(_decoded(user["user"]["client-key-data"]))
            both.flush()
            context.load_cert_chain(both.name)
        # Where it is on this machine no proxy leads to it.
        self._client = httpx.Client(
            base_url=cluster["cluster"]["server"], verify=context, timeout=_SECONDS, trust_env=False
        )

    def get(self, kind: str, name: str, namespace: str) -> Object | None:
        """One object, or None where there is none.

        Raises:
            StageError: The API server does not answer, or refuses.
        """
        return self._read(f"{_path(kind, namespace)}/{name}", {})

    def list(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> list[Object]:
        """Objects of a kind with the labels; of all namespaces where `namespace` is None.

        Raises:
            StageError: The API server does not answer, or refuses.
        """
        chosen = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())} if labels else {}
        path = _path(kind, namespace)
        found = self._read(path, chosen)
        if found is None:
            raise StageError(f"the API server has no {path}")
        items: list[Object] = found["items"]
        return items

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _read(self, path: str, query: Mapping[str, str]) -> Object | None:
        try:
            answer = self._answer(path, query)
        except httpx.HTTPError as error:
            raise StageError(f"the API server did not answer GET {path}: {error!r}") from error
        if answer.status_code == httpx.codes.NOT_FOUND and _says_not_found(answer):
            return None
        if answer.is_error:
            raise StageError(f"the API server answered GET {path} with {answer.status_code}: {answer.text.strip()}")
        found: Object = answer.json()
        return found

    def _answer(self, path: str, query: Mapping[str, str]) -> httpx.Response:
        try:
            return self._client.get(f"/{path}", params=query)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # The connection is from before the API server started anew: once more, over a fresh one.
            return self._client.get(f"/{path}", params=query)


def reads(kind: str) -> bool:
    """Whether a reader knows where objects of a kind are."""
    return _plural(kind) in _WHERE


@cache
def _reader(kubeconfig: str) -> Reader:
    reader = Reader(kubeconfig)
    atexit.register(reader.close)
    return reader


def reader_of(kubeconfig: Path) -> Reader:
    """The reader of a kubeconfig: the same one until what is in the file changes, as it does with a new cluster.

    Raises:
        StageError: There is no such file.
    """
    try:
        return _reader(kubeconfig.read_text())
    except OSError as error:
        raise StageError(f"cannot read {kubeconfig}: {error}") from error


def _plural(kind: str) -> str:
    return kind if kind.endswith("s") else f"{kind}s"


def _path(kind: str, namespace: str | None) -> str:
    plural = _plural(kind)
    where = "" if namespace is None or plural in _OF_NO_NAMESPACE else f"namespaces/{namespace}/"
    return f"{_WHERE[plural]}/{where}{plural}"


def _says_not_found(answer: httpx.Response) -> bool:
    """Whether it is an object that lacks; of a kind that it does not serve an API server says 404 in plain text."""
    return str(answer.headers.get("content-type", "")).startswith("application/json")


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
