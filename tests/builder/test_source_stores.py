"""Object stores that differ: who we are there, where they are, and what is made of their answers.

What Amazon answers is from its S3 API reference ("Error responses": `AuthorizationHeaderMalformed` with the region in
the answer, `PermanentRedirect` with it in `x-amz-bucket-region`) and its STS API reference
(`AssumeRoleWithWebIdentity`).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from minio import Minio
from minio.credentials.providers import AssumeRoleProvider
from minio.error import S3Error
from openid import OpenId
from played import Answer, Answering, Played
from services import start_minio
from urllib3 import HTTPResponse

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import (
    BuildError,
    DatasetInvalid,
    ModelInvalid,
    RequestInvalid,
    SourceForbidden,
    SourceUnreachable,
)
from edgesmith_builder.source import Bucket, Limit, StoreSettings
from edgesmith_builder.source.s3.answers import Wanted
from tests.patience import PATIENCE

CONTENT = bytes(range(256)) * 4096
KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s3cret"}
LIMIT = Limit(len(CONTENT), DatasetInvalid)
TOKEN = "web.identity.token"  # noqa: S105 - of nobody


class Store(Played):
    """A played object store."""

    def fetch(self, folder: Path, **variables: str) -> bytes:
        settings = StoreSettings.read(None, {"AWS_ENDPOINT_URL": self.endpoint, **variables})
        return fetch(settings, folder)


def fetch(settings: StoreSettings, folder: Path, uri: str = "s3://models/a") -> bytes:
    bucket = Bucket(settings, attempts=2, first_delay=0.01)
    return bucket.fetch("spec.source", Artifact(uri=uri), folder / "a", LIMIT).path.read_bytes()


def whole(_: Any) -> Answer:
    return Answer(body=CONTENT, headers={"ETag": '"1"'})


def refusing(status: int, code: str, more: str = "", **headers: str) -> Answering:
    body = f"<Error><Code>{code}</Code><Message>The words of the store.</Message>{more}</Error>".encode()
    return lambda _: Answer(status, body, {"Content-Type": "application/xml", **headers})


# Who we are -----------------------------------------------------------------------------------------------------------


def test_a_session_token_is_taken_by_a_real_store(store: Any, tmp_path: Path) -> None:
    uri, own = store.put("session/a", CONTENT), store.settings
    lent = AssumeRoleProvider(
        sts_endpoint=own.endpoint, access_key=own.access_key, secret_key=own.secret_key, duration_seconds=3600
    ).retrieve()
    variables = {
        "AWS_ENDPOINT_URL": own.endpoint,
        "AWS_ACCESS_KEY_ID": lent.access_key,
        "AWS_SECRET_ACCESS_KEY": lent.secret_key,
    }
    assert lent.session_token is not None
    settings = StoreSettings.read(None, {**variables, "AWS_SESSION_TOKEN": lent.session_token})
    assert lent.session_token not in repr(settings)
    assert fetch(settings, tmp_path, uri) == CONTENT
    with pytest.raises(SourceForbidden):
        fetch(StoreSettings.read(None, variables), tmp_path, uri)


def test_keys_and_their_session_token_come_from_one_place(tmp_path: Path) -> None:
    for name, value in KEYS.items():
        (tmp_path / name).write_text(value)
    assert StoreSettings.read(tmp_path, {"AWS_SESSION_TOKEN": "of other keys"}).session_token is None
    (tmp_path / "AWS_SESSION_TOKEN").write_text("ours\n")
    assert StoreSettings.read(tmp_path, {**KEYS, "AWS_SESSION_TOKEN": "of other keys"}).session_token == "ours"  # noqa: S105


STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>lent</SecretAccessKey>
<SessionToken>session-1</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


STS_REFUSAL = b"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>Not for  you.</Message></Error></ErrorResponse>"""


