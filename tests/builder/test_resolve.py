"""Which bytes lie where nobody gave a digest: a real store and a real registry, and web servers that answer anyhow."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from artifacts import TITLE, pushed
from authority import Authority
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig
from played import Answer, Played

from edgesmith_builder import resolve as resolving
from edgesmith_builder.cli import main
from edgesmith_builder.contract import (
    VALIDATOR_LIMIT,
    BuildFailure,
    FileToResolve,
    ResolvedFile,
    ResolveRequest,
    ResolveResult,
)
from edgesmith_builder.errors import (
    DatasetInvalid,
    ModelInvalid,
    RequestInvalid,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)
from edgesmith_builder.limits import DATASET, MODEL
from edgesmith_builder.oci import Backoff, BytesBlob, Credentials, Registry, Repository
from edgesmith_builder.oci.content import INDEX, LAYER, MANIFEST, canonical
from edgesmith_builder.resolve import resolve
from edgesmith_builder.source import Artifacts, Bucket, Limit, Sources, StoreSettings, Web
from edgesmith_builder.source.https.validator import validator_of
from edgesmith_builder.source.s3.validator import checksum_of

OLD, NEW = (hashlib.shake_256(word).digest(300_000) for word in (b"old", b"new"))
QUICK = Backoff(attempts=2, first=0.0, limit=0.0, asked_limit=0.0)
MESSAGE = 4096
"""Bytes of a termination message that Kubernetes keeps."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Looker:
    """Looks at one file, again and again, as the operator has it done."""

    def __init__(self, sources: Sources, folder: Path) -> None:
        self._sources, self._folder = sources, folder

    def __call__(self, uri: str, last: ResolvedFile | None = None, field: str = "source") -> ResolvedFile:
        known = {"sha256": last.sha256, "validator": last.validator} if last else {}
        request = ResolveRequest(files=(FileToResolve(field=field, uri=uri, **known),))
        (found,) = resolve(request, self._sources, self._folder).files
        assert list(self._folder.iterdir()) == [], "nothing is left of what was read"
        assert found.field == field
        return found


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


# Buckets --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def look(store: Any, work: Path) -> Looker:
    return Looker(Sources({"s3": Bucket(store.settings, attempts=2, first_delay=0.01)}), work)


def test_an_object_is_read_once_and_then_only_asked_about(store: Any, look: Looker, monkeypatch: Any) -> None:
    uri = store.put("resolve/plain", OLD)
    first = look(uri)
    assert first.sha256 == sha256(OLD)
    monkeypatch.setattr(Bucket, "fetch", None)
    assert look(uri, first) == first


def test_an_object_s_bytes_are_counted_when_it_is_read_and_known_without(store: Any, look: Looker) -> None:
    uri = store.put("resolve/counted", OLD)
    first = look(uri)
    assert (first.bytes, look(uri, first).bytes) == (len(OLD), len(OLD))
    where = {"bucket_name": "models", "object_name": "resolve/kept-and-counted"}
    metadata = {"x-amz-checksum-sha256": KEPT}
    store.client.put_object(**where, data=io.BytesIO(OLD), length=len(OLD), metadata=metadata)
    assert look("s3://models/resolve/kept-and-counted").bytes == len(OLD)


def test_a_page_s_bytes_are_counted_when_it_is_read_and_known_without(serve: Serve, ask: Looker) -> None:
    server = serve(lambda _: Answer(body=OLD, headers={"ETag": '"1"'}))
    first = ask(f"{server.endpoint}/a")
    assert (first.bytes, ask(f"{server.endpoint}/a", first).bytes) == (len(OLD), len(OLD))


def test_a_layer_s_bytes_are_known_from_its_manifest(registry: str, work: Path) -> None:
    artifact = pushed(registry, (NEW[:1000], LAYER, {TITLE: "model.onnx"}))
    found = Looker(Sources({"oci": Artifacts(Credentials(), plain=[registry])}), work)(f"oci://{artifact}:1")
    assert found.bytes == 1000


def test_a_length_of_nothing_is_none(serve: Serve, ask: Looker) -> None:
    """Some servers answer HEAD so, whatever they answer GET."""
    server = serve(lambda request: Answer(body=b"" if request.command == "HEAD" else OLD, headers={"ETag": '"1"'}))
    first = ask(f"{server.endpoint}/a")
    assert (first.bytes, ask(f"{server.endpoint}/a", first).bytes) == (len(OLD), None)


