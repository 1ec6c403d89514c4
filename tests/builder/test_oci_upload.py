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

import httpx
import pytest
from played_registry import DATA, MIB, PIECE, Data, PlayedRegistry

from edgesmith_builder.oci import (
    Backoff,
    Registry,
    RegistryRefused,
    RegistryUnreachable,
    Repository,
)
from edgesmith_builder.oci.upload import CHUNK

TARGET = Repository.parse("hub.example/team/model")

VENDORS = {
    "distribution": PlayedRegistry(),
    "ecr": PlayedRegistry(chunks="dropped", location="https://hub.example/v2/team/model/blobs/uploads/b49173cd"),
    "gar": PlayedRegistry(chunks="none", location="/artifacts-uploads/namespaces/p/repositories/r/uploads/AI27aG"),
    "ghcr": PlayedRegistry(chunks="4 MiB at most", location="/v2/team/model/blobs/upload/1"),
    "zot": PlayedRegistry(chunks="counted from each chunk"),
}


def played(vendor: str, breaks: list[int]) -> PlayedRegistry:
    shape = VENDORS[vendor]
    return PlayedRegistry(shape.chunks, breaks, shape.location)


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


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_proxy_that_passes_on_whole_requests_only(vendor: str) -> None:
    """Nothing of a broken request is kept, and a large blob would never arrive: it goes in chunks, if they count."""
    blob, server = Data(), played(vendor, [8 * MIB, MIB // 2])
    server.passes_on = False
    async with server.client(chunk=MIB) as client:
        assert await client.push_blob(TARGET, blob) == "uploaded"
    assert server.blobs[blob.descriptor.digest] == DATA
    assert server.log[-1] == "PUT"
    assert server.log[-2].startswith("PATCH") is (vendor in ("distribution", "ghcr"))


async def test_a_session_that_chunks_are_refused_for_time_and_again_gets_the_whole() -> None:
    class NoPatch(PlayedRegistry):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "PATCH":
                return httpx.Response(404, json={"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]})
            return await super().handle_async_request(request)

    server = NoPatch(breaks=[5 * MIB], passes_on=False)
    async with server.client(chunk=MIB) as client:
        await client.push_blob(TARGET, blob := Data())
    assert server.blobs[blob.descriptor.digest] == DATA


async def test_what_arrived_is_not_sent_again() -> None:
    blob, server = Data(), played("distribution", [5 * MIB])
    async with server.client() as client:
        await client.push_blob(TARGET, blob)
    last = len(DATA) - 1
    assert server.log == ["HEAD", "POST", "PUT", "GET", f"PATCH {5 * MIB}-{last}", "PUT"]
    assert blob.offsets == [0, 5 * MIB]


@pytest.mark.parametrize("chunks", ["dropped", "accepted and dropped", "counted from each chunk"])
async def test_chunks_are_given_up_where_the_range_does_not_advance(chunks: str) -> None:
    """ECR takes no chunk as specified: after one try the blob goes in one request, by a session of its own."""
    server = PlayedRegistry(chunks, [5 * MIB])
    async with server.client(chunk=MIB) as client:
        await client.push_blob(TARGET, Data())
    assert server.log == ["HEAD", "POST", "PUT", "GET", f"PATCH {5 * MIB}-{6 * MIB - 1}", "POST", "PUT"]


async def test_a_break_after_the_last_byte_sends_nothing_again() -> None:
    blob, server = Data(), played("distribution", [len(DATA)])
    async with server.client() as client:
        await client.push_blob(TARGET, blob)
    assert blob.offsets == [0]
    assert server.blobs[blob.descriptor.digest] == DATA


async def test_a_blob_whose_last_answer_was_lost_is_there() -> None:
    blob = Data()

    class Forgetful(PlayedRegistry):
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
    server = PlayedRegistry(body_limit=4 * MIB)
    async with server.client(chunk=4 * MIB) as client:
        await client.push_blob(TARGET, blob := Data())
    assert server.blobs[blob.descriptor.digest] == DATA
    assert [line for line in server.log if line.startswith("PATCH")] == [
        f"PATCH 0-{4 * MIB - 1}", f"PATCH {4 * MIB}-{8 * MIB - 1}", f"PATCH {8 * MIB}-{len(DATA) - 1}",
    ]  # fmt: skip


async def test_a_registry_that_takes_neither_says_so() -> None:
    async with PlayedRegistry("dropped", body_limit=4 * MIB).client(chunk=MIB) as client:
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
    class Restarted(PlayedRegistry):
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

    class Spoiled(PlayedRegistry):
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

    class Busy(PlayedRegistry):
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

    blob = Data(b"small")

    def handler(_: httpx.Request) -> httpx.Response:
        return (
            httpx.Response(200, content=blob.stream(0)) if waits else httpx.Response(503, headers={"Retry-After": "7"})
        )

    monkeypatch.setattr("edgesmith_builder.oci.backoff.asyncio.sleep", sleep)
    async with Registry(backoff=Backoff(2, 0.0), transport=httpx.MockTransport(handler)) as client:
        assert await client.read_blob(TARGET, blob.descriptor) == b"small"
    assert waits == [7.0]
