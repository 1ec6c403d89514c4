"""A base image that changes, with a key: only layers that it signed are taken, and else it is compiled and why."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import numpy as np
import pytest
from attached import STATEMENT, hanging
from rebase_site import (
    KEY,
    OTHER_KEY,
    Case,
    Site,
    a_finalist_is_gone,
    a_layer_is_gone,
    a_layer_of_another_digest,
    delete,
    digest,
    forget,
    make_address,
    make_compiled,
    make_folder,
    make_site,
    manifest_of,
    newer,
)

from edgesmith_builder.build import build
from edgesmith_builder.contract import (
    REPORT_ANNOTATION,
    BuildRequest,
)
from edgesmith_builder.evidence import SLSA
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Backoff, Descriptor, FileBlob, Manifest, Reference, Registry
from edgesmith_builder.oci.content import INDEX, MANIFEST, canonical, digest_of
from edgesmith_builder.pack import write_layer
from edgesmith_builder.push import Registries
from edgesmith_builder.rebase import bundle_tag
from edgesmith_builder.signatures import SIGNED, Statement, look_for
from edgesmith_builder.signatures.private import PrivateKey
from edgesmith_builder.source import Bucket, Sources

folder = pytest.fixture(scope="module")(make_folder)
address = pytest.fixture(scope="module")(make_address)
site = pytest.fixture(make_site)
compiled = pytest.fixture(make_compiled)


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


@pytest.mark.long
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