@pytest.fixture
def web_identity(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "token").write_text(TOKEN + "\n")
    return {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": "arn:aws:iam::1:role/builder"}


def test_a_web_identity_is_given_for_keys(tmp_path: Path, web_identity: dict[str, str]) -> None:
    def answering(request: Any) -> Answer:
        return Answer(body=STS.encode()) if request.command == "POST" else whole(request)

    with Store(answering) as store:
        assert store.fetch(tmp_path, **web_identity) == CONTENT
    asked = parse_qs(urlsplit(store.asked[0]).query)
    assert (asked["Action"], asked["WebIdentityToken"]) == (["AssumeRoleWithWebIdentity"], [TOKEN])
    assert (asked["RoleArn"], asked["RoleSessionName"]) == (["arn:aws:iam::1:role/builder"], ["edgesmith-builder"])
    signed = {name.lower(): value for name, value in store.headers[1].items()}
    assert "Credential=ASIA/" in signed["authorization"]
    assert signed["x-amz-security-token"] == "session-1"


def once_it_knows_its_provider(ask: Callable[[], bytes]) -> bytes:
    """A store that has just started answers 503 or 400 until it has asked its provider for the key."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except (SourceForbidden, SourceUnreachable):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def test_a_web_identity_is_given_for_keys_by_a_real_store(tmp_path: Path) -> None:
    with OpenId(tmp_path) as provider:
        server = start_minio(
            tmp_path / "minio",
            MINIO_IDENTITY_OPENID_CONFIG_URL=provider.configuration,
            MINIO_IDENTITY_OPENID_CLIENT_ID="models",
        )
        try:
            root = Minio(endpoint=server.address, access_key="store-user", secret_key="store-password", secure=False)  # noqa: S106 - of a server that ends with the test
            root.make_bucket(bucket_name="models")
            root.put_object(bucket_name="models", object_name="a", data=io.BytesIO(CONTENT), length=len(CONTENT))
            variables = {
                "AWS_ENDPOINT_URL": f"http://{server.address}",
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            }
            (tmp_path / "token").write_text(provider.token("models", policy="readonly"))
            settings = StoreSettings.read(None, variables)
            assert once_it_knows_its_provider(lambda: fetch(settings, tmp_path)) == CONTENT
            (tmp_path / "token").write_text(provider.token("others", policy="readonly"))
            with pytest.raises(SourceForbidden, match=r"service account at .* were refused \(400: .*\)"):
                fetch(settings, tmp_path)
        finally:
            server.stop()


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (
            403,
            SourceForbidden,
            r"the role arn:aws:iam::1:role/builder at .* were refused \(403: Not for you\); a role that trusts",
        ),
        (503, SourceUnreachable, r"cannot be had \(the answer was 503\)"),
        (429, SourceUnreachable, r"cannot be had \(the answer was 429\)"),
        (200, SourceUnreachable, "cannot be had"),
    ],
)
def test_a_web_identity_that_is_refused_stays_secret(
    tmp_path: Path, web_identity: dict[str, str], status: int, kind: type[BuildError], words: str
) -> None:
    with Store(lambda _: Answer(status, STS_REFUSAL)) as store, pytest.raises(kind, match=words) as caught:
        store.fetch(tmp_path, **web_identity)
    assert TOKEN not in str(caught.value)


def test_a_web_identity_without_its_token_is_said_to_be(tmp_path: Path) -> None:
    with Store(whole) as store, pytest.raises(RequestInvalid, match="AWS_WEB_IDENTITY_TOKEN_FILE is '/nowhere'"):
        store.fetch(tmp_path, AWS_WEB_IDENTITY_TOKEN_FILE="/nowhere", AWS_ROLE_ARN="arn")  # noqa: S106 - a path


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, "https://sts.amazonaws.com"),
        ({"AWS_REGION": "eu-central-1"}, "https://sts.eu-central-1.amazonaws.com"),
        ({"AWS_REGION": "cn-north-1"}, "https://sts.cn-north-1.amazonaws.com.cn"),
        ({"AWS_ENDPOINT_URL": "https://minio.example:9000"}, "https://minio.example:9000"),
        ({"AWS_ENDPOINT_URL_STS": "https://sts.example"}, "https://sts.example"),
    ],
)
def test_where_a_web_identity_is_given_for_keys(
    web_identity: dict[str, str], variables: dict[str, str], endpoint: str
) -> None:
    identity = StoreSettings.read(None, {**web_identity, **variables}).identity
    assert identity is not None
    assert identity.endpoint == endpoint
    assert StoreSettings.read(None, {**web_identity, **variables, **KEYS}).identity is None


def test_a_container_s_own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As EKS Pod Identity and ECS have them: an address in a variable, and what to say there."""

    def answering(request: Any) -> Answer:
        if request.path == "/v1/credentials":
            assert request.headers["Authorization"] == "pod-token"
            keys = b'{"AccessKeyId": "ASIA", "SecretAccessKey": "lent", "Token": "session-2", '
            return Answer(body=keys + b'"Expiration": "2999-01-01T00:00:00Z"}')
        return whole(request)

    (tmp_path / "pod").write_text("pod-token")
    with Store(answering) as store:
        variables = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{store.endpoint}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "pod"),
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert store.fetch(tmp_path, **variables) == CONTENT
    assert {name.lower(): value for name, value in store.headers[1].items()}["x-amz-security-token"] == "session-2"


