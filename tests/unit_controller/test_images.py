"""The registry as the database of builds: what is believed, and for how long."""

from __future__ import annotations

from typing import cast

import pytest

from edgesmith.cluster.images import ABSENT_SECONDS, Images
from edgesmith.decide.snapshot import Image, RegistryProblem
from edgesmith_builder.contract import KEY_ANNOTATION, REPORT_ANNOTATION, BuildReport
from edgesmith_builder.oci import (
    Descriptor,
    Manifest,
    Reference,
    Registry,
    RegistryError,
    RegistryForbidden,
    RegistryUnreachable,
)

REPORT = BuildReport(precision="int8", size=3, candidates=())
PLACE = "registry.example:5000/models/ns/m"


def manifest(key: str = "k", report: str | None = None) -> Manifest:
    annotations = {KEY_ANNOTATION: key, REPORT_ANNOTATION: REPORT.to_json() if report is None else report}
    return Manifest(Descriptor("c", "sha256:0", 2), (), annotations, digest="sha256:" + "1" * 64)


class FakeRegistry:
    def __init__(self) -> None:
        self.answer: Manifest | RegistryError | None = None
        self.asked = 0

    async def manifest(self, reference: Reference) -> Manifest | None:
        self.asked += 1
        assert reference.tag == "k"
        if isinstance(self.answer, RegistryError):
            raise self.answer
        return self.answer


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
        found = (await images.look_up(PLACE, ["k"]))["k"]
        assert isinstance(found, Image)
        assert found.reference == f"{PLACE}@sha256:{'1' * 64}"
    assert registry.asked == 1


async def test_absence_is_believed_for_a_moment_and_not_at_all_after_a_job(
    images: Images, registry: FakeRegistry, clock: list[float]
) -> None:
    assert (await images.look_up(PLACE, ["k"]))["k"] is None
    registry.answer = manifest()
    assert (await images.look_up(PLACE, ["k"]))["k"] is None
    assert isinstance((await images.look_up(PLACE, ["k"], ["k"]))["k"], Image)
    assert registry.asked == 2
    clock[0] += ABSENT_SECONDS
    assert isinstance((await images.look_up(PLACE, ["k"]))["k"], Image)


@pytest.mark.parametrize(
    ("error", "forbidden"), [(RegistryForbidden("no login"), True), (RegistryUnreachable("nobody is there"), False)]
)
async def test_a_problem_is_an_answer(
    images: Images, registry: FakeRegistry, error: RegistryError, *, forbidden: bool
) -> None:
    registry.answer = error
    found = (await images.look_up(PLACE, ["k"]))["k"]
    assert found == RegistryProblem(str(error), forbidden=forbidden)


@pytest.mark.parametrize("wrong", [manifest(key="another"), manifest(report="{"), manifest(report="")])
async def test_an_image_that_is_not_ours_is_no_build(images: Images, registry: FakeRegistry, wrong: Manifest) -> None:
    registry.answer = wrong
    assert (await images.look_up(PLACE, ["k"]))["k"] is None