def test_an_object_that_was_overwritten_has_another_digest(store: Any, look: Looker) -> None:
    first = look(store.put("resolve/changes", OLD))
    second = look(store.put("resolve/changes", NEW), first)
    assert (first.sha256, second.sha256) == (sha256(OLD), sha256(NEW))
    assert first.validator != second.validator


KEPT = base64.b64encode(hashlib.sha256(OLD).digest()).decode()


def test_a_digest_that_the_store_kept_is_taken(store: Any, look: Looker, monkeypatch: Any) -> None:
    where = {"bucket_name": "models", "object_name": "resolve/kept"}
    metadata = {"x-amz-checksum-sha256": KEPT}
    store.client.put_object(**where, data=io.BytesIO(OLD), length=len(OLD), metadata=metadata)
    monkeypatch.setattr(Bucket, "fetch", None)
    assert look("s3://models/resolve/kept").sha256 == sha256(OLD)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-amz-checksum-sha256": f"{KEPT}-2"},
        {"x-amz-checksum-sha256": KEPT, "x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-sha256": KEPT[:20]},
        {"x-amz-checksum-crc32": "AAAAAA=="},
    ],
)
def test_a_checksum_of_parts_is_no_digest(headers: dict[str, str]) -> None:
    assert checksum_of(headers) is None


def test_a_version_is_part_of_what_a_store_says(store: Any, work: Path) -> None:
    store.client.make_bucket(bucket_name="versions")
    store.client.set_bucket_versioning(bucket_name="versions", config=VersioningConfig(ENABLED))
    look, found = Looker(Sources({"s3": Bucket(store.settings)}), work), list[ResolvedFile]()
    for data in (OLD, OLD):
        store.client.put_object(bucket_name="versions", object_name="a", data=io.BytesIO(data), length=len(data))
        found.append(look("s3://versions/a", found[-1] if found else None))
    assert [one.sha256 for one in found] == [sha256(OLD)] * 2
    assert found[0].validator != found[1].validator


def test_an_object_that_is_not_there_or_not_ours(store: Any, look: Looker, work: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"spec\.source\.uri s3://models/resolve/none .* does not exist"):
        look("s3://models/resolve/none")
    uri = store.put("resolve/locked", OLD)
    variables = {"AWS_ENDPOINT_URL": store.settings.endpoint}
    nobody = Looker(Sources({"s3": Bucket(StoreSettings.read(None, variables), attempts=1)}), work)
    with pytest.raises(SourceForbidden, match=r"spec\.source\.uri .* may not be read"):
        nobody(uri)


def test_an_object_that_is_too_large_is_not_read(store: Any, look: Looker, monkeypatch: Any) -> None:
    uri = store.put("resolve/large", OLD)
    monkeypatch.setattr(resolving, "largest_model", lambda _: Limit(len(OLD) - 1, ModelInvalid))
    monkeypatch.setattr(Bucket, "fetch", None)
    with pytest.raises(ModelInvalid, match=r"spec\.source\.uri .* is larger than 300\.0 kB"):
        look(uri)


