"""What spares an upload: a blob that is there already, or is mounted from a neighbour; and where logins end.

Where the shapes are known from: see test_oci_upload.py.
"""

from __future__ import annotations

import re

import httpx
import pytest
from played_registry import Data, PlayedRegistry

from edgesmith_builder.oci import (
    Backoff,
    Credentials,
    Login,
    Registry,
    RegistryForbidden,
    Repository,
)

TARGET = Repository.parse("hub.example/team/model")
BASE = Repository.parse("hub.example/edgesmith/runtime")


# What is there already ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_blob_that_lies_elsewhere_is_there(status: int) -> None:
    """The store behind a registry answers GET with a signed address, and HEAD with 403: it is not asked."""

    def handler(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.host) == ("HEAD", "hub.example")
        return httpx.Response(status, headers={"Location": "https://bucket.example/blob?X-Amz-Signature=x"})

    async with Registry(backoff=Backoff(1), transport=httpx.MockTransport(handler)) as client:
        assert await client.push_blob(TARGET, Data()) == "there"


ONE, TWO = (f"sha256:{digit * 64}" for digit in "12")


@pytest.mark.parametrize(
    ("status", "declared", "said"),
    [(200, ONE, ONE), (200, TWO, TWO), (200, None, None), (302, ONE, None), (404, ONE, None), (405, ONE, None)],
)
async def test_one_head_says_which_digest_a_tag_names(status: int, declared: str | None, said: str | None) -> None:
    """Whatever says less than that is no error: then the manifest is read."""
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url}")
        assert "manifest.v1+json" in request.headers["Accept"]
        headers = {"Location": "https://bucket.example/manifest"}
        return httpx.Response(status, headers=headers | ({"Docker-Content-Digest": declared} if declared else {}))

    async with Registry(backoff=Backoff(1), transport=httpx.MockTransport(handler)) as client:
        assert await client.digest_under(TARGET.tagged("1")) == said
    assert asked == ["HEAD https://hub.example/v2/team/model/manifests/1"]


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
        for _ in range(2):
            with pytest.raises(RegistryForbidden):
                await client.manifest(TARGET.tagged("1"))
    manifest = "/v2/team/model/manifests/1"
    assert asked == [manifest, manifest, "/manifest", manifest, "/manifest"]


# Mounts ---------------------------------------------------------------------------------------------------------------


class Mounting(PlayedRegistry):
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
        given = request.headers.get("Authorization", "")
        if "+" in given and "mount" not in request.url.params:
            return httpx.Response(403)
        if given != "Bearer " + "+".join(wanted):
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
    server = PlayedRegistry()
    async with server.client() as client:
        assert await client.push_blob(TARGET, Data(), mount_from=BASE) == "uploaded"
    assert server.log == ["HEAD", "POST", "PUT"]


async def test_harbor_answers_a_token_that_is_not_enough_with_a_basic_challenge() -> None:
    class Harbor(PlayedRegistry):
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
