"""Pushing blobs to registries that differ, played from what is known of each.

Where the shapes are known from: Amazon ECR aws/containers-roadmap#2831 (a chunk is answered 201, the range of later
ones stands still) and apple/containerization#790 (a session cannot be begun again at byte 0); Google Artifact
Registry cloud.google.com/artifact-registry/docs/reference/docker-api (no chunked uploads) and containers/skopeo#1101
(where an upload goes on); GitHub oras-project/rust-oci-client#35 (a chunk over 4 MiB is answered 416) and
containerd/stargz-snapshotter#167 (its store refuses HEAD); Harbor goharbor/harbor#18856 (a token that is not enough
is answered with a basic challenge) and #17097 (a mount from a project that one may not read is answered 401); Quay
containers/image#1948 (302 to a store that refuses a second login); Zot regclient/regclient#961 (ranges counted from
each chunk). The real registry over S3 is in test_oci_registry.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import httpx
import pytest

from edgesmith_builder.oci import (
    Backoff,
    BytesBlob,
    Credentials,
    Descriptor,
    Login,
    Registry,
    RegistryForbidden,
    RegistryRefused,
    RegistryUnreachable,
    Repository,
)
from edgesmith_builder.oci.content import LAYER
from edgesmith_builder.oci.upload import CHUNK

TARGET = Repository.parse("hub.example/team/model")
BASE = Repository.parse("hub.example/edgesmith/runtime")
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
class Played(httpx.AsyncBaseTransport):
    """A registry with one upload at a time, and a line that breaks."""

    chunks: str = "as specified"
    """`as specified`, `dropped` (ECR), `none` (GAR), `4 MiB at most` (GitHub), `counted from each chunk` (Zot once)."""
    breaks: list[int] = field(default_factory=list)
    """How many bytes of a body arrive before the line breaks, for one request after the other."""
    location: str = "/v2/team/model/blobs/uploads/1?_state=x"
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
        if self.chunks == "dropped" and self.kept:
            return httpx.Response(201, headers={"Location": self.location, "Range": f"0-{self.said - 1}"})
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


VENDORS = {
    "distribution": Played(),
    "ecr": Played(chunks="dropped", location="https://hub.example/v2/team/model/blobs/uploads/b49173cd"),
    "gar": Played(chunks="none", location="/artifacts-uploads/namespaces/p/repositories/r/uploads/AI27aG"),
    "ghcr": Played(chunks="4 MiB at most", location="/v2/team/model/blobs/upload/1"),
    "zot": Played(chunks="counted from each chunk"),
}


def played(vendor: str, breaks: list[int]) -> Played:
    shape = VENDORS[vendor]
    return Played(shape.chunks, breaks, shape.location)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_blob_goes_in_one_request_and_never_whole_in_memory(vendor: str) -> None:
    blob, server = Data(), played(vendor, [])
    async with server.client() as client:
        assert await client.push_blob(TARGET, blob) == "uploaded"
    assert server.log == ["HEAD", "POST", "PUT"]
    assert server.blobs[blob.descriptor.digest] == DATA
    assert server.largest == PIECE


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("breaks", [[5 * MIB], [PIECE, 6 * MIB]], ids=["once", "twice"])
async def test_a_blob_arrives_over_a_line_that_breaks(vendor: str, breaks: list[int]) -> None:
    blob, server = Data(), played(vendor, list(breaks))
    async with server.client() as client:
        assert await client.push_blob(TARGET, blob) == "uploaded"
    assert server.blobs[blob.descriptor.digest] == DATA


async def test_what_arrived_is_not_sent_again() -> None:
    blob, server = Data(), played("distribution", [5 * MIB])
    async with server.client() as client:
        await client.push_blob(TARGET, blob)
    last = len(DATA) - 1
    assert server.log == ["HEAD", "POST", "PUT", "GET", f"PATCH {5 * MIB}-{last}", "PUT"]
    assert blob.offsets == [0, 5 * MIB]


async def test_chunks_are_given_up_where_the_range_does_not_advance() -> None:
    """ECR takes no chunk as specified: after one try the blob goes in one request, by a session of its own."""
    server = played("ecr", [5 * MIB])
    async with server.client() as client:
        await client.push_blob(TARGET, Data())
    assert server.log == ["HEAD", "POST", "PUT", "GET", f"PATCH {5 * MIB}-{len(DATA) - 1}", "POST", "PUT"]


async def test_a_break_after_the_last_byte_sends_nothing_again() -> None:
    blob, server = Data(), played("distribution", [len(DATA)])
    async with server.client() as client:
        await client.push_blob(TARGET, blob)
    assert blob.offsets == [0]
    assert server.blobs[blob.descriptor.digest] == DATA


async def test_a_blob_whose_last_answer_was_lost_is_there() -> None:
    blob = Data()

    class Forgetful(Played):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            if request.method == "PUT":
                raise httpx.ReadError("lost", request=request)
            return response

    server = Forgetful()
    async with server.client() as client:
        assert await client.push_blob(TARGET, blob) == "uploaded"
    assert server.log == ["HEAD", "POST", "PUT", "HEAD"]


async def test_a_proxy_that_bounds_requests_gets_chunks() -> None:
    server = Played(body_limit=4 * MIB)
    async with server.client(chunk=4 * MIB) as client:
        await client.push_blob(TARGET, blob := Data())
    assert server.blobs[blob.descriptor.digest] == DATA
    assert [line for line in server.log if line.startswith("PATCH")] == [
        f"PATCH 0-{4 * MIB - 1}", f"PATCH {4 * MIB}-{8 * MIB - 1}", f"PATCH {8 * MIB}-{len(DATA) - 1}",
    ]  # fmt: skip


async def test_a_registry_that_takes_neither_says_so() -> None:
    async with Played("dropped", body_limit=4 * MIB).client(chunk=MIB) as client:
        with pytest.raises(RegistryRefused, match=r"neither all of a blob in one request nor chunks .*answered 201"):
            await client.push_blob(TARGET, Data())


async def test_a_line_that_never_holds_ends_the_upload() -> None:
    server = played("gar", [PIECE] * 9)
    async with server.client() as client:
        with pytest.raises(RegistryUnreachable, match="broken"):
            await client.push_blob(TARGET, Data())
    assert server.log.count("PUT") == 3


def test_chunks_are_as_large_as_every_store_takes() -> None:
    assert CHUNK == 10 * MIB


async def test_a_session_that_is_lost_starts_again() -> None:
    class Restarted(Played):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "PUT" and self.log.count("POST") == 1:
                self.log.append("PUT 404")
                return httpx.Response(404)
            return await super().handle_async_request(request)

    server = Restarted()
    async with server.client() as client:
        await client.push_blob(TARGET, blob := Data())
    assert server.log == ["HEAD", "POST", "PUT 404", "POST", "PUT"]
    assert server.blobs[blob.descriptor.digest] == DATA


async def test_what_a_break_spoiled_is_sent_anew() -> None:
    """A registry that still wrote the broken request's bytes while we went on refuses the digest, once."""

    class Spoiled(Played):
        def _put(self, request: httpx.Request, body: bytes) -> httpx.Response:
            if not body and self.log.count("POST") == 1:
                self.kept += b"late"
            return super()._put(request, body)

    server = Spoiled(breaks=[5 * MIB])
    async with server.client() as client:
        await client.push_blob(TARGET, blob := Data())
    assert server.blobs[blob.descriptor.digest] == DATA
    assert server.log.count("POST") == 2


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_upload_waits_as_long_as_it_is_asked_to(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    class Busy(Played):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == method and not waits:
                return httpx.Response(429, headers={"Retry-After": "7"})
            return await super().handle_async_request(request)

    monkeypatch.setattr("edgesmith_builder.oci.upload.asyncio.sleep", sleep)
    async with Busy().client() as client:
        assert await client.push_blob(TARGET, Data()) == "uploaded"
    assert waits == [7.0]


async def test_a_small_blob_waits_as_long_as_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"{}") if waits else httpx.Response(503, headers={"Retry-After": "7"})

    monkeypatch.setattr("edgesmith_builder.oci.registry.asyncio.sleep", sleep)
    async with Registry(backoff=Backoff(2, 0.0), transport=httpx.MockTransport(handler)) as client:
        assert await client.read_blob(TARGET, BytesBlob(b"{}", LAYER).descriptor) == b"{}"
    assert waits == [7.0]


