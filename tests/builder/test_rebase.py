"""A base image that changes: builds are put over the new one from the layers of the one before, or compiled and why."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from attached import BILL, STATEMENT, Object, hanging
from cryptography.hazmat.primitives.asymmetric import ec
from services import start_registry

from edgesmith_builder.build import Built, build
from edgesmith_builder.contract import (
    KEY_ANNOTATION,
    REPORT_ANNOTATION,
    Artifact,
    BuildRequest,
    Classification,
    Earlier,
    Picture,
    Toolchain,
)
from edgesmith_builder.evidence import SLSA
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Backoff, Descriptor, FileBlob, Manifest, Reference, Registry
from edgesmith_builder.oci.content import INDEX, MANIFEST, canonical, digest_of
from edgesmith_builder.pack import write_layer
from edgesmith_builder.provenance import report_of
from edgesmith_builder.push import Registries
from edgesmith_builder.rebase import bundle_tag
from edgesmith_builder.signatures import SIGNED, Statement, look_for
from edgesmith_builder.signatures.private import PrivateKey
from edgesmith_builder.source import Bucket, Sources
from edgesmith_builder.toolchain import onnxruntime

Name = Callable[["Case"], Awaitable[BuildRequest]]

KEY, OTHER_KEY = (PrivateKey(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))


@dataclass(frozen=True)
class Site:
    """A registry of its own, whose files can be spoilt, with two base images."""

    world: Any
    data: Path
    newer: str
    """A second base image."""
    whole: dict[Path, bytes] = field(default_factory=dict)
    """What was spoilt, as it was."""

    def request(self, **changes: Any) -> BuildRequest:
        request: BuildRequest = self.world.request(**changes)
        return request

    async def make(self, request: BuildRequest, maker: Maker | None = None, **more: Any) -> Built:
        built: Built = await self.world.build(request, maker=maker or Maker(KEY), **more)
        return built

    async def over(self, request: BuildRequest, base: str | None = None) -> Built:
        """The same over another base, with a key, where nothing can be fetched."""
        nowhere = self.world.store.settings.__class__(host="127.0.0.1:1", secure=False, region="us-east-1")
        return await self.make(newer(request, base or self.newer), settings=nowhere)

    def spoil(self, digest: str) -> None:
        """Change one bit of a blob on the registry's disk."""
        algorithm, _, name = digest.partition(":")
        (file,) = self.data.glob(f"**/blobs/{algorithm}/{name[:2]}/{name}/data")
        content = bytearray(self.whole.setdefault(file, file.read_bytes()))
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


def newer(request: BuildRequest, base: str) -> BuildRequest:
    return request.model_copy(update={"build": request.build.model_copy(update={"base": base})})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spoilt-registry")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    server = start_registry(folder)
    yield server.address
    server.stop()


