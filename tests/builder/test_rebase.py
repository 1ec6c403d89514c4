"""A base image that changes: builds are put over the new one from the layers of the one before."""

from __future__ import annotations

from typing import Any

import pytest
from attached import BILL, STATEMENT, Object, hanging
from rebase_site import (
    KEY,
    Site,
    base_layers_of,
    digest,
    digests,
    make_address,
    make_compiled,
    make_folder,
    make_site,
    manifest_of,
    newer,
)

from edgesmith_builder.contract import (
    Classification,
    Picture,
    Toolchain,
)
from edgesmith_builder.oci import Reference, Registry
from edgesmith_builder.provenance import report_of
from edgesmith_builder.signatures import look_for

folder = pytest.fixture(scope="module")(make_folder)
address = pytest.fixture(scope="module")(make_address)
site = pytest.fixture(make_site)
compiled = pytest.fixture(make_compiled)


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


async def test_another_server_has_other_layers_so_it_is_another_bundle(
    site: Site, compiled: list[str], push_base: Any
) -> None:
    request = site.request(precisions=("fp32",))
    await site.make(request)
    triton = await push_base(site.world.registry, layer_text="triton on", labels={"dev.edgesmith.server": "Triton"})
    built = await site.make(newer(request, triton))
    assert (built.report.rebased_from, len(compiled)) == (None, 2)


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
