"""Private certificate authorities, over real TLS: who is believed, and what is said of who is not."""

from __future__ import annotations

import asyncio
import io
import json
import os
import ssl
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from minio import Minio
from played import Answer, Answering, Played
from services import start_minio, start_registry

from edgesmith_builder.contract import Artifact, Build, BuildRequest, Platform, Toolchain
from edgesmith_builder.errors import DatasetInvalid, RequestInvalid
from edgesmith_builder.oci import Backoff, Credentials, Reference, Registry, RegistryRefused, Repository, trusting
from edgesmith_builder.push import registries_for
from edgesmith_builder.source import Bucket, Limit, StoreSettings


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("other-authority"))


def nothing(_: BaseHTTPRequestHandler) -> Answer:
    return Answer(404)


def content(_: BaseHTTPRequestHandler) -> Answer:
    return Answer(body=b"content", headers={"ETag": '"1"'})


@pytest.fixture
def secured(authority: Authority) -> Callable[[Answering], Played]:
    """A server with a certificate of the private authority."""
    certificate = authority.sign("server")
    return lambda answering: Played(answering, certificate)


async def ask(server: Played, authorities: str | None) -> bool:
    async with Registry(backoff=Backoff(3, 0.0, 0.0), authorities=authorities) as client:
        return await client.has_blob(Repository.parse(f"127.0.0.1:{server.port}/a/b"), "sha256:" + "0" * 64)


async def test_a_registry_of_a_private_authority_is_believed_where_that_is_known(
    secured: Callable[[Answering], Played], authority: Authority
) -> None:
    with secured(nothing) as server:
        assert not await ask(server, authority.pem)
    assert server.asked == [f"HEAD /v2/a/b/blobs/sha256:{'0' * 64}"]


@pytest.mark.parametrize("known", ["nobody", "another"])
async def test_a_registry_of_an_unknown_authority_is_refused_for_good_with_the_cure(
    secured: Callable[[Answering], Played], other: Authority, known: str
) -> None:
    words = r"certificate that is not trusted \(.*\); .* in registry\.caBundle"
    with secured(nothing) as server, pytest.raises(RegistryRefused, match=words):
        await ask(server, other.pem if known == "another" else None)
    assert server.asked == []


async def test_a_registry_with_another_s_name_is_refused_though_its_authority_is_known(authority: Authority) -> None:
    elsewhere = authority.sign("elsewhere", "DNS:elsewhere.example")
    words = "made out for this name was expected"
    with Played(nothing, elsewhere) as server, pytest.raises(RegistryRefused, match=words) as caught:
        await ask(server, authority.pem)
    assert "caBundle" not in str(caught.value)


async def test_a_base_in_another_registry_is_read_with_the_same_authorities(
    secured: Callable[[Answering], Played], authority: Authority
) -> None:
    with secured(nothing) as target, secured(nothing) as base:
        there = f"127.0.0.1:{base.port}/edgesmith/runtime@sha256:{'0' * 64}"
        build = Build(source=Artifact(uri="s3://models/x"), platform=Platform(architecture="arm64"),
                      toolchain=Toolchain(precisions=("fp32",)), base=there)  # fmt: skip
        request = BuildRequest(build=build, repository=f"127.0.0.1:{target.port}/team/m")
        async with registries_for(request, Credentials(), Backoff(1), authority.pem) as clients:
            assert await clients.base.manifest(Reference.parse(there)) is None
            assert await clients.target.manifest(Reference.parse(f"{request.repository}:1")) is None
    assert (len(target.asked), len(base.asked)) == (1, 1)


def fetch(server: Played, authorities: str | None, folder: Path) -> bytes:
    settings = StoreSettings.read(None, {"AWS_ENDPOINT_URL": server.endpoint}, authorities)
    bucket = Bucket(settings, attempts=3, first_delay=0.0)
    limit = Limit(100, DatasetInvalid)
    return bucket.fetch("spec.source", Artifact(uri="s3://models/a"), folder / "a", limit).path.read_bytes()


def test_a_bucket_of_a_private_authority(
    secured: Callable[[Answering], Played], authority: Authority, tmp_path: Path
) -> None:
    with secured(content) as server:
        assert fetch(server, authority.pem, tmp_path) == b"content"
        with pytest.raises(RequestInvalid, match=r"s3://models/a at https:.* not trusted .* in bucket\.caBundle"):
            fetch(server, None, tmp_path)
    assert server.asked == ["GET /models/a"]