# What is there already ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_blob_that_lies_elsewhere_is_there(status: int) -> None:
    """The store behind a registry answers GET with a signed address, and HEAD with 403: it is not asked."""

    def handler(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.host) == ("HEAD", "hub.example")
        return httpx.Response(status, headers={"Location": "https://bucket.example/blob?X-Amz-Signature=x"})

    async with Registry(backoff=Backoff(1), transport=httpx.MockTransport(handler)) as client:
        assert await client.push_blob(TARGET, Data()) == "there"


@pytest.mark.parametrize("challenge", ['Basic realm="store"', 'Bearer realm="https://store.example/token"'])
async def test_a_store_that_a_registry_redirects_to_is_never_told_the_login(challenge: str) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.host == "store.example":
            assert "Authorization" not in request.headers
            return httpx.Response(401, headers={"WWW-Authenticate": challenge})
        if "Authorization" not in request.headers:
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="hub"'})
        return httpx.Response(302, headers={"Location": "https://store.example/manifest"})

    login = Credentials({"hub.example": Login("robot", "s3cret")})
    async with Registry(credentials=login, backoff=Backoff(1), transport=httpx.MockTransport(handler)) as client:
        with pytest.raises(RegistryForbidden):
            await client.manifest(TARGET.tagged("1"))
    assert asked == ["/v2/team/model/manifests/1", "/v2/team/model/manifests/1", "/manifest"]


