"""Fetching from a real registry, over TLS and without, over a bad line, and from one that lies."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from artifacts import EMPTY_TYPE, TITLE, pushed
from authority import Authority
from played import Answer, Played
from services import start_registry

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import (
    BuildError,
    DatasetInvalid,
    DigestMismatch,
    RequestInvalid,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)
from edgesmith_builder.oci import Backoff, Credentials, Registry, Repository
from edgesmith_builder.oci.content import INDEX, LAYER, LAYER_GZIP, MANIFEST, canonical
from edgesmith_builder.source import Artifacts, FirstOf, Limit, source_logins
from tests.patience import PATIENCE

DATA = hashlib.shake_256(b"artifact").digest(4_000_000)
QUICK = Backoff(attempts=3, first=0.0, limit=0.0, asked_limit=0.0)
LIMIT = Limit(len(DATA), DatasetInvalid)
RAW = "application/vnd.cncf.model.weight.v1.raw"


def place(address: str, credentials: Credentials | None = None) -> Artifacts:
    return Artifacts(credentials or Credentials(), plain=(address,), patience=QUICK)


def fetched(where: Artifacts, uri: str, target: Path, sha256: str | None = None, limit: Limit = LIMIT) -> bytes:
    found = where.fetch("spec.source", Artifact(uri=uri, sha256=sha256), target, limit)
    data = found.path.read_bytes()
    assert (found.size, found.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    return data


@pytest.mark.parametrize(
    ("media_type", "annotations"),
    [
        (LAYER, {TITLE: "model.onnx"}),
        ("application/octet-stream", {}),
        (RAW, {"org.cncf.model.filepath": "model.onnx"}),
    ],
)
def test_an_artifact_with_one_file_is_that_file(
    registry: str, tmp_path: Path, media_type: str, annotations: dict[str, str]
) -> None:
    repository = pushed(registry, (DATA, media_type, annotations))
    digest = hashlib.sha256(DATA).hexdigest()
    assert fetched(place(registry), f"oci://{repository}:1", tmp_path / "file", digest) == DATA


def test_an_artifact_may_be_named_by_its_digest(registry: str, tmp_path: Path) -> None:
    repository = pushed(registry, (DATA, LAYER, {}))

    async def digest() -> str:
        async with Registry(plain_http=True) as client:
            found = await client.manifest(repository.tagged("1"))
        assert found is not None
        return found.digest

    assert fetched(place(registry), f"oci://{repository}@{asyncio.run(digest())}", tmp_path / "file") == DATA


def test_one_of_several_files_is_named_behind_a_hash(registry: str, tmp_path: Path) -> None:
    repository = pushed(
        registry,
        (b"weights", RAW, {"org.cncf.model.filepath": "weights/model.onnx"}),
        (b"notes", LAYER, {TITLE: "README.md"}),
        (b"{}", EMPTY_TYPE, {}),
    )
    uri = f"oci://{repository}:1"
    assert fetched(place(registry), f"{uri}#weights/model.onnx", tmp_path / "a") == b"weights"
    assert fetched(place(registry), f"{uri}#README.md", tmp_path / "b") == b"notes"
    with pytest.raises(RequestInvalid, match=r"holds 2 files; #FILE was expected .*, one of README\.md, weights/model"):
        fetched(place(registry), uri, tmp_path / "c")
    with pytest.raises(SourceNotFound, match=r"has no file 'model\.onnx'; one of README\.md, weights/model\.onnx was"):
        fetched(place(registry), f"{uri}#model.onnx", tmp_path / "d")


def test_an_artifact_without_a_file_is_none(registry: str, tmp_path: Path) -> None:
    repository = pushed(registry, (b"{}", EMPTY_TYPE, {}))
    with pytest.raises(SourceNotFound, match="holds no file; an artifact with one was expected"):
        fetched(place(registry), f"oci://{repository}:1", tmp_path / "file")


@pytest.mark.parametrize(
    ("media_type", "annotations", "words"),
    [
        (LAYER_GZIP, {}, LAYER_GZIP),
        ("application/vnd.cncf.model.weight.v1.tar", {}, "application/vnd.cncf.model.weight.v1.tar"),
        ("application/vnd.kitops.modelkit.model.v1.tar+gzip", {}, "tar+gzip"),
        ("application/vnd.cncf.model.weight.v1.tar+zstd", {}, "tar+zstd"),
        (LAYER, {"io.deis.oras.content.unpack": "true", TITLE: "folder"}, "a folder"),
    ],
)
def test_a_layer_that_is_an_archive_is_refused_before_it_is_fetched(
    registry: str, tmp_path: Path, media_type: str, annotations: dict[str, str], words: str
) -> None:
    repository = pushed(registry, (DATA, media_type, annotations))
    with pytest.raises(RequestInvalid) as caught:
        fetched(place(registry), f"oci://{repository}:1", tmp_path / "file")
    assert f"{words}); a layer that is the file itself was expected" in str(caught.value)
    assert not (tmp_path / "file").exists()


def test_another_digest_is_found_in_the_manifest(registry: str, tmp_path: Path) -> None:
    repository = pushed(registry, (DATA, LAYER, {}))
    with pytest.raises(DigestMismatch, match=rf"spec\.source\.sha256 is {'0' * 64} but oci://.*:1 has "):
        fetched(place(registry), f"oci://{repository}:1", tmp_path / "file", "0" * 64)
    assert not (tmp_path / "file").exists()


def test_a_file_over_its_limit_is_not_fetched(registry: str, tmp_path: Path) -> None:
    repository = pushed(registry, (DATA, LAYER, {}))
    with pytest.raises(DatasetInvalid, match=r"spec\.source\.uri oci://.*:1 is larger than 1\.0 MB; at most that was"):
        fetched(place(registry), f"oci://{repository}:1", tmp_path / "f", limit=Limit(1_000_000, DatasetInvalid))
    assert not (tmp_path / "f").exists()


async def test_a_file_goes_on_where_the_connection_broke(registry: str, cutting_proxy: Any, tmp_path: Path) -> None:
    repository = await asyncio.to_thread(pushed, registry, (DATA, LAYER, {}))
    async with cutting_proxy(registry, [], [1_500_000, 1_500_000]) as proxy:
        uri = f"oci://{proxy.address}/{repository.name}:1"
        assert await asyncio.to_thread(fetched, place(proxy.address), uri, tmp_path / "file") == DATA
        assert proxy.cuts == 2
        assert proxy.received < len(DATA) + 1_000_000


async def test_a_build_waits_for_a_file_on_its_own_loop(registry: str, tmp_path: Path) -> None:
    repository = await asyncio.to_thread(pushed, registry, (DATA, LAYER, {}))
    assert fetched(place(registry), f"oci://{repository}:1", tmp_path / "file") == DATA


def test_what_is_not_there_is_said(registry: str, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"oci://.*/none:1 does not exist; an artifact was expected there"):
        fetched(place(registry), f"oci://{registry}/artifacts/none:1", tmp_path / "file")


def test_an_index_is_no_artifact(registry: str, tmp_path: Path) -> None:
    repository = Repository.parse(f"{registry}/artifacts/index")

    async def push() -> None:
        async with Registry(plain_http=True) as client:
            raw = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
            await client.push_manifest(repository.tagged("1"), raw, INDEX)

    asyncio.run(push())
    with pytest.raises(RequestInvalid, match="is an index of images; an artifact with one file was expected"):
        fetched(place(registry), f"oci://{repository}:1", tmp_path / "file")


@pytest.mark.parametrize(
    "uri", ["oci://host", "oci://host/name", "oci://host/Name:1", "oci://host/name@sha256:1", "oci://"]
)
def test_a_uri_that_is_none_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(RequestInvalid, match=r"spec\.source\.uri is 'oci://.*'; oci://REGISTRY/NAME:TAG or"):
        fetched(place("host"), uri, tmp_path / "file")


# Who we are ----------------------------------------------------------------------------------------------------------


def test_a_login_comes_from_the_sources_secret_or_else_from_the_builds(
    locked_registry: str, login: Any, tmp_path: Path
) -> None:
    right, wrong = login(locked_registry, "right-password"), login(locked_registry, "wrong-password")
    repository = pushed(locked_registry, (DATA, LAYER, {}), credentials=right)
    uri = f"oci://{repository}:1"
    for logins in ((right, wrong), (Credentials(), right), (login("other:1", "x"), right)):
        where = Artifacts(FirstOf(logins), plain=(locked_registry,), patience=QUICK)
        assert fetched(where, uri, tmp_path / "file") == DATA
    for logins in ((wrong, right), (Credentials(), Credentials())):
        where = Artifacts(FirstOf(logins), plain=(locked_registry,), patience=QUICK)
        with pytest.raises(
            SourceForbidden, match=r"may not be read: .* was expected, in \.dockerconfigjson of"
        ) as said:
            fetched(where, uri, tmp_path / "file")
        assert "password" not in str(said.value)


def test_a_login_that_a_program_keeps_is_said_once(registry: str) -> None:
    kept, own = (
        Credentials.from_json('{"credsStore": "osx"}'),
        Credentials.from_json(json.dumps({"auths": {registry: {"username": "u", "password": "p"}}})),
    )
    repository = Repository.parse(f"{registry}/a")
    assert FirstOf((kept, own)).elsewhere(repository) is None
    assert "docker-credential-osx" in (FirstOf((Credentials(), kept)).elsewhere(repository) or "")


def test_the_sources_logins_are_a_file_or_a_variable(tmp_path: Path) -> None:
    text = json.dumps({"auths": {"host": {"username": "u", "password": "p"}}})
    repository = Repository.parse("host/a")
    assert source_logins(None, {}).login(repository) is None
    assert source_logins(tmp_path, {"SOURCE_DOCKERCONFIGJSON": text}).login(repository) is not None
    (tmp_path / ".dockerconfigjson").write_text(text.replace("host", "other"))
    assert source_logins(tmp_path, {"SOURCE_DOCKERCONFIGJSON": text}).login(repository) is None
    (tmp_path / ".dockerconfigjson").write_text("s3cret")
    with pytest.raises(RequestInvalid, match=r"\.dockerconfigjson of the source's Secret is not a") as said:
        source_logins(tmp_path, {})
    assert "s3cret" not in str(said.value)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure_registry(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[str]:
    server = start_registry(tmp_path_factory.mktemp("secure"), tls=authority.sign("secure"))
    yield server.address
    server.stop()


def test_a_registry_speaks_tls_unless_it_is_the_one_that_has_none(
    secure_registry: str, registry: str, authority: Authority, tmp_path: Path
) -> None:
    repository = pushed(secure_registry, (DATA, LAYER, {}), authorities=authority.pem)
    where = Artifacts(Credentials(), authority.pem, plain=(registry,), patience=QUICK)
    assert fetched(where, f"oci://{repository}:1", tmp_path / "file") == DATA
    with pytest.raises(RequestInvalid, match=r"not trusted .* registry\.caBundle of the chart"):
        fetched(place(registry), f"oci://{repository}:1", tmp_path / "file")
    with pytest.raises(SourceUnreachable, match=r"cannot be read: .* gave no answer"):
        fetched(Artifacts(Credentials(), patience=QUICK), f"oci://{registry}/a:1", tmp_path / "file")


# Registries that lie -------------------------------------------------------------------------------------------------


def lying(blob: Answer, said: bytes = DATA) -> Played:
    layer = {"mediaType": LAYER, "digest": f"sha256:{hashlib.sha256(said).hexdigest()}", "size": len(said)}
    config = {"mediaType": EMPTY_TYPE, "digest": f"sha256:{'0' * 64}", "size": 2}
    raw = canonical({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]})

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if "/manifests/" in request.path:
            return Answer(200, raw, {"Content-Type": MANIFEST})
        return Answer(blob.status) if request.command == "HEAD" else blob

    return Played(answer)


@pytest.mark.parametrize(
    ("blob", "kind", "words"),
    [
        (Answer(200, b"x" * len(DATA)), RequestInvalid, "the same digest was expected"),
        (Answer(200, DATA[:-1]), RequestInvalid, "sent 3999999 bytes when reading"),
        (Answer(200, DATA + b"x"), RequestInvalid, "sent 4000001 bytes when reading"),
        (Answer(200, DATA, cut=10), SourceUnreachable, "cannot be read: .* gave no answer"),
        (Answer(404), SourceNotFound, "which the registry does not have"),
        (Answer(503), SourceUnreachable, "answered 503"),
        (Answer(403), SourceForbidden, "answered 403"),
    ],
)
def test_a_registry_that_answers_badly(tmp_path: Path, blob: Answer, kind: type[BuildError], words: str) -> None:
    with lying(blob) as server:
        address = server.endpoint.removeprefix("http://")
        with pytest.raises(kind, match=rf"^spec\.source\.uri oci://{address}/a:1 .*{words}"):
            fetched(place(address), f"oci://{address}/a:1", tmp_path / "file")


def test_two_halves_of_two_files_are_none(tmp_path: Path) -> None:
    half = len(DATA) // 2
    answers = iter((Answer(200, DATA, cut=half), Answer(206, b"x" * half)))
    with lying(Answer(200)) as server:
        manifests = server.answering

        def answer(request: BaseHTTPRequestHandler) -> Answer:
            return next(answers) if request.command == "GET" and "/blobs/" in request.path else manifests(request)

        server.answering = answer
        address = server.endpoint.removeprefix("http://")
        with pytest.raises(RequestInvalid, match=r"came with sha256:[0-9a-f]{64}; sha256:[0-9a-f]{64} was expected"):
            fetched(place(address), f"oci://{address}/a:1", tmp_path / "file")


class Interrupted(SystemExit):
    """As the program's own."""


def test_a_signal_ends_a_download_that_never_would(tmp_path: Path) -> None:
    begun, left = threading.Event(), threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> Answer:
        request.send_response(200)
        request.end_headers()
        begun.set()
        try:
            while not left.wait(0.05):
                request.wfile.write(b"x")
        except OSError:
            left.set()
        request.close_connection = True
        return Answer()

    def stop(*_: object) -> None:
        raise Interrupted(143)

    def interrupt() -> None:
        begun.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    with lying(Answer(200)) as server:
        manifests = server.answering
        server.answering = lambda request: (
            drip(request) if request.command == "GET" and "/blobs/" in request.path else manifests(request)
        )
        address = server.endpoint.removeprefix("http://")
        before = signal.signal(signal.SIGUSR1, stop)
        teller = threading.Thread(target=interrupt)
        teller.start()
        try:
            with pytest.raises(Interrupted):
                fetched(place(address), f"oci://{address}/a:1", tmp_path / "file")
        finally:
            teller.join()
            signal.signal(signal.SIGUSR1, before)
        assert left.wait(PATIENCE)