def test_a_web_identity_s_service_of_an_unknown_authority(
    secured: Callable[[Answering], Played], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t")
    with secured(content) as server:
        variables = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ENDPOINT_URL": server.endpoint}
        bucket = Bucket(StoreSettings.read(None, variables), attempts=3, first_delay=0.0)
        with pytest.raises(RequestInvalid, match=r"not trusted .* in bucket\.caBundle"):
            bucket.fetch("spec.source", Artifact(uri="s3://models/a"), tmp_path / "a", Limit(100, DatasetInvalid))


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_authorities_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        trusting(text)


def test_public_authorities_stay_trusted(authority: Authority) -> None:
    def known(authorities: str | None) -> set[Any]:
        return {certificate["serialNumber"] for certificate in trusting(authorities).get_ca_certs()}

    assert known(None) < known(authority.pem)


def test_the_authorities_of_this_machine_are_trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(context: ssl.SSLContext) -> None:
        context.load_verify_locations(authority.file)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", load)
    trusting.cache_clear()
    try:
        assert any(("commonName", "edgesmith-ca") in name for ca in trusting().get_ca_certs() for name in ca["subject"])
    finally:
        trusting.cache_clear()


@dataclass
class Secured:
    """A real registry and a real store that speak TLS alone."""

    registry: str
    store: str
    client: Minio


@pytest.fixture(scope="module")
def secured_services(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    file, key = authority.sign("registry")
    registry = start_registry(folder, tls=(file, key))
    (folder / "certs").mkdir()
    (folder / "certs/public.crt").write_bytes(file.read_bytes())
    (folder / "certs/private.key").write_bytes(key.read_bytes())
    store = start_minio(folder / "minio", "--certs-dir", str(folder / "certs"))
    settings = StoreSettings(
        store.address, secure=True, access_key="store-user", secret_key="store-password", authorities=authority.pem  # noqa: S106 - of a server that ends with the test
    )  # fmt: skip
    client = Bucket(settings)._client
    client.make_bucket(bucket_name="models")
    yield Secured(registry.address, store.address, client)
    store.stop()
    registry.stop()


Builder = Callable[..., tuple[subprocess.CompletedProcess[str], dict[str, Any]]]


@pytest.fixture
def run_builder(world: Any, push_base: Any, secured_services: Secured, authority: Authority, tmp_path: Path) -> Builder:
    """Runs the program on a model in the store, with the authority's file under each flag that is given."""
    there = secured_services
    model = world.store.client.get_object(bucket_name="models", object_name="surface/model.onnx").data
    there.client.put_object(bucket_name="models", object_name="m.onnx", data=io.BytesIO(model), length=len(model))
    request = world.request(
        source=Artifact(uri="s3://models/m.onnx"),
        calibration=None,
        evaluation=None,
        toolchain=Toolchain(precisions=("fp32",)),
        base=asyncio.run(push_base(there.registry, authorities=authority.pem)),
        repository=f"{there.registry}/team/{uuid.uuid4().hex}",
    ).model_copy(update={"plain_http": False})
    (tmp_path / "request.json").write_text(request.to_json())
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": f"https://{there.store}",
        "AWS_ACCESS_KEY_ID": "store-user",
        "AWS_SECRET_ACCESS_KEY": "store-password",
    }

    def run(*flags: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        line = [sys.executable, "-m", "edgesmith_builder", "--request", str(tmp_path / "request.json")]
        line += ["--termination-log", str(tmp_path / "log"), "--work", str(tmp_path)]
        line += [word for flag in flags for word in (flag, str(authority.file))]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
        return done, json.loads((tmp_path / "log").read_text())

    return run


def test_a_build_with_a_real_registry_and_a_real_store(run_builder: Builder, secured_services: Secured) -> None:
    done, result = run_builder("--registry-ca", "--bucket-ca")
    assert done.returncode == 0, done.stderr
    assert result["image"].startswith(f"{secured_services.registry}/team/")


@pytest.mark.parametrize(
    ("flag", "reason", "cure"),
    [("--registry-ca", "RequestInvalid", "bucket.caBundle"), ("--bucket-ca", "RegistryRefused", "registry.caBundle")],
)
def test_a_build_that_knows_one_of_two_authorities(run_builder: Builder, flag: str, reason: str, cure: str) -> None:
    done, failure = run_builder(flag)
    assert (done.returncode, failure["reason"], failure["retry"]) == (1, reason, False)
    assert cure in failure["message"]


def test_a_file_of_authorities_that_holds_none(tmp_path: Path, world: Any) -> None:
    (tmp_path / "request.json").write_text(world.request().to_json())
    (tmp_path / "ca.pem").write_text("nothing")
    line = [sys.executable, "-m", "edgesmith_builder", "--request", str(tmp_path / "request.json")]
    done = subprocess.run([*line, "--bucket-ca", str(tmp_path / "ca.pem")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--bucket-ca" in done.stderr
    assert "certificates in PEM were expected" in done.stderr