@pytest.fixture
def site(world: Any, folder: Path, address: str, push_base: Any) -> Iterator[Site]:
    old = asyncio.run(push_base(address))
    new = asyncio.run(push_base(address, layer_text="a newer and longer layer of"))
    found = Site(replace(world, registry=address, base=old), folder / "data", new)
    yield found
    for file, content in found.whole.items():
        file.write_bytes(content)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The precisions that ONNX Runtime's toolchain has compiled."""
    found: list[str] = []
    whole = onnxruntime.compile

    def count(precision: Any, *rest: Any) -> Any:
        found.append(precision)
        return whole(precision, *rest)

    monkeypatch.setattr(onnxruntime, "compile", count)
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every request that leaves this process from now on: its method and the end of its path."""
    found: list[str] = []
    whole = httpx.AsyncHTTPTransport.handle_async_request

    async def handle(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        found.append(f"{request.method} {request.url.path.rpartition('/')[2]}")
        return await whole(self, request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    return found


async def manifest_of(image: str | Reference) -> Manifest:
    async with Registry(plain_http=True) as client:
        found = await client.manifest(Reference.parse(image) if isinstance(image, str) else image)
    assert found is not None
    return found


def digests(manifest: Manifest) -> list[str]:
    return [layer.digest for layer in manifest.layers]


def digest(built: Built) -> str:
    return built.image.partition("@")[2]


async def base_layers_of(base: str) -> list[str]:
    reference = Reference.parse(base)
    async with Registry(plain_http=True) as client:
        index = await client.document(reference)
        assert index is not None
        assert not isinstance(index, Manifest)
        entry = index.select("linux", "amd64")
        assert entry is not None
        manifest = await client.manifest(reference.repository.pinned(entry.digest))
    assert manifest is not None
    return digests(manifest)


async def test_a_new_base_gets_the_layers_of_the_build_before_and_nothing_is_compiled(
    site: Site, compiled: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    request = site.request()
    before = await site.make(request)
    assert compiled == ["int8", "fp32"]
    caplog.set_level("INFO", "edgesmith_builder")
    after = await site.over(request)
    assert compiled == ["int8", "fp32"], "and nothing since"
    assert not after.cached
    assert f"re-based from {before.image}" in caplog.text

    repository = Reference.parse(after.image).repository
    old = {"int8": await manifest_of(before.image)}
    new = {"int8": await manifest_of(after.image)}
    for report, found in ((before.report, old), (after.report, new)):
        assert report.finalists[1].digest is not None
        found["fp32"] = await manifest_of(repository.pinned(report.finalists[1].digest))
    for one in ("int8", "fp32"):
        assert digests(new[one])[-2:] == digests(old[one])[-2:]
        assert digests(new[one])[:-2] == await base_layers_of(site.newer) != digests(old[one])[:-2]
        said = report_of(new[one])
        assert said is not None
        assert said.rebased_from == old[one].digest
        async with Registry(plain_http=True) as client:
            assert await look_for(client, repository, new[one].digest, KEY.public) == "Signed"
        bill, made = await evidence(str(repository.pinned(new[one].digest)))
        named = {dependency["name"]: dependency for dependency in made["resolvedDependencies"]}
        assert named["image"] == {
            "name": "image",
            "uri": f"oci://{repository}",
            "digest": {"sha256": old[one].digest.partition(":")[2]},
        }
        assert named["source"]["digest"]["sha256"] == site.world.digest(site.world.source)
        assert set(named) == {"source", "calibration", "evaluation", "base", "image"}
        assert bill["metadata"]["component"]["version"] == new[one].digest
    assert after.report == report_of(new["int8"])


async def test_what_is_declared_of_pictures_goes_along_and_is_replayed(site: Site, compiled: list[str]) -> None:
    request = site.request(picture=Picture(scale=1 / 255, classification=Classification()), precisions=("fp32",))
    before, after = await site.make(request), await site.over(request)
    assert compiled == ["fp32"]
    assert digests(await manifest_of(after.image))[-2:] == digests(await manifest_of(before.image))[-2:]


async def evidence(image: str) -> tuple[Object, Object]:
    """The bill, and the build's definition in the provenance."""
    hung = await hanging(image)
    assert len(hung) == 5
    return hung[BILL, ""][1], hung[STATEMENT, ""][1]["predicate"]["buildDefinition"]


async def test_the_report_is_the_one_before_with_sizes_counted_anew(site: Site) -> None:
    request = site.request()
    before = await site.make(request)
    after = await site.over(request)
    told = {"rebased_from", "candidates", "finalists"}
    assert after.report.model_dump(exclude=told) == before.report.model_dump(exclude=told)
    repository = Reference.parse(after.image).repository
    found = [after.image, *(str(repository.pinned(one.digest)) for one in after.report.finalists if one.digest)]
    sizes = [(await manifest_of(image)).size for image in found]
    assert [one.image_size for one in after.report.candidates] == sizes
    pairs = zip(after.report.candidates, before.report.candidates, strict=True)
    for now, then in pairs:
        assert now.image_size != then.image_size
        assert now.model_copy(update={"image_size": None}) == then.model_copy(update={"image_size": None})