# Where it is ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "region", "signed_for"),
    [
        ("https://s3.eu-central-1.amazonaws.com", None, "eu-central-1"),
        ("https://s3.dualstack.us-west-2.amazonaws.com", None, "us-west-2"),
        ("https://s3.cn-north-1.amazonaws.com.cn", None, "cn-north-1"),
        ("https://bucket.vpce-1-2.s3.eu-west-1.vpce.amazonaws.com", None, "eu-west-1"),
        ("https://s3-eu-west-1.amazonaws.com", None, "eu-west-1"),
        ("https://s3-fips.dualstack.us-gov-west-1.amazonaws.com", None, "us-gov-west-1"),
        ("https://s3.eu-central-1.amazonaws.com", "eu-north-1", "eu-central-1"),
        ("https://s3.amazonaws.com", "eu-north-1", "eu-north-1"),
        ("https://minio.example:9000", "plant-7", "plant-7"),
        ("https://minio.example:9000", None, "us-east-1"),
        ("https://amazonaws.com.example", None, "us-east-1"),
        ("https://s3.amazonaws.com", None, None),
    ],
)
def test_the_region_that_requests_are_signed_for(endpoint: str, region: str | None, signed_for: str | None) -> None:
    variables = {"AWS_ENDPOINT_URL": endpoint, **KEYS, **({"AWS_REGION": region} if region else {})}
    settings = StoreSettings.read(None, variables)
    assert settings.region == signed_for
    assert (Bucket(settings)._client._base_url.region or None) == signed_for


@pytest.mark.parametrize(
    "variables",
    [{"AWS_ENDPOINT_URL": "https://ec3.eu-central-1.amazonaws.com"}, {"AWS_REGION": "not a region"}],
)
def test_an_endpoint_or_a_region_that_is_none_is_the_user_s_to_change(variables: dict[str, str]) -> None:
    with pytest.raises(RequestInvalid, match="cannot be used"):
        Bucket(StoreSettings.read(None, variables))


# What it answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answering", "words"),
    [
        (
            refusing(400, "AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>"),
            r"as one in us-east-1 .* \(AuthorizationHeaderMalformed: The words of the store\); AWS_REGION eu-central-1",
        ),
        (
            refusing(301, "PermanentRedirect", **{"x-amz-bucket-region": "ap-south-1"}),
            r"lies elsewhere \(PermanentRedirect: .*\); AWS_REGION ap-south-1 was expected in spec\.source\.secretRef",
        ),
        (refusing(400, "AuthorizationHeaderMalformed"), "the AWS_REGION of the bucket was expected"),
        (
            refusing(307, "TemporaryRedirect", Location="http://other.example/"),
            r"lies elsewhere \(TemporaryRedirect: The words of the store\)",
        ),
        (refusing(403, "RequestTimeTooSkewed"), r"RequestTimeTooSkewed: The words of the store\); a clock"),
        (refusing(400, "ExpiredToken"), "an AWS_SESSION_TOKEN that has not ended was expected"),
        (refusing(403, "AccessDenied"), r"\(AccessDenied: The words of the store\); a Secret with other keys"),
    ],
)
def test_the_store_s_own_words_and_region_are_passed_on(tmp_path: Path, answering: Answering, words: str) -> None:
    with Store(answering) as store, pytest.raises(SourceForbidden, match=words):
        store.fetch(tmp_path, **KEYS)
    assert len(store.asked) == 1


def test_for_a_bucket_in_another_region_of_amazon_s_the_endpoint_is_named() -> None:
    settings = StoreSettings.read(None, {"AWS_ENDPOINT_URL": "https://s3.eu-west-1.amazonaws.com"})
    error = S3Error(
        HTTPResponse(status=301, headers={"x-amz-bucket-region": "ap-south-1"}), "PermanentRedirect", "Elsewhere.",
        None, None, None,
    )  # fmt: skip
    refusal = Wanted("spec.source", "s3://models/a", "models", "a", settings).refusal(error)
    assert "as one in eu-west-1 and lies elsewhere (PermanentRedirect: Elsewhere)" in str(refusal)
    assert str(refusal).endswith(
        "the endpoint https://s3.ap-south-1.amazonaws.com was expected in bucket.endpoint of the chart"
    )