def test_a_store_that_is_down_is_said_so(work: Path) -> None:
    settings = StoreSettings.read(None, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    with pytest.raises(SourceUnreachable, match="gives no answer"):
        Looker(Sources({"s3": Bucket(settings, attempts=2, first_delay=0.01)}), work)("s3://models/a")


# Web servers ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


Serve = Callable[[Callable[[BaseHTTPRequestHandler], Answer]], Played]


@pytest.fixture
def serve(authority: Authority) -> Iterator[Serve]:
    running: list[Played] = []
    certificate = authority.sign("web")

    def start(answering: Callable[[BaseHTTPRequestHandler], Answer]) -> Played:
        running.append(Played(answering, certificate).__enter__())
        return running[-1]

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture
def ask(authority: Authority, work: Path) -> Looker:
    return Looker(Sources({"https": Web(None, authority.pem, patience=QUICK)}), work)


def methods(server: Played) -> list[str]:
    return [line.partition(" ")[0] for line in server.asked]


def test_a_page_with_a_strong_tag_is_read_once(serve: Serve, ask: Looker) -> None:
    now = [Answer(body=OLD, headers={"ETag": '"1"'})]
    server = serve(lambda _: now[0])
    uri = f"{server.endpoint}/model.onnx?token=s3cret"
    first = ask(uri)
    assert (first.sha256, first.validator) == (sha256(OLD), '"1"')
    assert ask(uri, first) == first
    assert methods(server) == ["HEAD", "GET", "HEAD"]
    now[0] = Answer(body=NEW, headers={"ETag": '"2"'})
    assert ask(uri, first).sha256 == sha256(NEW)


def ago(seconds: float) -> str:
    """A date as HTTP has it; the played server says the present one with each answer."""
    return formatdate(time.time() - seconds, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "reads"),
    [
        ({}, 2),
        ({"ETag": 'W/"1"'}, 2),
        ({"Last-Modified": ago(3600)}, 2),
        ({"ETag": 'W/"1"', "Last-Modified": ago(-3600)}, 2),
        ({"ETag": 'W/"1"', "Last-Modified": "a while ago"}, 2),
        ({"ETag": 'W/"1"', "Last-Modified": ago(3600).replace("GMT", "-0000")}, 1),
        ({"ETag": 'W/"1"', "Last-Modified": ago(3600)}, 1),
    ],
    ids=["nothing", "weak", "date", "weak and just written", "weak and no date", "no zone", "weak and old"],
)
def test_without_a_word_that_means_the_same_bytes_a_page_is_read_each_time(
    serve: Serve, ask: Looker, headers: dict[str, str], reads: int
) -> None:
    server = serve(lambda _: Answer(body=OLD, headers=headers))
    first = ask(f"{server.endpoint}/a")
    assert ask(f"{server.endpoint}/a", first).sha256 == sha256(OLD)
    assert methods(server).count("GET") == reads


@pytest.mark.parametrize(("seconds", "settled"), [(59, False), (60, True)])
def test_a_date_says_something_after_a_minute(seconds: int, settled: bool) -> None:  # noqa: FBT001 - a column of the table
    headers = {"ETag": 'W/"1"', "Last-Modified": formatdate(1000), "Date": formatdate(1000 + seconds)}
    assert (validator_of(headers) is not None) == settled


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_server_that_does_not_answer_head_is_read(serve: Serve, ask: Looker, status: int) -> None:
    tag = {"ETag": '"1"'}
    server = serve(
        lambda request: Answer(status, headers=tag) if request.command == "HEAD" else Answer(body=OLD, headers=tag)
    )
    first = ask(f"{server.endpoint}/a")
    assert (first.sha256, first.validator) == (sha256(OLD), '"1"')
    ask(f"{server.endpoint}/a", first)
    assert methods(server).count("GET") == 2


def test_the_validator_is_of_the_answer_that_was_read(serve: Serve, ask: Looker) -> None:
    """Changed between the two requests: the next look must not take the old tag's file for what it had."""
    answers = {"HEAD": Answer(headers={"ETag": '"1"'}), "GET": Answer(body=NEW, headers={"ETag": '"2"'})}
    server = serve(lambda request: answers[request.command])
    found = ask(f"{server.endpoint}/a")
    assert (found.sha256, found.validator) == (sha256(NEW), '"2"')


def test_a_redirect_is_followed_and_the_file_behind_it_counts(serve: Serve, ask: Looker) -> None:
    lies = ["/1"]

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if request.path == "/latest":
            return Answer(302, headers={"Location": lies[0]})
        return Answer(body={"/1": OLD, "/2": NEW}[request.path], headers={"ETag": f'"{request.path}"'})

    uri = f"{serve(answer).endpoint}/latest"
    first = ask(uri)
    lies[0] = "/2"
    assert [first.sha256, ask(uri, first).sha256] == [sha256(OLD), sha256(NEW)]


def test_a_redirect_without_tls_is_refused(serve: Serve, ask: Looker) -> None:
    server = serve(lambda _: Answer(302, headers={"Location": "http://127.0.0.1/a"}))
    with pytest.raises(RequestInvalid, match="an https address was expected"):
        ask(f"{server.endpoint}/a")


@pytest.mark.parametrize(
    ("field", "size", "error"),
    [
        ("source", MODEL, ModelInvalid),
        ("compiled[EdgeTPU]", MODEL, ModelInvalid),
        ("evaluation", DATASET, DatasetInvalid),
    ],
)
def test_a_file_that_is_too_large_is_not_read(
    serve: Serve, ask: Looker, field: str, size: int, error: type[Exception]
) -> None:
    server = serve(lambda _: Answer(body=b"", headers={"Content-Length": str(size + 1), "ETag": '"1"'}))
    with pytest.raises(error, match="is larger than"):
        ask(f"{server.endpoint}/a", field=field)
    assert methods(server) == ["HEAD"]