# Mounts ---------------------------------------------------------------------------------------------------------------


class Mounting(Played):
    """Refuses mounts with `refusal`; a token that was asked for two repositories opens neither."""

    refusal = 401

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example":
            scopes = request.url.params.get_list("scope")
            self.log.append(f"token for {' '.join(scopes)}")
            return httpx.Response(200, json={"token": "+".join(scopes)})
        wanted = ["repository:team/model:pull,push"]
        if "mount" in request.url.params:
            wanted.append("repository:edgesmith/runtime:pull")
        if request.headers.get("Authorization") != "Bearer " + "+".join(wanted):
            challenge = f'Bearer realm="https://auth.example/token",service="hub",scope="{" ".join(wanted)}"'
            return httpx.Response(401, headers={"WWW-Authenticate": challenge})
        if "mount" in request.url.params:
            self.log.append("mount")
            return httpx.Response(self.refusal, json={"errors": [{"code": "DENIED"}]})
        return await super().handle_async_request(request)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
async def test_a_mount_that_is_refused_becomes_an_upload(status: int) -> None:
    server = Mounting()
    server.refusal = status
    async with server.client() as client:
        assert await client.push_blob(TARGET, blob := Data(), mount_from=BASE) == "uploaded"
    assert blob.descriptor.digest in server.blobs
    after = server.log[server.log.index("mount") :]
    assert after[-3:] == ["token for repository:team/model:pull,push", "POST", "PUT"]


async def test_a_mount_for_which_there_is_no_token_becomes_an_upload() -> None:
    class Strict(Mounting):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.host == "auth.example" and len(request.url.params.get_list("scope")) > 1:
                return httpx.Response(403)
            return await super().handle_async_request(request)

    async with Strict().client() as client:
        assert await client.push_blob(TARGET, Data(), mount_from=BASE) == "uploaded"


async def test_an_upload_that_a_mount_opened_is_used() -> None:
    server = Played()
    async with server.client() as client:
        assert await client.push_blob(TARGET, Data(), mount_from=BASE) == "uploaded"
    assert server.log == ["HEAD", "POST", "PUT"]


async def test_harbor_answers_a_token_that_is_not_enough_with_a_basic_challenge() -> None:
    class Harbor(Played):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            given = request.headers.get("Authorization", "")
            if request.url.path == "/service/token":
                return httpx.Response(200, json={"token": request.url.params["scope"].rpartition(":")[2]})
            if not given:
                action = "pull" if request.method == "HEAD" else "pull,push"
                challenge = (
                    'Bearer realm="https://hub.example/service/token",service="harbor-registry",'
                    f'scope="repository:team/model:{action}"'
                )
                return httpx.Response(401, headers={"WWW-Authenticate": challenge})
            if re.fullmatch("Bearer pull", given) and request.method != "HEAD":
                return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="harbor"'})
            return await super().handle_async_request(request)

    server = Harbor()
    async with server.client(Credentials({"hub.example": Login("robot$edge", "s3cret")})) as client:
        assert await client.push_blob(TARGET, Data(), mount_from=BASE) == "uploaded"
