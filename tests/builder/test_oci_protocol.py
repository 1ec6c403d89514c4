"""The registry client against answers that a well-behaved registry does not give, and logins that need no server."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from edgesmith_builder.oci import (
    Backoff,
    BytesBlob,
    Credentials,
    Index,
    Manifest,
    Reference,
    Registry,
    RegistryForbidden,
    RegistryRefused,
    RegistryUnreachable,
    Repository,
)
from edgesmith_builder.oci.content import CONFIG, LAYER, MANIFEST, digest_of

IMAGE = Manifest(BytesBlob(b"{}", CONFIG).descriptor, ()).to_bytes()
REFERENCE = Reference.parse("hub.example/team/model:1")
Handler = Callable[[httpx.Request], httpx.Response]


def registry(handler: Handler, credentials: Credentials | None = None) -> Registry:
    transport = httpx.MockTransport(handler)
    return Registry(credentials=credentials, backoff=Backoff(3, 0.0, 0.0), transport=transport)


def login(host: str = "hub.example", password: str = "s3cret") -> Credentials:  # noqa: S107 - of nobody
    auth = base64.b64encode(f"robot:{password}".encode()).decode()
    return Credentials.from_json(json.dumps({"auths": {host: {"auth": auth}}}))


async def streamed(data: bytes) -> AsyncIterator[bytes]:
    yield data


def image(**headers: str) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": MANIFEST, **headers}, content=IMAGE)


async def test_a_bearer_token_is_fetched_with_the_login_and_kept() -> None:
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url} {request.headers.get('Authorization', '-')}")
        if request.url.host == "auth.example":
            return httpx.Response(200, json={"token": "t0ken"})
        if request.headers.get("Authorization") == "Bearer t0ken":
            return image()
        challenge = 'Bearer realm="https://auth.example/token",service="hub",scope="repository:team/model:pull"'
        return httpx.Response(401, headers={"WWW-Authenticate": challenge})

    async with registry(handler, login()) as client:
        assert await client.manifest(REFERENCE) is not None
        assert await client.manifest(REFERENCE) is not None
    basic = "Basic " + base64.b64encode(b"robot:s3cret").decode()
    assert seen == [
        "GET https://hub.example/v2/team/model/manifests/1 -",
        f"GET https://auth.example/token?service=hub&scope=repository%3Ateam%2Fmodel%3Apull {basic}",
        "GET https://hub.example/v2/team/model/manifests/1 Bearer t0ken",
        "GET https://hub.example/v2/team/model/manifests/1 Bearer t0ken",
    ]


async def test_an_expired_token_is_fetched_anew() -> None:
    tokens = iter(("old", "new"))

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example":
            return httpx.Response(200, json={"access_token": next(tokens)})
        if request.headers.get("Authorization") == "Bearer new":
            return image()
        if request.headers.get("Authorization") == "Bearer old" and request.url.path.endswith("/1"):
            return image()
        return httpx.Response(401, headers={"WWW-Authenticate": 'Bearer realm="https://auth.example/token"'})

    async with registry(handler) as client:
        assert await client.manifest(REFERENCE) is not None
        assert await client.manifest(REFERENCE.repository.tagged("2")) is not None


async def test_a_login_is_not_sent_over_plain_http() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "hub.example", "the realm must not be asked"
        return httpx.Response(401, headers={"WWW-Authenticate": 'Bearer realm="http://auth.example/token"'})

    async with registry(handler, login()) as client:
        with pytest.raises(RegistryRefused, match="without TLS"):
            await client.manifest(REFERENCE)


async def test_a_login_is_not_sent_to_another_registry() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert "Authorization" not in request.headers
        return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    async with registry(handler, login("other.example")) as client:
        with pytest.raises(RegistryForbidden):
            await client.manifest(REFERENCE)


async def test_a_login_does_not_follow_a_redirect_elsewhere() -> None:
    blob = BytesBlob(b"far away", LAYER)

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "cdn.example":
            assert "Authorization" not in request.headers
            return httpx.Response(200, content=streamed(b"far away"))
        if "Authorization" not in request.headers:
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return httpx.Response(307, headers={"Location": "https://cdn.example/blob?signature=x"})

    async with registry(handler, login()) as client:
        assert await client.read_blob(REFERENCE.repository, blob.descriptor) == b"far away"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_login_is_forbidden(status: int) -> None:
    body = {"errors": [{"code": "DENIED", "message": "no push for robot"}]}
    async with registry(lambda _: httpx.Response(status, json=body), login()) as client:
        with pytest.raises(RegistryForbidden, match=rf"answered {status} .*DENIED: no push for robot") as caught:
            await client.push_manifest(REFERENCE, IMAGE)
    assert "s3cret" not in str(caught.value)


async def test_the_registry_s_own_words_are_in_the_sentence() -> None:
    body = {"errors": [{"code": "MANIFEST_INVALID", "message": "quota\nexceeded"}]}
    async with registry(lambda _: httpx.Response(400, json=body)) as client:
        with pytest.raises(RegistryRefused, match=r"MANIFEST_INVALID: quota exceeded"):
            await client.push_manifest(REFERENCE, IMAGE)


async def test_server_errors_are_tried_again_and_then_given_up() -> None:
    answers = [httpx.Response(503), httpx.Response(500), image()]
    async with registry(lambda _: answers.pop(0)) as client:
        assert await client.manifest(REFERENCE) is not None
    asked = []

    def broken(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(502)

    async with registry(broken) as client:
        with pytest.raises(RegistryUnreachable, match="answered 502"):
            await client.manifest(REFERENCE)
    assert len(asked) == 3


async def test_a_connection_error_keeps_the_upload_s_state_out_of_the_message() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "HEAD":
            return httpx.Response(404)
        if request.method == "POST":
            return httpx.Response(202, headers={"Location": "/v2/team/model/blobs/uploads/1?_state=s3cret"})
        raise httpx.ReadError("connection reset", request=request)

    async with registry(handler) as client:
        with pytest.raises(RegistryUnreachable) as caught:
            await client.push_blob(REFERENCE.repository, BytesBlob(b"x", LAYER))
    assert "s3cret" not in str(caught.value)
    assert "connection reset" in str(caught.value)


async def test_a_manifest_of_another_digest_is_refused() -> None:
    async with registry(lambda _: image(**{"Docker-Content-Digest": "sha256:" + "0" * 64})) as client:
        with pytest.raises(RegistryRefused, match=f"answered with {digest_of(IMAGE)} .* was expected"):
            await client.manifest(REFERENCE)
        with pytest.raises(RegistryRefused, match="was expected"):
            await client.manifest(REFERENCE.repository.pinned("sha256:" + "1" * 64))


async def test_a_manifest_stored_under_another_digest_is_refused() -> None:
    answer = httpx.Response(201, headers={"Docker-Content-Digest": "sha256:" + "0" * 64})
    async with registry(lambda _: answer) as client:
        with pytest.raises(RegistryRefused, match=r"stored sha256:0+ when writing the manifest 1"):
            await client.push_manifest(REFERENCE, IMAGE)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"far aWay", "the same digest was expected"), (b"far", "sent 3 bytes"), (b"far away and more", "were expected")],
)
async def test_a_blob_of_other_bytes_is_refused(content: bytes, words: str) -> None:
    descriptor = BytesBlob(b"far away", LAYER).descriptor
    async with registry(lambda _: httpx.Response(200, content=streamed(content))) as client:
        with pytest.raises(RegistryRefused, match=words):
            await client.read_blob(REFERENCE.repository, descriptor)


async def test_a_range_that_the_registry_ignores_is_skipped_here() -> None:
    descriptor = BytesBlob(b"far away", LAYER).descriptor
    async with registry(lambda _: httpx.Response(200, content=streamed(b"far away"))) as client:
        stream = client.stream_blob(REFERENCE.repository, descriptor, 4)
        assert b"".join([piece async for piece in stream]) == b"away"


async def test_an_answer_without_end_is_cut_off() -> None:
    async with registry(lambda _: httpx.Response(200, content=b" " * (5 << 20))) as client:
        with pytest.raises(RegistryRefused, match="more than"):
            await client.manifest(REFERENCE)


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"config": 1}', b'{"config": {}, "layers": []}'])
async def test_a_malformed_manifest_is_refused(body: bytes) -> None:
    answer = httpx.Response(200, headers={"Content-Type": MANIFEST}, content=body)
    async with registry(lambda _: answer) as client:
        with pytest.raises(RegistryRefused, match="malformed manifest"):
            await client.manifest(REFERENCE)


@pytest.mark.parametrize(
    ("text", "registry_", "name", "tag", "digest"),
    [
        ("hub:5000/a/b:1.2", "hub:5000", "a/b", "1.2", None),
        ("10.0.0.1:5000/a@sha256:" + "0" * 64, "10.0.0.1:5000", "a", None, "sha256:" + "0" * 64),
        ("hub.example/a:x@sha256:" + "f" * 64, "hub.example", "a", "x", "sha256:" + "f" * 64),
        ("[::1]:5000/a:1", "[::1]:5000", "a", "1", None),
    ],
)
def test_references(text: str, registry_: str, name: str, tag: str | None, digest: str | None) -> None:
    reference = Reference.parse(text)
    assert reference == Reference(Repository(registry_, name), tag, digest)
    assert str(reference) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hub/a", "neither tag nor digest"),
        ("model:1", "names no registry"),
        ("hub/Upper:1", "lower-case"),
        ("hub/a@sha256:12", "64 hex digits"),
        ("hub/a:" + "x" * 129, "up to 128"),
        ("-hub/a:1", "does not begin with a registry"),
        ("hub/../a:1", "lower-case"),
        ("hub:5000", "names no registry"),
    ],
)
def test_what_is_no_reference(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Reference.parse(text)


def test_logins_by_the_longest_prefix() -> None:
    def entry(name: str) -> dict[str, str]:
        return {"username": name, "password": "x"}

    auths = {"https://hub/v2/": entry("host"), "hub/team": entry("team"), "https://index.docker.io/v1/": entry("dock")}
    credentials = Credentials.from_json(json.dumps({"auths": auths}))
    cases = {
        "hub/a": "host",
        "hub/team/a": "team",
        "hub/teams/a": "host",
        "docker.io/library/a": "dock",
        "else/a": None,
    }
    for name, username in cases.items():
        found = credentials.login(Repository.parse(name))
        assert (found.username if found else None) == username


@pytest.mark.parametrize(
    "text", ["", "[]", '{"auths": {"hub": {"auth": "c2VjcmV0LXdpdGhvdXQtY29sb24="}}}', '{"auths": 1}']
)
def test_a_docker_config_that_is_none_keeps_its_content_to_itself(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a \.dockerconfigjson") as caught:
        Credentials.from_json(text)
    assert "secret" not in str(caught.value)
    assert "s3cret" not in repr(login())


@pytest.mark.parametrize(
    ("variant", "there", "expected"),
    [(None, "v8", True), ("v8", None, True), ("v8", "v8", True), ("v9", "v8", False), ("v7", "v8", False)],
)
def test_variants_of_arm64(variant: str | None, there: str | None, *, expected: bool) -> None:
    platform = {"os": "linux", "architecture": "arm64", **({"variant": there} if there else {})}
    index = Index.from_bytes(json.dumps({"manifests": [{"digest": "sha256:1", "platform": platform}]}).encode())
    assert (index.select("linux", "arm64", variant) is not None) == expected


def test_docker_s_media_types_become_oci_s() -> None:
    manifest = {
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:1", "size": 1},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": "sha256:2", "size": 2}],
    }
    read = Manifest.from_bytes(json.dumps(manifest).encode())
    assert read.config.media_type == CONFIG
    assert read.layers[0].media_type == LAYER + "+gzip"