async def test_the_key_is_there_afterwards_and_a_third_base_is_put_under_the_second_image(
    site: Site, compiled: list[str], push_base: Any
) -> None:
    request = site.request()
    await site.make(request)
    second = await site.over(request)
    assert (await site.over(request)).cached
    third = await site.over(request, await push_base(site.world.registry, layer_text="a third layer of"))
    assert third.report.rebased_from == digest(second)
    assert compiled == ["int8", "fp32"]
    _, made = await evidence(third.image)
    roles = [dependency["name"] for dependency in made["resolvedDependencies"]]
    assert roles == ["source", "calibration", "evaluation", "base", "image"]


def given(site: Site, **changes: Any) -> BuildRequest:
    """A request that gives every digest, as the operator's do."""
    world = site.world
    files = {name: getattr(world, name) for name in ("source", "calibration", "evaluation")}
    return site.request(**{n: Artifact(uri=uri, sha256=world.digest(uri)) for n, uri in files.items()} | changes)


def naming(request: BuildRequest, built: Built, **said: str) -> BuildRequest:
    """A request that names an image which the asker knows to be made of the same bundle."""
    known = {"digest": digest(built), "bundle": request.build.bundle_key("Edgesmith")}
    return request.model_copy(update={"earlier": Earlier(**{**known, **said})})


async def over_unsigned(site: Site, request: BuildRequest) -> Built:
    """The same over another base, without a key, where nothing can be fetched."""
    nowhere = site.world.store.settings.__class__(host="127.0.0.1:1", secure=False, region="us-east-1")
    return await site.make(newer(request, site.newer), Maker(), settings=nowhere)


async def test_without_a_key_the_layers_are_those_of_the_image_that_the_request_names(
    site: Site, compiled: list[str], caplog: pytest.LogCaptureFixture, asked: list[str]
) -> None:
    request = given(site)
    before = await site.make(request, Maker())
    assert compiled == ["int8", "fp32"]
    asked.clear()
    caplog.set_level("INFO", "edgesmith_builder")
    after = await over_unsigned(site, naming(request, before))
    assert compiled == ["int8", "fp32"], "and nothing since"
    assert not after.cached
    assert f"re-based from {before.image}" in caplog.text
    assert not [one for one in asked if "bundle-" in one], "no tag that anybody can push is asked for"
    repository = Reference.parse(after.image).repository
    for old, new in zip(before.report.finalists, after.report.finalists, strict=True):
        one = await manifest_of(repository.pinned(old.digest or digest(before)))
        other = await manifest_of(repository.pinned(new.digest or digest(after)))
        assert digests(one)[-2:] == digests(other)[-2:]
        assert digests(other)[:-2] == await base_layers_of(site.newer)
        assert (old.precision, new.rebased_from) == (new.precision, one.digest)
    made = (await hanging(after.image))[STATEMENT, ""][1]["predicate"]["buildDefinition"]
    named = {one["name"]: one["digest"]["sha256"] for one in made["resolvedDependencies"]}
    assert named["source"] == site.world.digest(site.world.source)
    assert named["image"] == digest(before).partition(":")[2]
    assert set(named) == {"source", "calibration", "evaluation", "base", "image"}


async def test_the_base_before_need_not_be_there_any_more_where_the_request_names_the_image(
    site: Site, compiled: list[str], push_base: Any
) -> None:
    old = await push_base(site.world.registry, layer_text="a base that goes")
    request = given(site, base=old, precisions=("fp32",))
    before = await site.make(request, Maker())
    await delete(Reference.parse(old))
    after = await over_unsigned(site, naming(request, before))
    assert (after.report.rebased_from, compiled) == (digest(before), ["fp32"])


async def another_bundle_is_named(case: Case) -> BuildRequest:
    return naming(case.request, case.built, bundle="0" * 32)


async def an_image_is_named_that_is_not_there(case: Case) -> BuildRequest:
    return naming(case.request, case.built, digest=f"sha256:{'0' * 64}")


async def no_digest_is_given(case: Case) -> BuildRequest:
    build = case.request.build
    loose = build.model_copy(update={"source": Artifact(uri=build.source.uri)})
    return naming(case.request.model_copy(update={"build": loose}), case.built)


