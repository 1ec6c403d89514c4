"""Large images: what they take on a node's disk, and the base beside them that nodes look for room with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgesmith_builder import images
from edgesmith_builder.contract import REPORT_ANNOTATION, BuildReport, base_tag
from edgesmith_builder.images import footprints_of
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Descriptor, Manifest, Reference, Registry
from edgesmith_builder.oci.content import LAYER
from edgesmith_builder.pack import Layer
from edgesmith_builder.provenance import base_manifest, why_foreign
from edgesmith_builder.signatures import look_for
from edgesmith_builder.signatures.private import PrivateKey

MIB = 1 << 20


def layer(size: int) -> Layer:
    return Layer("a layer", Path(), Descriptor(LAYER, f"sha256:{'1' * 64}", size))


def report_of(manifest: Manifest) -> BuildReport:
    return BuildReport.model_validate_json(manifest.annotations[REPORT_ANNOTATION])


def test_what_is_over_the_base_is_on_the_disk_as_it_came_and_unpacked() -> None:
    assert footprints_of([[layer(28 * MIB), layer(100 * MIB)]]) == [None], "256 MiB are not large"
    assert footprints_of([[layer(28 * MIB), layer(100 * MIB + 1)]]) == [256 * MIB + 2]


def test_finalists_are_large_together_since_a_trial_pulls_them_all() -> None:
    first, second = [layer(MIB), layer(63 * MIB)], [layer(MIB), layer(63 * MIB + 1)]
    assert footprints_of([first, second]) == [128 * MIB, 128 * MIB + 2]
    assert footprints_of([first, first]) == [None, None]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image is."""
    monkeypatch.setattr(images, "LARGE", 0)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_the_base_of_a_large_image_is_in_its_repository(
    world: Any,
    second_registry: str,
    elsewhere: bool,  # noqa: FBT001 - a parameter
) -> None:
    request = world.request(**({"repository": f"{second_registry}/team/large"} if elsewhere else {}))
    maker = Maker(key=PrivateKey(ec.generate_private_key(ec.SECP256R1())))
    built = await world.build(request, maker=maker)
    manifest = await world.manifest(built)
    report, repository = report_of(manifest), Reference.parse(built.image).repository
    assert report.footprint == 2 * sum(one.size for one in manifest.layers[-2:])
    assert report.base
    there = Reference.parse(request.build.base)
    async with Registry(plain_http=True) as client:
        found = await client.raw(repository.tagged(base_tag(report.base)))
        base = await client.manifest(repository.pinned(report.base))
        assert found == await client.raw(there.repository.pinned(report.base)), "the same bytes"
        assert base
        assert [one.digest for one in base.layers] == [one.digest for one in manifest.layers[:-2]]
        assert await client.read_blob(repository, base.config)
        assert maker.key
        assert await look_for(client, repository, report.base, maker.key.public) == "Signed"
        (other,) = report.finalists[1:]
        assert other.digest
        second = await client.manifest(repository.pinned(other.digest))
    assert second
    assert other.footprint == report_of(second).footprint == 2 * sum(one.size for one in second.layers[-2:])
    assert report_of(second).base == report.base


async def test_a_small_image_has_none(world: Any) -> None:
    built = await world.build(world.request())
    report = report_of(await world.manifest(built))
    assert (report.footprint, report.base) == (None, None)
    assert all(one.footprint is None for one in report.finalists)


@pytest.mark.usefixtures("large")
async def test_an_image_that_names_another_base_is_foreign(world: Any) -> None:
    request = world.request(precisions=("fp32",))
    manifest = await world.manifest(await world.build(request))
    async with Registry(plain_http=True) as client:
        base = await base_manifest(client, request.build.base, request.build.platform)
    assert why_foreign(manifest, request.build.key, base) is None
    lies = report_of(manifest).model_copy(update={"base": f"sha256:{'0' * 64}"}).to_json()
    annotations = {**manifest.annotations, REPORT_ANNOTATION: lies}
    forged = Manifest(manifest.config, manifest.layers, annotations, manifest.digest)
    assert "names the base image" in str(why_foreign(forged, request.build.key, base))
