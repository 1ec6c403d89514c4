"""A small push client for OCI registries (distribution-spec 1.1), enough for the registry beside a cluster."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import IO
from urllib.parse import parse_qsl, urlencode, urlsplit

from .console import ImageError

TIMEOUT_S = 60.0
"""For one answer of the registry; a transfer may take any time as long as it moves."""


def is_local(host: str) -> bool:
    """Says whether a registry is spoken to in plain HTTP, as one on this machine or its private bridge is.

    Args:
        host: A name or an address, without the port.

    Returns:
        True for localhost and for private and loopback IPv4 addresses.
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    numbers = host.split(".")
    if len(numbers) != 4 or not all(number.isdigit() for number in numbers):
        return False
    first, second = int(numbers[0]), int(numbers[1])
    return first in {10, 127} or (first, second) == (192, 168) or (first == 172 and 16 <= second <= 31)


@dataclass(frozen=True)
class Repository:
    """One repository of a registry.

    Attributes:
        registry: ``host:port``.
        name: Such as ``edgesmith/runtime``.
        secure: Whether to use TLS.
        credentials: ``user:password``, or None.
    """

    registry: str
    name: str
    secure: bool
    credentials: str | None = None

    def _ask(
        self, method: str, path: str, *, body: bytes | IO[bytes] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[HTTPResponse, bytes]:
        """Sends one request on a connection of its own.

        Raises:
            ImageError: The registry cannot be reached.
        """
        kind = HTTPSConnection if self.secure else HTTPConnection
        connection = kind(self.registry, timeout=TIMEOUT_S)
        sent = dict(headers or {})
        if self.credentials is not None:
            sent["Authorization"] = f"Basic {base64.b64encode(self.credentials.encode()).decode()}"
        try:
            connection.request(method, path, body=body, headers=sent)
            response = connection.getresponse()
            return response, response.read()
        except (OSError, HTTPException) as error:
            scheme = "https" if self.secure else "http"
            raise ImageError(
                f"The registry {scheme}://{self.registry} did not answer {method} {path}: {error}."
            ) from error
        finally:
            connection.close()

    def _refuse(self, what: str, response: HTTPResponse, content: bytes) -> ImageError:
        said = content[:300].decode(errors="replace").strip()
        return ImageError(f"The registry {self.registry} refused {what}: {response.status} {response.reason} {said}")

    def has(self, digest: str) -> bool:
        """Asks for a blob.

        Args:
            digest: ``sha256:…``.

        Returns:
            Whether the repository has it.

        Raises:
            ImageError: The registry answers neither yes nor no.
        """
        response, content = self._ask("HEAD", f"/v2/{self.name}/blobs/{digest}")
        if response.status not in {200, 404}:
            raise self._refuse(f"to look for {digest} in {self.name}", response, content)
        return response.status == 200

    def put_blob(self, path: Path, digest: str, size: int) -> bool:
        """Uploads a blob unless it is there, streaming.

        Args:
            path: The blob's file.
            digest: ``sha256:…``.
            size: Bytes.

        Returns:
            Whether it was sent.

        Raises:
            ImageError: The registry refuses it.
        """
        if self.has(digest):
            return False
        response, content = self._ask("POST", f"/v2/{self.name}/blobs/uploads/", headers={"Content-Length": "0"})
        location = response.getheader("Location")
        if response.status != 202 or location is None:
            raise self._refuse(f"an upload to {self.name}", response, content)
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        with path.open("rb") as file:
            response, content = self._ask("PUT", upload_path(location, digest), body=file, headers=headers)
        if response.status != 201:
            raise self._refuse(f"{digest} for {self.name}", response, content)
        return True

    def put_manifest(self, content: bytes, media_type: str, reference: str) -> None:
        """Uploads a manifest or an index.

        Args:
            content: Its bytes.
            media_type: Its type.
            reference: A tag or its digest.

        Raises:
            ImageError: The registry refuses it.
        """
        headers = {"Content-Type": media_type, "Content-Length": str(len(content))}
        response, said = self._ask("PUT", f"/v2/{self.name}/manifests/{reference}", body=content, headers=headers)
        if response.status != 201:
            raise self._refuse(f"the manifest {reference} of {self.name}", response, said)


def upload_path(location: str, digest: str) -> str:
    """Makes the request that ends an upload out of the answer that began it.

    Args:
        location: The ``Location`` header: a path or a URL, with or without a query of its own.
        digest: Of the blob.

    Returns:
        Path and query.
    """
    parts = urlsplit(location)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("digest", digest)])
    return f"{parts.path}?{query}"


def repository(registry: str, name: str) -> Repository:
    """Opens a repository, with the credentials of the environment.

    Args:
        registry: ``host:port``, with ``http://`` or ``https://`` before it where the choice is not plain.
        name: The repository.

    Returns:
        The repository; ``EDGESMITH_REGISTRY_CREDENTIALS`` (``user:password``) is used when set.

    Raises:
        ImageError: The registry is not a host and a port.
    """
    scheme, _, rest = registry.rpartition("://")
    host = urlsplit(f"//{rest}")
    if scheme not in {"", "http", "https"} or not host.hostname or host.path not in {"", "/"}:
        raise ImageError(f"The registry is {registry!r}, expected HOST:PORT such as 10.0.0.1:5000.")
    secure = scheme == "https" if scheme else not is_local(host.hostname)
    return Repository(host.netloc, name, secure, os.environ.get("EDGESMITH_REGISTRY_CREDENTIALS"))