async def without(case: Case, annotation: str) -> BuildRequest:
    """An image that lacks what a build's manifest says."""
    manifest = await manifest_of(case.built.image)
    said = {name: text for name, text in manifest.annotations.items() if name != annotation}
    async with Registry(plain_http=True) as client:
        raw = replace(manifest, annotations=said).to_bytes()
        other = await client.push_manifest(Reference.parse(case.built.image).repository.tagged("other"), raw)
    return naming(case.request, case.built, digest=other)


async def an_image_without_a_key(case: Case) -> BuildRequest:
    return await without(case, KEY_ANNOTATION)


async def an_image_without_a_report(case: Case) -> BuildRequest:
    return await without(case, REPORT_ANNOTATION)


async def its_layers_are_gone(case: Case) -> BuildRequest:
    await a_layer_is_gone(case)
    return naming(case.request, case.built)


async def its_layers_are_others(case: Case) -> BuildRequest:
    await a_layer_of_another_digest(case)
    return naming(case.request, case.built)


async def its_second_finalist_is_gone(case: Case) -> BuildRequest:
    await a_finalist_is_gone(case)
    return naming(case.request, case.built)


async def one_layer_only(case: Case) -> BuildRequest:
    async with Registry(plain_http=True) as client:
        manifest = await manifest_of(case.built.image)
        report = case.built.report.model_copy(update={"finalists": case.built.report.finalists[:1]}).to_json()
        annotations = {**manifest.annotations, REPORT_ANNOTATION: report}
        raw = replace(manifest, layers=manifest.layers[-1:], annotations=annotations).to_bytes()
        other = await client.push_manifest(Reference.parse(case.built.image).repository.tagged("other"), raw)
    return naming(case.request, case.built, digest=other)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (another_bundle_is_named, "is of the bundle 00000000000000000000000000000000"),
        (an_image_is_named_that_is_not_there, "does not hold the finalist sha256:0000"),
        (no_digest_is_given, "the sha256 of source is not given"),
        (an_image_without_a_key, "carries no build key and report that can be read"),
        (an_image_without_a_report, "carries no build key and report that can be read"),
        (its_layers_are_gone, "answered 404 when reading sha256:"),
        (its_layers_are_others, "the same digest was expected"),
        (its_second_finalist_is_gone, "does not hold the finalist sha256:"),
        (one_layer_only, "has fewer than 2 layers"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_what_the_request_names_and_cannot_be_taken_is_compiled_and_the_log_says_why(
    site: Site, compiled: list[str], caplog: pytest.LogCaptureFixture, name: Name, words: str
) -> None:
    request = given(site)
    built = await site.make(request, Maker())
    named = await name(Case(site, request, built))
    compiled.clear()
    caplog.clear()
    again = await site.make(newer(named, site.newer), Maker())
    assert compiled == ["int8", "fp32"], "all finalists, or none"
    assert (again.cached, again.report.rebased_from) == (False, None)
    (said,) = [line for line in caplog.messages if line.startswith("it is compiled and not re-based")]
    assert words in said


async def test_the_image_of_the_same_build_is_not_taken(
    site: Site, compiled: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    request = given(site, precisions=("fp32",))
    built = await site.make(request, Maker())
    forget(site, request)
    again = await site.make(naming(request, built), Maker())
    assert (again.report.rebased_from, len(compiled)) == (None, 2)
    assert "is of the same build, which is to be made anew" in caplog.text


async def test_with_a_key_the_request_s_word_counts_for_nothing(site: Site, compiled: list[str]) -> None:
    request = given(site, precisions=("fp32",))
    built = await site.make(request, Maker())
    again = await site.make(newer(naming(request, built), site.newer), Maker(KEY))
    assert (again.report.rebased_from, len(compiled)) == (None, 2)


async def test_without_a_key_nothing_is_asked_and_it_is_compiled(
    site: Site, compiled: list[str], asked: list[str]
) -> None:
    request = site.request()
    await site.make(request)
    asked.clear()
    built = await site.make(newer(request, site.newer), Maker())
    assert built.report.rebased_from is None
    assert len(compiled) == 4
    assert not [one for one in asked if "bundle-" in one], asked


async def test_another_server_has_other_layers_so_it_is_another_bundle(
    site: Site, compiled: list[str], push_base: Any
) -> None:
    request = site.request(precisions=("fp32",))
    await site.make(request)
    triton = await push_base(site.world.registry, layer_text="triton on", labels={"dev.edgesmith.server": "Triton"})
    built = await site.make(newer(request, triton))
    assert (built.report.rebased_from, len(compiled)) == (None, 2)


@dataclass(frozen=True)
class Case:
    """A build that was made, and is to be spoilt before its base changes."""

    site: Site
    request: BuildRequest
    built: Built


@pytest.mark.parametrize(
    ("toolchain", "labels"),
    [
        (Toolchain(name="OpenVINO", precisions=("fp32",), options={"device": "GPU"}), {}),
        (Toolchain(name="TensorRT", precisions=("int8", "fp16")), {"dev.edgesmith.server": "Triton"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_what_needs_a_device_is_replayed_as_it_was_when_it_was_compiled(
    site: Site, push_base: Any, toolchain: Toolchain, labels: dict[str, str]
) -> None:
    bases = [await push_base(site.world.registry, layer_text=f"{one} under", labels=labels) for one in ("old", "new")]
    request = site.request(toolchain=toolchain, base=bases[0])
    before = await site.make(request)
    after = await site.over(request, bases[1])
    assert after.report.rebased_from == digest(before)
    assert [one.precision for one in after.report.finalists] == list(toolchain.precisions)
    assert digests(await manifest_of(after.image))[-2:] == digests(await manifest_of(before.image))[-2:]


Spoil = Callable[[Case], Awaitable[None]]


async def push_as_bundle(request: BuildRequest, manifest: Manifest) -> None:
    """Put an image under the tag that a build over another base looks for."""
    tag = Reference.parse(request.image).repository.tagged(bundle_tag(request.build.bundle_key("Edgesmith")))
    async with Registry(plain_http=True) as client:
        await client.push_manifest(tag, manifest.to_bytes())


async def hang(image: str, raw: bytes, *statements: Statement, key: PrivateKey = KEY) -> None:
    repository = Reference.parse(image).repository
    async with Registry(plain_http=True) as client:
        await client.attach(repository, Descriptor.of(raw, MANIFEST), [key.sign(one) for one in statements])


async def forged(request: BuildRequest, image: str, manifest: Manifest, key: PrivateKey = KEY) -> None:
    """Put a manifest under the bundle's tag, signed, with the provenance of another image."""
    raw = manifest.to_bytes()
    predicate = (await hanging(image))[STATEMENT, ""][1]["predicate"]
    await push_as_bundle(request, manifest)
    await hang(image, raw, Statement(digest_of(raw), SIGNED), Statement(digest_of(raw), SLSA, predicate), key=key)


async def delete(image: Reference, kind: str = "manifests") -> None:
    async with httpx.AsyncClient() as client:
        url = f"http://{image.repository.registry}/v2/{image.repository.name}/{kind}/{image.target}"
        assert (await client.delete(url)).status_code == 202


def noted(manifest: Manifest, **said: str) -> Manifest:
    """The same image with another digest, which nothing hangs on."""
    return replace(manifest, annotations={**manifest.annotations, **said})


async def an_unsigned_image(case: Case) -> None:
    await push_as_bundle(case.request, noted(await manifest_of(case.built.image), by="somebody"))


async def another_key(case: Case) -> None:
    """All is as it should be, but for who signed it."""
    await forged(case.request, case.built.image, noted(await manifest_of(case.built.image), by="somebody"), OTHER_KEY)


async def another_bundle(case: Case) -> None:
    """An image of ours, signed by us, under the tag of another bundle."""
    other = case.site.request(repository=case.request.repository, output="scores")
    built = await case.site.make(other)
    await push_as_bundle(case.request, await manifest_of(built.image))


async def no_provenance(case: Case) -> None:
    """An image that somebody signed by hand."""
    manifest = await manifest_of(case.built.image)
    other = noted(manifest, signed="by hand")
    await push_as_bundle(case.request, other)
    raw = other.to_bytes()
    await hang(case.built.image, raw, Statement(digest_of(raw), SIGNED))


async def another_builder(case: Case) -> None:
    manifest = await manifest_of(case.built.image)
    other = noted(manifest, made="elsewhere")
    await push_as_bundle(case.request, other)
    raw = other.to_bytes()
    predicate = (await hanging(case.built.image))[STATEMENT, ""][1]["predicate"]
    predicate["runDetails"]["builder"]["id"] = "https://example.com/another"
    await hang(case.built.image, raw, Statement(digest_of(raw), SIGNED), Statement(digest_of(raw), SLSA, predicate))


async def other_layers_below(case: Case) -> None:
    manifest = await manifest_of(case.built.image)
    await forged(case.request, case.built.image, replace(manifest, layers=(manifest.layers[-1], *manifest.layers[-2:])))


async def the_base_is_gone(case: Case) -> None:
    await delete(Reference.parse(case.request.build.base))


async def a_finalist_is_gone(case: Case) -> None:
    await delete(Reference.parse(case.built.image).repository.pinned(str(case.built.report.finalists[1].digest)))


async def a_finalist_of_another_precision(case: Case) -> None:
    """The report of a signed image names the image itself as its second finalist."""
    manifest = await manifest_of(case.built.image)
    first, second = case.built.report.finalists
    listed = (first, second.model_copy(update={"digest": digest(case.built)}))
    report = case.built.report.model_copy(update={"finalists": listed}).to_json()
    annotations = {**manifest.annotations, REPORT_ANNOTATION: report}
    await forged(case.request, case.built.image, replace(manifest, annotations=annotations))


async def an_unsigned_finalist(case: Case) -> None:
    repository = Reference.parse(case.built.image).repository
    manifest = await manifest_of(repository.pinned(str(case.built.report.finalists[1].digest)))
    other = noted(manifest, signed="no")
    first = await manifest_of(case.built.image)
    async with Registry(plain_http=True) as client:
        named = await client.push_manifest(repository.tagged("other"), other.to_bytes())
    listed = (case.built.report.finalists[0], case.built.report.finalists[1].model_copy(update={"digest": named}))
    report = case.built.report.model_copy(update={"finalists": listed}).to_json()
    await forged(
        case.request, case.built.image, replace(first, annotations={**first.annotations, REPORT_ANNOTATION: report})
    )


async def a_layer_is_gone(case: Case) -> None:
    layer = (await manifest_of(case.built.image)).layers[-1]
    await delete(Reference.parse(case.built.image).repository.pinned(layer.digest), "blobs")


async def a_layer_of_another_digest(case: Case) -> None:
    case.site.spoil((await manifest_of(case.built.image)).layers[-1].digest)


async def a_layer_that_is_packed(case: Case) -> None:
    manifest = await manifest_of(case.built.image)
    layer = replace(manifest.layers[-1], media_type=f"{manifest.layers[-1].media_type}+gzip")
    await forged(case.request, case.built.image, replace(manifest, layers=(*manifest.layers[:-1], layer)))


async def other_answers(case: Case) -> None:
    """A bundle that is whole, and whose model answers something else than what is recorded."""
    reference, manifest = Reference.parse(case.built.image), await manifest_of(case.built.image)
    folder = case.site.world.folder / "changed"
    async with Registry(plain_http=True) as client:
        raw = await client.read_blob(reference.repository, manifest.layers[-1])
        with tarfile.open(fileobj=io.BytesIO(raw)) as packed:
            packed.extractall(folder, filter="data")
        recorded = dict(np.load(folder / "model/answers.npz"))
        changed = {name: one + 1 if one.dtype.kind == "f" else one for name, one in recorded.items()}
        np.savez(folder / "model/answers.npz", allow_pickle=False, **changed)
        bundle = json.loads((folder / "model/bundle.json").read_text())
        bundle["digests"]["answers.npz"] = digest_of((folder / "model/answers.npz").read_bytes())
        (folder / "model/bundle.json").write_text(json.dumps(bundle))
        layer = write_layer("model bundle", list((folder / "model").iterdir()), folder / "changed.tar")
        await client.push_blob(reference.repository, FileBlob(layer.file, layer.descriptor))
    await forged(case.request, case.built.image, replace(manifest, layers=(*manifest.layers[:-1], layer.descriptor)))


async def an_index(case: Case) -> None:
    repository = Reference.parse(case.built.image).repository
    async with Registry(plain_http=True) as client:
        tag = repository.tagged(bundle_tag(case.request.build.bundle_key("Edgesmith")))
        await client.push_manifest(tag, canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}), INDEX)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (an_unsigned_image, "is not signed with this builder's key"),
        (another_key, "is not signed with this builder's key"),
        (another_bundle, "is of the bundle"),
        (no_provenance, "has no provenance that this builder's key signed"),
        (another_builder, "it is by https://example.com/another; https://edgesmith.dev/builder/v1 was expected"),
        (other_layers_below, "is not the runtime image with 2 layers on top"),
        (the_base_is_gone, "does not exist for amd64; the runtime image was expected there"),
        (a_finalist_is_gone, "does not hold the finalist sha256:"),
        (a_finalist_of_another_precision, "is not the fp32 of"),
        (an_unsigned_finalist, "is not signed with this builder's key"),
        (a_layer_is_gone, "answered 404 when reading sha256:"),
        (a_layer_of_another_digest, "the same digest was expected"),
        (a_layer_that_is_packed, "has a layer of type"),
        (other_answers, "its bundle fails on the machine that built it"),
        (an_index, "is an image index"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_what_cannot_be_trusted_or_taken_is_compiled_and_the_log_says_why(
    site: Site, compiled: list[str], caplog: pytest.LogCaptureFixture, spoil: Spoil, words: str
) -> None:
    request = site.request()
    built = await site.make(request)
    await spoil(Case(site, request, built))
    compiled.clear()
    caplog.clear()
    again = await site.make(newer(request, site.newer))
    assert compiled == ["int8", "fp32"], "all finalists, or none"
    assert (again.cached, again.report.rebased_from) == (False, None)
    (said,) = [line for line in caplog.messages if line.startswith("it is compiled and not re-based")]
    assert words in said
    async with Registry(plain_http=True) as client:
        reference = Reference.parse(again.image)
        assert await look_for(client, reference.repository, reference.target, KEY.public) == "Signed"


async def test_a_build_whose_tag_was_deleted_is_made_again(
    site: Site, compiled: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Who deletes a tag wants another image, and not the layers of the one before."""
    request = site.request(precisions=("fp32",))
    built = await site.make(request)
    forget(site, request)
    again = await site.make(request)
    assert (again.image, len(compiled)) == (built.image, 2)
    assert "is of the same build, which is to be made anew" in caplog.text


def forget(site: Site, request: BuildRequest) -> None:
    """Take a build's tag away without its manifest, which the bundle's tag still names."""
    name = Reference.parse(request.image).repository.name
    (link,) = site.data.glob(f"**/{name}/_manifests/tags/{request.build.key}/current/link")
    link.unlink()


async def test_a_registry_whose_tags_do_not_move_fails_no_build(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    request = site.request(precisions=("fp32",))
    work = site.world.folder / "work"
    work.mkdir()
    sources = Sources({"s3": Bucket(site.world.store.settings, attempts=2, first_delay=0.01)})
    async with (
        httpx.AsyncHTTPTransport() as whole,
        Registry(plain_http=True, backoff=Backoff(1, 0.0, 0.0), transport=_Immutable(whole)) as client,
    ):
        built = await build(request, sources, Registries(client, client), work, maker=Maker(KEY))
    assert built.image.startswith(request.repository)
    assert "later builds over other base images may be compiled" in caplog.text


class _Immutable(httpx.AsyncBaseTransport):
    """The way to a registry that takes no tag of a bundle."""

    def __init__(self, whole: httpx.AsyncHTTPTransport) -> None:
        self._whole = whole

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT" and "/manifests/bundle-" in request.url.path:
            return httpx.Response(409, request=request)
        return await self._whole.handle_async_request(request)
