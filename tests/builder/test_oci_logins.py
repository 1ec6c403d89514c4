"""Getting into a registry: what it may ask for, what a config.json may hold, and where a login never goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest

from edgesmith_builder.oci import (
    Backoff,
    BytesBlob,
    Credentials,
    CredentialsFile,
    Login,
    Manifest,
    Reference,
    Registry,
    RegistryForbidden,
    RegistryRefused,
    RegistryUnreachable,
)
from edgesmith_builder.oci.backoff import asked_for
from edgesmith_builder.oci.challenge import Challenge
from edgesmith_builder.oci.content import CONFIG, MANIFEST

IMAGE = Manifest(BytesBlob(b"{}", CONFIG).descriptor, ()).to_bytes()
REFERENCE = Reference.parse("hub.example:5000/team/model:1")
ROBOT = Login("robot", "s3cret")
BEARER = 'Bearer realm="https://auth.example/token",service="Docker registry, ours",scope="a b"'
BASIC = 'Basic realm="hub, the"'
Handler = Callable[[httpx.Request], httpx.Response]


def registry(handler: Handler, credentials: Credentials | None = None) -> Registry:
    return Registry(credentials=credentials, backoff=Backoff(1), transport=httpx.MockTransport(handler))


def of_robot(login: Login = ROBOT) -> Credentials:
    return Credentials({"hub.example:5000": login})


def image() -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": MANIFEST}, content=IMAGE)


def asking(*challenges: str) -> httpx.Response:
    return httpx.Response(401, headers=[("WWW-Authenticate", challenge) for challenge in challenges])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], []),
        ([""], []),
        (["Negotiate"], [("negotiate", {})]),
        ([BASIC], [("basic", {"realm": "hub, the"})]),
        ([BASIC, "Bearer realm=x"], [("basic", {"realm": "hub, the"}), ("bearer", {"realm": "x"})]),
        ([f"{BASIC}, Bearer Realm = x"], [("basic", {"realm": "hub, the"}), ("bearer", {"realm": "x"})]),
        (
            ['Bearer realm="https://a/t",service="Docker registry",scope="repository:a:pull,push"'],
            [
                (
                    "bearer",
                    {"realm": "https://a/t", "service": "Docker registry", "scope": "repository:a:pull,push"},
                )
            ],
        ),
        ([r'Basic realm="a \"b\" \\"'], [("basic", {"realm": 'a "b" \\'})]),
    ],
)
def test_challenges(headers: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(one.scheme, one.parameters) for one in Challenge.parse(headers)] == expected


async def test_a_service_with_blanks_is_one_service_and_scopes_are_several() -> None:
    asked: list[httpx.QueryParams] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example":
            asked.append(request.url.params)
            return httpx.Response(200, json={"token": "t0ken"})
        return image() if "Authorization" in request.headers else asking(BEARER)

    async with registry(handler) as client:
        await client.manifest(REFERENCE)
    assert asked[0].get_list("service") == ["Docker registry, ours"]
    assert asked[0].get_list("scope") == ["a", "b"]


OFFERS = [[BASIC, BEARER], [BEARER, BASIC], [f"{BASIC}, {BEARER}"], ["Negotiate", BEARER], ["Negotiate, " + BASIC]]


@pytest.mark.parametrize("offer", OFFERS, ids=str)
async def test_of_several_ways_in_one_that_works_is_taken(offer: list[str]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example":
            return httpx.Response(200, json={"token": "t0ken"})
        return image() if request.headers.get("Authorization") in ("Bearer t0ken", ROBOT.basic()) else asking(*offer)

    async with registry(handler, of_robot()) as client:
        assert await client.manifest(REFERENCE) is not None


@pytest.mark.parametrize("broken", ["the token is refused", "no token is given", "the realm has no TLS"])
async def test_where_the_token_does_not_work_the_login_is_sent(broken: str) -> None:
    bearer = BEARER.replace("https:", "http:") if "TLS" in broken else BEARER

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example":
            assert "TLS" not in broken
            return httpx.Response(200, json={"token": "t0ken"}) if "is refused" in broken else httpx.Response(403)
        return image() if request.headers.get("Authorization") == ROBOT.basic() else asking(bearer, BASIC)

    async with registry(handler, of_robot()) as client:
        assert await client.manifest(REFERENCE) is not None


async def test_without_a_login_a_token_is_asked_for_anonymously_though_basic_is_offered_too() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example":
            assert "Authorization" not in request.headers
            return httpx.Response(200, json={"token": "t0ken"})
        return image() if "Authorization" in request.headers else asking(BASIC, BEARER)

    async with registry(handler) as client:
        assert await client.manifest(REFERENCE) is not None


@pytest.mark.parametrize("elsewhere", ["https://hub.example:5001/up", "http://hub.example:5001/up", "https://s3/up"])
async def test_a_login_goes_to_the_same_host_and_port_only(elsewhere: str) -> None:
    seen: list[tuple[str, bool]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((f"{request.url.host}:{request.url.port}", "Authorization" in request.headers))
        if request.url.port != 5000:
            return asking('Basic realm="elsewhere"')
        if "Authorization" not in request.headers:
            return asking(BASIC)
        return httpx.Response(404) if request.method == "HEAD" else httpx.Response(202, headers={"Location": elsewhere})

    async with registry(handler, of_robot()) as client:
        with pytest.raises(RegistryForbidden):
            await client.push_blob(REFERENCE.repository, BytesBlob(b"x", CONFIG))
    assert ("hub.example:5000", True) in seen
    assert [sent for where, sent in seen if where != "hub.example:5000"] == [False]


async def test_an_identity_token_is_exchanged_for_a_token() -> None:
    forms: list[dict[str, list[str]]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example":
            assert (request.method, "Authorization" in request.headers) == ("POST", False)
            forms.append(parse_qs(request.content.decode()))
            return httpx.Response(200, json={"access_token": "t0ken"})
        return image() if request.headers.get("Authorization") == "Bearer t0ken" else asking(BEARER, BASIC)

    config = {"auths": {"hub.example:5000": {"auth": "MDAwMDo=", "identitytoken": "r3fresh"}}}
    async with registry(handler, Credentials.from_json(json.dumps(config))) as client:
        assert await client.manifest(REFERENCE) is not None
    assert forms == [
        {
            "grant_type": ["refresh_token"],
            "refresh_token": ["r3fresh"],
            "client_id": ["edgesmith-builder"],
            "service": ["Docker registry, ours"],
            "scope": ["a b"],
        }
    ]
    assert "r3fresh" not in repr(Credentials.from_json(json.dumps(config)))


async def test_an_identity_token_is_no_password() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert "Authorization" not in request.headers
        return asking(BASIC)

    async with registry(handler, of_robot(Login("0000", "", "r3fresh"))) as client:
        with pytest.raises(RegistryForbidden):
            await client.manifest(REFERENCE)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"credsStore": "desktop", "auths": {"hub.example:5000": {}}}, "docker-credential-desktop by credsStore"),
        (
            {"credHelpers": {"hub.example:5000": "ecr-login"}, "credsStore": "desktop"},
            "docker-credential-ecr-login by credHelpers",
        ),
    ],
)
@pytest.mark.parametrize("challenge", [BASIC, BEARER])
async def test_a_login_that_is_kept_elsewhere_is_said_to_be(
    tmp_path: Path, config: dict[str, object], words: str, challenge: str
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(403) if request.url.host == "auth.example" else asking(challenge)

    (tmp_path / "config.json").write_text(json.dumps(config))
    named = tmp_path / "config.json", "--registry-credentials"
    for credentials in (Credentials.from_file(*named), CredentialsFile(*named)):
        transport = httpx.MockTransport(handler)
        async with Registry(credentials=credentials, backoff=Backoff(1), transport=transport) as client:
            with pytest.raises(RegistryForbidden, match=rf"{words}, which does not run here; an entry under auths"):
                await client.manifest(REFERENCE)


async def test_a_login_that_is_there_is_not_said_to_be_elsewhere() -> None:
    config = {"credsStore": "desktop", "auths": {"hub.example:5000": {"username": "robot", "password": "s3cret"}}}
    async with registry(lambda _: asking(BASIC), Credentials.from_json(json.dumps(config))) as client:
        with pytest.raises(RegistryForbidden) as caught:
            await client.manifest(REFERENCE)
    assert "credsStore" not in str(caught.value)


@pytest.mark.parametrize("realm", ["", "token", "ftp://auth.example", "https://"])
async def test_a_realm_that_is_no_address_is_refused(realm: str) -> None:
    async with registry(lambda _: asking(f'Bearer realm="{realm}"')) as client:
        with pytest.raises((RegistryRefused, RegistryForbidden)) as caught:
            await client.manifest(REFERENCE)
    assert not realm or "names no address" in str(caught.value)


# Waiting as asked -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("Fri, 27 Nov 2026 12:00:09 GMT", 9),
        ("Fri, 27 Nov 2026 11:59:00 GMT", 0),
        ("soon", 0),
        ("Fri, 27 Nov 2026 12:00:09 +99999999999999999", 0),
        ("-3", 0),
        ("", 0),
        ("9" * 40, 999_999_999),
    ],
)
def test_how_long_to_wait(text: str, seconds: float) -> None:
    assert asked_for({"Retry-After": text}, datetime(2026, 11, 27, 12, tzinfo=UTC)) == seconds


def test_a_wait_that_is_asked_for_is_kept_and_bounded() -> None:
    backoff = Backoff(first=1.0, limit=4.0, asked_limit=60.0)
    assert [backoff.delay(0, asked) for asked in (0, 0.5, 7, 3600)] == [1, 1, 7, 60]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("where", ["hub.example", "auth.example"])
async def test_retry_after_is_kept_wherever_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, status: int, where: str
) -> None:
    waits: list[float] = []
    answers = [httpx.Response(status, headers={"Retry-After": "3"}), None]

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == where and "token" not in request.headers.get("Authorization", ""):
            refusal = answers.pop(0) if answers else None
            if refusal is not None:
                return refusal
        if request.url.host == "auth.example":
            return httpx.Response(200, json={"token": "token"})
        return image() if "Authorization" in request.headers else asking(BEARER)

    monkeypatch.setattr("edgesmith_builder.oci.transport.asyncio.sleep", sleep)
    async with Registry(backoff=Backoff(2, 0.25), transport=httpx.MockTransport(handler)) as client:
        assert await client.manifest(REFERENCE) is not None
    assert waits == [3.0]


async def test_a_token_service_that_is_down_is_unreachable_and_can_be_tried_again() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(502) if request.url.host == "auth.example" else asking(BEARER)

    async with registry(handler) as client:
        with pytest.raises(RegistryUnreachable, match=r"answered 502 when asking auth\.example for a token"):
            await client.manifest(REFERENCE)
