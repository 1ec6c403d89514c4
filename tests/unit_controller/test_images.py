"""The registry as the database of builds: what is believed, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from wanted_images import (
    BASE,
    BASE_LAYERS,
    KEY,
    ONE,
    PLACE,
    REPORT,
    TWO,
    WANTED,
    FakeRegistry,
    layers,
    manifest,
    wanted,
)

from edgesmith.cluster.breaker import FIRST_PAUSE
from edgesmith.cluster.images import ABSENT_SECONDS, PROBLEM_SECONDS, UNSHOWN_SECONDS, Images
from edgesmith.cluster.provenance import Wanted
from edgesmith.decide.snapshot import ForeignImage, Image, RegistryProblem, StrangeImage
from edgesmith_builder.contract import (
    Finalist,
)
from edgesmith_builder.oci import (
    Index,
    Manifest,
    Reference,
    Registry,
    RegistryError,
    RegistryForbidden,
    RegistryUnreachable,
)


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def images(registry: FakeRegistry, clock: list[float]) -> Images:
    return Images(cast("Registry", registry), lambda: clock[0])


async def test_an_image_that_is_there_is_asked_for_once(images: Images, registry: FakeRegistry) -> None:
    registry.answer = manifest()
    for _ in range(3):
        found = (await images.look_up(PLACE, [WANTED]))[KEY]
        assert isinstance(found, Image)
        assert found.reference == f"{PLACE}@sha256:{'1' * 64}"
    assert registry.asked == 1


async def test_the_layers_of_an_image_that_was_read_are_not_asked_for(images: Images, registry: FakeRegistry) -> None:
    registry.answer, registry.finalists = manifest(), {ONE: manifest()}
    await images.look_up(PLACE, [WANTED])
    assert "sha256:model" in (await images.layers({f"{PLACE}@{ONE}"}))[f"{PLACE}@{ONE}"]
    assert registry.finalists_asked == 0


async def test_the_layers_of_an_image_are_asked_for_once_and_one_that_is_not_shown_for_a_moment_not_again(
    images: Images, registry: FakeRegistry, clock: list[float]
) -> None:
    here, gone = f"{PLACE}@{ONE}", f"{PLACE}@{TWO}"
    registry.finalists = {ONE: manifest(), TWO: None}
    for _ in range(3):
        assert await images.layers({here, gone}) == {
            here: {"sha256:lower": 3, "sha256:upper": 3, "sha256:inputs": 3, "sha256:model": 3}
        }
    assert registry.finalists_asked == 2
    clock[0] += UNSHOWN_SECONDS
    registry.finalists[TWO] = manifest(digest=TWO)
    assert set(await images.layers({here, gone})) == {here, gone}
    assert registry.finalists_asked == 3


@pytest.mark.parametrize("error", [RegistryUnreachable("no"), RegistryForbidden("no"), TimeoutError()])
async def test_layers_that_cannot_be_asked_for_fail_no_pass(
    images: Images, monkeypatch: pytest.MonkeyPatch, registry: FakeRegistry, error: Exception
) -> None:
    async def refuse(_: Reference) -> None:
        raise error

    monkeypatch.setattr(registry, "manifest", refuse)
    assert await images.layers({f"{PLACE}@{ONE}", "no image"}) == {}


async def test_an_image_that_may_not_be_rolled_out_is_read_once_and_looked_for_as_long_as_it_is_there(
    images: Images, registry: FakeRegistry, clock: list[float]
) -> None:
    ours = replace(WANTED, trusted=frozenset({ONE}))

    async def later() -> object:
        clock[0] += PROBLEM_SECONDS
        return (await images.look_up(PLACE, [ours]))[KEY]

    registry.answer = manifest(digest=TWO)
    for _ in range(3):
        assert await later() == ForeignImage(f"{PLACE}@{TWO}", (ONE,))
    assert (registry.asked, registry.looked) == (1, 2)
    registry.answer = RegistryUnreachable("nobody is there")
    assert isinstance(await later(), RegistryProblem)
    registry.answer = manifest(digest=TWO)
    clock[0] += FIRST_PAUSE
    assert isinstance(await later(), ForeignImage)
    assert (registry.asked, registry.looked) == (1, 4), "what was read is still known"
    registry.answer = None
    assert await later() is None
    assert (registry.asked, registry.looked) == (2, 5)
    registry.answer = manifest()
    assert isinstance(await later(), Image)
    assert (registry.asked, registry.looked) == (3, 5)
    assert isinstance(await later(), Image)
    assert (registry.asked, registry.looked) == (3, 5), "an image that is there stays what it is"
    registry.answer, ours = manifest(digest=TWO), replace(WANTED, trusted=frozenset({TWO}))
    assert isinstance(await later(), Image)
    assert (registry.asked, registry.looked) == (4, 5), "what may be rolled out is not kept a second time"


async def test_an_image_is_missing_only_where_the_registry_says_so_and_only_for_a_moment(
    images: Images, registry: FakeRegistry, clock: list[float]
) -> None:
    there, lost, silent = (f"{PLACE}@sha256:{digit * 64}" for digit in "123")
    registry.finalists = {f"sha256:{'1' * 64}": manifest(), f"sha256:{'2' * 64}": None}
    assert await images.missing([there, lost]) == {lost}
    assert await images.missing([lost]) == {lost}
    assert registry.finalists_asked == 2
    clock[0] += 10
    registry.finalists[f"sha256:{'2' * 64}"] = manifest()
    assert await images.missing([lost]) == frozenset()

    class Silent:
        async def manifest(self, _reference: Reference) -> Manifest | None:
            raise RegistryUnreachable("no answer")

    assert await Images(cast("Registry", Silent()), lambda: 0.0).missing([silent, "garbage"]) == frozenset()


THREE = f"sha256:{'3' * 64}"
WITH_FINALISTS = REPORT.model_copy(
    update={
        "finalists": (
            Finalist(precision="int8", size=3),
            Finalist(precision="fp16", size=3, digest=TWO),
            Finalist(precision="fp32", size=3, digest=THREE),
        )
    }
).to_json()
ONLY: dict[str, Manifest | None] = {
    "of another base": manifest(over=("sha256:x",)),
    "of another key": manifest("other"),
}


@pytest.mark.parametrize("found", [None, *ONLY.values()], ids=["not there", *ONLY])
async def test_of_an_image_that_nobody_vouches_for_each_finalist_is_looked_at(
    images: Images, registry: FakeRegistry, found: Manifest | None
) -> None:
    registry.answer = manifest(report=WITH_FINALISTS)
    registry.finalists = {TWO: found, THREE: manifest(digest=THREE)}
    answer = (await images.look_up(PLACE, [WANTED]))[KEY]
    assert isinstance(answer, Image)
    assert [one.precision for one in answer.report.finalists] == ["int8", "fp32"]


async def test_what_a_report_of_ours_names_is_ours(images: Images, registry: FakeRegistry) -> None:
    registry.answer = manifest(report=WITH_FINALISTS)
    registry.finalists = {TWO: None, THREE: None}
    answer = (await images.look_up(PLACE, [replace(WANTED, trusted=frozenset({ONE}))]))[KEY]
    assert isinstance(answer, Image)
    assert len(answer.report.finalists) == 3
    assert registry.finalists_asked == 0


async def test_absence_is_believed_for_a_moment_and_not_at_all_after_a_job(
    images: Images, registry: FakeRegistry, clock: list[float]
) -> None:
    assert (await images.look_up(PLACE, [WANTED]))[KEY] is None
    registry.answer = manifest()
    assert (await images.look_up(PLACE, [WANTED]))[KEY] is None
    assert isinstance((await images.look_up(PLACE, [WANTED], [KEY]))[KEY], Image)
    assert registry.asked == 2
    clock[0] += ABSENT_SECONDS
    assert isinstance((await images.look_up(PLACE, [WANTED]))[KEY], Image)


@pytest.mark.parametrize(
    ("error", "forbidden"), [(RegistryForbidden("no login"), True), (RegistryUnreachable("nobody is there"), False)]
)
async def test_a_problem_is_an_answer(
    images: Images, registry: FakeRegistry, error: RegistryError, *, forbidden: bool
) -> None:
    registry.answer = error
    found = (await images.look_up(PLACE, [WANTED]))[KEY]
    assert found == RegistryProblem(str(error), forbidden=forbidden)


FORGED: dict[str, Manifest] = {
    "another key": manifest(key="another"),
    "a broken report": manifest(report="{"),
    "no report": manifest(report=""),
    "no layer of the runtime": manifest(over=()),
    "another layer below": manifest(over=("sha256:lower", "sha256:other")),
    "a layer more": manifest(over=(*BASE_LAYERS, "sha256:more")),
    "the runtime of another platform": manifest(over=("sha256:of-amd64",)),
    "nothing on top of the runtime": replace(manifest(), layers=layers(*BASE_LAYERS)),
    "one layer on top of the runtime, as older builders made it": replace(
        manifest(), layers=layers(*BASE_LAYERS, "sha256:model")
    ),
    "no layers": replace(manifest(), layers=()),
}


@pytest.mark.parametrize("wrong", FORGED.values(), ids=FORGED)
async def test_an_image_that_cannot_be_ours_is_no_build(
    images: Images, registry: FakeRegistry, wrong: Manifest
) -> None:
    """Anybody who may push can compute the key, and copy its annotations from another build."""
    registry.answer = wrong
    found = (await images.look_up(PLACE, [WANTED]))[KEY]
    assert isinstance(found, StrangeImage)
    assert found.reference == f"{PLACE}@{ONE}"


async def test_a_problem_reads_the_same_while_the_registry_is_not_asked(
    images: Images, registry: FakeRegistry, clock: list[float]
) -> None:
    registry.answer = RegistryUnreachable("connection refused")
    said = set()
    for _ in range(60):
        said.add((await images.look_up(PLACE, [WANTED]))[KEY])
        clock[0] += 1.0
    assert said == {RegistryProblem("connection refused", forbidden=False)}
    assert registry.asked < 10


async def test_the_runtime_image_is_asked_for_once(images: Images, registry: FakeRegistry) -> None:
    for name in ("a", "b"):
        registry.answer = manifest()
        assert isinstance((await images.look_up(f"{PLACE}-{name}", [WANTED]))[KEY], Image)
    assert registry.base_asked == 1


async def test_an_image_with_a_digest_of_ours_needs_no_look_at_the_runtime(
    images: Images, registry: FakeRegistry
) -> None:
    registry.answer, registry.base = manifest(), RegistryUnreachable("nobody is there")
    trusting = Wanted(WANTED.build, frozenset({ONE, TWO}))
    assert isinstance((await images.look_up(PLACE, [trusting]))[KEY], Image)
    assert registry.base_asked == 0


async def test_a_runtime_image_that_cannot_be_read_is_a_problem(images: Images, registry: FakeRegistry) -> None:
    registry.answer, registry.base = manifest(), RegistryUnreachable("nobody is there")
    assert (await images.look_up(PLACE, [WANTED]))[KEY] == RegistryProblem("nobody is there", forbidden=False)


ELSEWHERE = wanted(f"elsewhere.example/edgesmith/runtime@{BASE}")


async def test_an_image_is_judged_by_the_copy_of_its_runtime_image_that_its_own_registry_has(
    images: Images, registry: FakeRegistry
) -> None:
    registry.answer = manifest()
    assert ELSEWHERE.build.key == KEY, "where the runtime image lies is not part of the key"
    assert isinstance((await images.look_up(PLACE, [ELSEWHERE]))[KEY], Image)
    assert registry.base_places == ["registry.example:5000/edgesmith/runtime"]


@pytest.mark.parametrize(
    ("base", "of"), [(None, WANTED), (None, ELSEWHERE), (RegistryForbidden("no such repository"), ELSEWHERE)]
)
async def test_without_its_runtime_image_nobody_can_tell_what_an_image_is(
    images: Images, registry: FakeRegistry, base: RegistryError | None, of: Wanted
) -> None:
    registry.answer, registry.base = manifest(), base
    found = (await images.look_up(PLACE, [of]))[KEY]
    assert isinstance(found, StrangeImage)
    place = WANTED.build.base.partition("@")[0]
    assert found.why.endswith(f"its runtime image {of.build.base} is not in this registry at {place}")


SITE = "registry.example:5000/mirror/of-hub/models/ns/m"
MIRRORED = f"registry.example:5000/mirror/of-hub/edgesmith/runtime@{BASE}"


@pytest.mark.parametrize("prefix", ["mirror/edgesmith", "mirror/of-hub/edgesmith"])
async def test_a_runtime_image_below_a_prefix_of_the_builds_is_found_and_not_looked_for_again(
    images: Images, registry: FakeRegistry, prefix: str
) -> None:
    registry.answer, registry.base_prefix = manifest(), f"registry.example:5000/{prefix}/"
    assert isinstance((await images.look_up(SITE, [ELSEWHERE]))[KEY], Image)
    asked = registry.base_asked
    assert isinstance((await images.look_up(f"{SITE}-2", [ELSEWHERE]))[KEY], Image)
    assert registry.base_asked == asked == len(registry.base_places)
    assert registry.base_places[0] == "registry.example:5000/edgesmith/runtime", "under its own name first"


async def test_every_place_where_a_runtime_image_was_looked_for_is_named(
    images: Images, registry: FakeRegistry
) -> None:
    registry.answer, registry.base = manifest(), None
    found = (await images.look_up(SITE, [ELSEWHERE]))[KEY]
    assert isinstance(found, StrangeImage)
    places = [f"registry.example:5000/{prefix}edgesmith/runtime" for prefix in ("", "mirror/", "mirror/of-hub/")]
    assert registry.base_places == places
    assert found.why.endswith(f"is not in this registry at {' or '.join(places)}")


@pytest.mark.parametrize("named", [WANTED, wanted(MIRRORED)])
async def test_a_runtime_image_that_may_not_be_read_where_it_is_named_is_looked_for_elsewhere(
    images: Images, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, named: Wanted
) -> None:
    index, read = registry.base, registry.document

    async def forbidding(reference: Reference) -> Index | None:
        registry.base = index if str(reference) == MIRRORED else RegistryForbidden("no such project")
        return await read(reference)

    monkeypatch.setattr(registry, "document", forbidding)
    registry.answer = manifest()
    assert isinstance((await images.look_up(SITE, [named]))[KEY], Image)


async def test_a_runtime_image_that_may_not_be_read_is_a_problem(images: Images, registry: FakeRegistry) -> None:
    registry.answer, registry.base = manifest(), RegistryForbidden("no login")
    assert (await images.look_up(PLACE, [WANTED]))[KEY] == RegistryProblem("no login", forbidden=True)


async def test_an_image_that_is_not_the_one_of_our_job_is_named_and_asked_for_again(
    images: Images, registry: FakeRegistry, clock: list[float]
) -> None:
    trusting = Wanted(WANTED.build, frozenset({TWO}))
    registry.answer = manifest()
    assert (await images.look_up(PLACE, [trusting]))[KEY] == ForeignImage(f"{PLACE}@{ONE}", (TWO,))
    registry.answer = manifest(digest=TWO)
    clock[0] += PROBLEM_SECONDS
    found = (await images.look_up(PLACE, [trusting]))[KEY]
    assert isinstance(found, Image)
    assert found.reference == f"{PLACE}@{TWO}"


async def test_what_was_believed_before_gives_way_to_what_a_job_of_ours_pushed(
    images: Images, registry: FakeRegistry
) -> None:
    registry.answer = manifest()
    assert isinstance((await images.look_up(PLACE, [WANTED]))[KEY], Image)
    registry.answer = manifest(digest=TWO)
    found = (await images.look_up(PLACE, [Wanted(WANTED.build, frozenset({TWO}))]))[KEY]
    assert isinstance(found, Image)
    assert found.reference == f"{PLACE}@{TWO}"