@pytest.mark.parametrize(("status", "error"), [(404, SourceNotFound), (403, SourceForbidden), (503, SourceUnreachable)])
def test_a_server_that_has_no_file_for_us(serve: Serve, ask: Looker, status: int, error: type[Exception]) -> None:
    server = serve(lambda _: Answer(status))
    with pytest.raises(error, match=r"spec\.compiled\[EdgeTPU\]\.uri"):
        ask(f"{server.endpoint}/a", field="compiled[EdgeTPU]")


def test_a_web_server_that_is_down_is_said_so(ask: Looker) -> None:
    with pytest.raises(SourceUnreachable, match="gives no whole answer"):
        ask("https://127.0.0.1:9/a")


def test_a_long_tag_is_kept_short_and_known_again(serve: Serve, ask: Looker) -> None:
    server = serve(lambda _: Answer(body=OLD, headers={"ETag": f'"{"x" * 500}"'}))
    first = ask(f"{server.endpoint}/a")
    assert len(first.validator or "") == VALIDATOR_LIMIT
    assert ask(f"{server.endpoint}/a", first) == first
    assert methods(server).count("GET") == 1


# Registries -----------------------------------------------------------------------------------------------------------


def tag(repository: Repository, data: bytes, name: str = "latest") -> None:
    """Let a tag name an artifact with one file."""

    async def push() -> None:
        async with Registry(plain_http=True) as client:
            config = BytesBlob(b"{}", "application/vnd.oci.empty.v1+json")
            layer = BytesBlob(data, LAYER)
            for blob in (config, layer):
                await client.push_blob(repository, blob)
            listed = [{**layer.descriptor.to_json(), "annotations": {TITLE: "model.onnx"}}]
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config.descriptor.to_json(),
                "layers": listed,
            }
            await client.push_manifest(repository.tagged(name), canonical(manifest))

    asyncio.run(push())


@pytest.fixture
def find(registry: str, work: Path) -> Looker:
    return Looker(Sources({"oci": Artifacts(Credentials(), plain=(registry,), patience=QUICK)}), work)


def test_a_tag_is_looked_up_in_its_manifest_and_nothing_is_fetched(
    registry: str, find: Looker, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Artifacts, "fetch", None)
    repository = pushed(registry, (OLD, LAYER, {TITLE: "model.onnx"}))
    first = find(f"oci://{repository}:1")
    assert first.sha256 == sha256(OLD)
    assert (first.validator or "").startswith("sha256:") or len(first.validator or "") == VALIDATOR_LIMIT
    assert find(f"oci://{repository}:1", first) == first
    tag(repository, NEW, "1")
    assert find(f"oci://{repository}:1", first).sha256 == sha256(NEW)


def test_a_tag_that_was_deleted_is_not_found(registry: str, find: Looker) -> None:
    repository = pushed(registry, (OLD, LAYER, {}))
    first = find(f"oci://{repository}:1")

    async def digest() -> str:
        async with Registry(plain_http=True) as client:
            manifest = await client.manifest(repository.tagged("1"))
        assert manifest is not None
        return manifest.digest

    where = f"http://{registry}/v2/{repository.name}/manifests/{asyncio.run(digest())}"
    assert httpx.delete(where).status_code == 202
    with pytest.raises(SourceNotFound, match="does not exist"):
        find(f"oci://{repository}:1", first)


def test_a_layer_that_is_too_large_is_said_by_its_manifest(registry: str, find: Looker, monkeypatch: Any) -> None:
    repository = pushed(registry, (OLD, LAYER, {}))
    monkeypatch.setattr(resolving, "largest_model", lambda _: Limit(len(OLD) - 1, ModelInvalid))
    with pytest.raises(ModelInvalid, match=r"spec\.source\.uri .* is larger than 300\.0 kB"):
        find(f"oci://{repository}:1")


def test_an_index_is_no_file(registry: str, find: Looker) -> None:
    repository = pushed(registry, (OLD, LAYER, {}))

    async def push() -> None:
        async with Registry(plain_http=True) as client:
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
            await client.push_manifest(repository.tagged("index"), canonical(index), INDEX)

    asyncio.run(push())
    with pytest.raises(RequestInvalid, match="is an index of images"):
        find(f"oci://{repository}:index")


# The program ----------------------------------------------------------------------------------------------------------


