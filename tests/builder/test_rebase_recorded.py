"""A base image that changes, without a key: layers are those of the image that the request names, or compiled anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from attached import STATEMENT, hanging
from rebase_site import (
    KEY,
    Case,
    Site,
    a_finalist_is_gone,
    a_layer_is_gone,
    a_layer_of_another_digest,
    base_layers_of,
    delete,
    digest,
    digests,
    forget,
    make_address,
    make_compiled,
    make_folder,
    make_site,
    manifest_of,
    newer,
)

from edgesmith_builder.build import Built
from edgesmith_builder.contract import (
    KEY_ANNOTATION,
    REPORT_ANNOTATION,
    Artifact,
    BuildRequest,
    Earlier,
)
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Reference, Registry

folder = pytest.fixture(scope="module")(make_folder)
address = pytest.fixture(scope="module")(make_address)
site = pytest.fixture(make_site)
compiled = pytest.fixture(make_compiled)


Name = Callable[["Case"], Awaitable[BuildRequest]]


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


@pytest.mark.long
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
