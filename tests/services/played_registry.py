"""A registry played from what is known of one, with one upload at a time and a line that breaks."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import httpx

from edgesmith_builder.oci import Backoff, Credentials, Descriptor, Registry
from edgesmith_builder.oci.content import LAYER
from edgesmith_builder.oci.upload import CHUNK

MIB = 1 << 20
DATA = hashlib.shake_256(b"upload").digest(9 * MIB + 3)
PIECE = 64 * 1024


class Data:
    """A blob that counts how often it is read from where."""

    def __init__(self, data: bytes = DATA) -> None:
        self.descriptor = Descriptor.of(data, LAYER)
        self.offsets: list[int] = []
        self._data = data

    async def stream(self, offset: int) -> AsyncGenerator[bytes, None]:
        self.offsets.append(offset)
        for start in range(offset, len(self._data), PIECE):
            yield self._data[start : start + PIECE]


@dataclass
class PlayedRegistry(httpx.AsyncBaseTransport):
    """A way to send requests, for a client, and the registry at its end."""

    chunks: str = "as specified"
    """`as specified`, `dropped` (ECR), `accepted and dropped`, `none` (GAR), `4 MiB at most` (GitHub), or
    `counted from each chunk` (Zot once)."""
    breaks: list[int] = field(default_factory=list)
    """How many bytes of a body arrive before the line breaks, for one request after the other."""
    location: str = "/v2/team/model/blobs/uploads/1?_state=x"
    passes_on: bool = True
    """Whether what stands before it passes on what arrived of a request that broke, or whole requests only."""
    body_limit: int = 1 << 30
    """Bytes in one request that the proxy before it lets through."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    kept: bytearray = field(default_factory=bytearray)
    said: int = 0
    """Bytes that it says it has."""
    largest: int = 0

    def client(self, credentials: Credentials | None = None, chunk: int = CHUNK) -> Registry:
        return Registry(credentials=credentials, backoff=Backoff(3, 0.0, 0.0), chunk=chunk, transport=self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.log.append(f"{request.method} {request.headers.get('Content-Range', '')}".strip())
        if request.method == "HEAD":
            return httpx.Response(200 if request.url.path.rpartition("/")[2] in self.blobs else 404)
        if request.method == "POST":
            self.kept.clear()
            self.said = 0
            return httpx.Response(202, headers={"Location": self.location})
        if request.method == "GET":
            status = 404 if self.chunks == "none" else 204
            return httpx.Response(status, headers={"Range": f"0-{max(0, self.said - 1)}"})
        if int(request.headers.get("Content-Length", "0")) > self.body_limit:
            return httpx.Response(413, content=b"<html>nginx</html>")
        body = await self._received(request)
        return self._patch(request, body) if request.method == "PATCH" else self._put(request, body)

    async def _received(self, request: httpx.Request) -> bytes:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        body, limit = bytearray(), self.breaks.pop(0) if self.breaks and request.method in ("PUT", "PATCH") else None
        async for piece in request.stream:
            body += piece
            self.largest = max(self.largest, len(piece))
            if limit is not None and len(body) >= limit:
                if self.passes_on:
                    self.kept += body[:limit]
                    self.said = len(self.kept)
                raise httpx.WriteError("broken", request=request)
        return bytes(body)

    def _patch(self, request: httpx.Request, body: bytes) -> httpx.Response:
        first, last = map(int, request.headers["Content-Range"].split("-"))
        if self.chunks == "none":
            return httpx.Response(400, json={"errors": [{"code": "UNSUPPORTED"}]})
        if first != len(self.kept) or (self.chunks == "4 MiB at most" and len(body) > 4 * MIB):
            return httpx.Response(416)
        if "dropped" in self.chunks and self.kept:
            status = 202 if "accepted" in self.chunks else 201
            return httpx.Response(status, headers={"Location": self.location, "Range": f"0-{self.said - 1}"})
        self.kept += body
        self.said = len(self.kept)
        end = last - first if self.chunks == "counted from each chunk" else last
        status = 201 if self.chunks == "dropped" else 202
        return httpx.Response(status, headers={"Location": self.location, "Range": f"0-{end}"})

    def _put(self, request: httpx.Request, body: bytes) -> httpx.Response:
        if body and self.kept:
            return httpx.Response(416, json={"errors": [{"code": "BLOB_UPLOAD_INVALID"}]})
        digest = request.url.params["digest"]
        data = body or bytes(self.kept)
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            return httpx.Response(400, json={"errors": [{"code": "DIGEST_INVALID"}]})
        self.blobs[digest] = data
        return httpx.Response(201)