def test_the_address_that_gives_a_container_its_keys_stays_secret() -> None:
    for variables, shown in (
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/s3cret"}, "http://169.254.170.2"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost:1/s3cret"}, "http://localhost"),
    ):
        identity = StoreSettings.read(None, variables).identity
        assert identity is not None
        assert identity.endpoint == shown
        assert "s3cret" not in repr(identity)


def test_lent_keys_that_may_not_read_send_nobody_after_a_secret(tmp_path: Path, web_identity: dict[str, str]) -> None:
    def answering(request: Any) -> Answer:
        return Answer(body=STS.encode()) if request.command == "POST" else refusing(403, "AccessDenied")(request)

    with Store(answering) as store, pytest.raises(SourceForbidden, match=r"the role arn:aws.* with the right to read"):
        store.fetch(tmp_path, **web_identity)


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "of-odd-sizes"])
def test_a_range_that_is_answered_with_everything(tmp_path: Path, *, chunked: bool) -> None:
    """Not every store takes a Range; what is there already is passed over, and nothing counts twice."""
    cuts = iter((600_001 if chunked else 524_288, None))

    def answering(_: Any) -> Answer:
        return Answer(body=CONTENT, headers={"ETag": '"1"'}, cut=next(cuts))

    with Store(answering) as store:
        assert store.fetch(tmp_path) == CONTENT
    assert [headers.get("Range") is not None for headers in store.headers] == [False, True]


def test_a_range_that_is_answered_with_another(tmp_path: Path) -> None:
    def answering(request: Any) -> Answer:
        if "Range" not in request.headers:
            return Answer(body=CONTENT, headers={"ETag": '"1"'}, cut=300_000)
        headers = {"ETag": '"1"', "Content-Range": f"bytes 400000-{len(CONTENT) - 1}/{len(CONTENT)}"}
        return Answer(206, CONTENT[400_000:], headers)

    with Store(answering) as store, pytest.raises(SourceUnreachable, match="answered from byte 400000 on; the bytes"):
        store.fetch(tmp_path)


def test_a_size_that_is_announced_is_refused_though_a_part_was_there(tmp_path: Path) -> None:
    bodies = iter((Answer(body=CONTENT, headers={"ETag": '"1"'}, cut=300_000), None))

    def answering(_: Any) -> Answer:
        return next(bodies) or Answer(body=CONTENT + b"more", headers={"ETag": '"1"'})

    limit = Limit(len(CONTENT), ModelInvalid)
    with Store(answering) as store:
        bucket = Bucket(StoreSettings.read(None, {"AWS_ENDPOINT_URL": store.endpoint}), first_delay=0.01)
        with pytest.raises(ModelInvalid, match="is larger than"):
            bucket.fetch("spec.source", Artifact(uri="s3://models/a"), tmp_path / "a", limit)


@pytest.mark.parametrize("stored", [gzip.compress(CONTENT, 0), CONTENT], ids=["packed", "falsely-marked"])
@pytest.mark.parametrize("cut", [None, 400_001], ids=["whole", "resumed"])
def test_an_object_with_a_content_encoding_comes_as_it_is_stored(
    tmp_path: Path, stored: bytes, cut: int | None
) -> None:
    digest = hashlib.sha256(stored)
    headers = {
        "ETag": '"1"',
        "Content-Encoding": "gzip",
        "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
        "x-amz-checksum-sha256": base64.b64encode(digest.digest()).decode(),
    }

    def answering(request: Any) -> Answer:
        first = int(request.headers.get("Range", "bytes=0-")[len("bytes=") : -1])
        if not first:
            return Answer(body=stored, headers=headers, cut=None if request.command == "HEAD" else cut)
        return Answer(
            206, stored[first:], {**headers, "Content-Range": f"bytes {first}-{len(stored) - 1}/{len(stored)}"}
        )

    artifact, limit = Artifact(uri="s3://models/a", sha256=digest.hexdigest()), Limit(len(stored), DatasetInvalid)
    with Store(answering) as store:
        settings = StoreSettings.read(None, {"AWS_ENDPOINT_URL": store.endpoint})
        bucket = Bucket(settings, attempts=2, first_delay=0.01)
        fetched = bucket.fetch("spec.evaluation", artifact, tmp_path / "a", limit)
        seen = bucket.look("spec.evaluation", artifact, limit)
    assert fetched.path.read_bytes() == stored
    assert fetched.sha256 == seen.sha256 == digest.hexdigest()
    assert ["Range" in asked for asked in store.headers[:-1]] == ([False] if cut is None else [False, True])