def run(folder: Path, request: ResolveRequest, store: Any, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "request.json").write_text(request.to_json())
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
    values = (store.settings.access_key, store.settings.secret_key, store.settings.endpoint)
    line = [sys.executable, "-m", "edgesmith_builder", "resolve", "--request", str(folder / "request.json")]
    line += ["--termination-log", str(folder / "log"), "--work", str(folder / "work"), *more]
    environment = {**os.environ, **dict(zip(names, values, strict=True))}
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_the_program_says_what_it_found(store: Any, registry: str, work: Path, tmp_path: Path) -> None:
    repository = pushed(registry, (NEW, LAYER, {}))
    files = (
        FileToResolve(field="source", uri=store.put("resolve/program", OLD)),
        FileToResolve(field="evaluation", uri=f"oci://{repository}:1"),
    )
    done = run(tmp_path, ResolveRequest(files=files, plain_registries=(registry,)), store)
    assert done.returncode == 0, done.stderr
    found = ResolveResult.model_validate_json((tmp_path / "log").read_text())
    assert done.stdout.strip() == found.to_json()
    assert [(one.field, one.sha256) for one in found.files] == [("source", sha256(OLD)), ("evaluation", sha256(NEW))]
    assert list(work.iterdir()) == []
    assert "spec.evaluation has" in done.stderr
    assert "store-password" not in done.stderr


def test_the_program_says_why_it_found_nothing(store: Any, work: Path, tmp_path: Path) -> None:
    assert work.is_dir()
    files = (FileToResolve(field="calibration", uri="s3://models/resolve/none"),)
    assert run(tmp_path, ResolveRequest(files=files), store).returncode == 1
    failure = BuildFailure.model_validate_json((tmp_path / "log").read_text())
    assert (failure.reason, failure.retry) == ("SourceNotFound", False)
    assert "spec.calibration.uri s3://models/resolve/none" in failure.message


@pytest.mark.parametrize("text", ['{"files": [{"field": "source"}]}', "[]", '{"build": {}}'])
def test_a_request_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "request.json").write_text(text)
    line = ["resolve", "--request", str(tmp_path / "request.json"), "--termination-log", str(tmp_path / "log")]
    assert main(line) == 1
    assert BuildFailure.model_validate_json((tmp_path / "log").read_text()).reason == "RequestInvalid"


def test_the_longest_answer_fits_a_termination_message() -> None:
    fields: Sequence[str] = ("source", "calibration", "evaluation", *(f"compiled[{'x' * 12}{n}]" for n in range(8)))
    files = tuple(ResolvedFile(field=name, sha256="f" * 64, validator='"' * VALIDATOR_LIMIT) for name in fields)
    assert len(ResolveResult(files=files).to_json().encode()) <= MESSAGE


def test_the_answer_for_as_many_files_as_an_edge_model_may_have_fits_too(
    serve: Serve, authority: Authority, work: Path
) -> None:
    """Its validators are hashes then, and those mean what they stand for."""
    server = serve(lambda _: Answer(body=OLD, headers={"ETag": '"' + "e" * 60 + '"'}))
    names = [f"optimize.alternatives[{'x' * 31}{n}]" for n in range(8)]
    own = [f"{name}.{file}" for name in names for file in ("source", "compiled[EdgeTPU]")]
    fields = ["source", "compiled[EdgeTPU]", "calibration", "evaluation", *own]
    sources = Sources({"https": Web(None, authority.pem, patience=QUICK)})
    files = tuple(FileToResolve(field=field, uri=f"{server.endpoint}/a") for field in fields)
    found = resolve(ResolveRequest(files=files), sources, work)
    assert len(found.to_json().encode()) < MESSAGE
    assert {one.sha256 for one in found.files} == {sha256(OLD)}
    assert {len(one.validator or "") for one in found.files} == {16}
    known = [
        file.model_copy(update={"sha256": one.sha256, "validator": one.validator})
        for file, one in zip(files, found.files, strict=True)
    ]
    server.asked.clear()
    assert resolve(ResolveRequest(files=tuple(known)), sources, work) == found
    assert set(methods(server)) == {"HEAD"}, "none is read again"


def test_answers_leave_out_what_is_not_known() -> None:
    found = ResolveResult(files=(ResolvedFile(field="source", sha256="0" * 64),))
    assert json.loads(found.to_json()) == {"files": [{"field": "source", "sha256": "0" * 64}]}
