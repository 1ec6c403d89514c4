"""The registry as the database of builds: what is believed, and for how long."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import cast

import pytest
import virtual_time
from virtual_time import now

from edgesmith.cluster.breaker import FIRST_PAUSE, LONGEST_PAUSE
from edgesmith.cluster.images import ABSENT_SECONDS, LOOKUP_SECONDS, Images
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


class Silent:
    """A registry that swallows packets until `answers` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = False

    async def manifest(self, _reference: Reference) -> Manifest | None:
        self.asked += 1
        if not self.answers:
            await asyncio.sleep(10_000)
        return None


def test_a_registry_that_swallows_packets_costs_one_pass_seconds_and_the_others_nothing() -> None:
    async def passes() -> None:
        registry = Silent()
        images = Images(cast("Registry", registry), now)
        started = now()
        found = await images.look_up(PLACE, [f"key-{number}" for number in range(8)])
        assert now() - started == LOOKUP_SECONDS
        assert all(isinstance(answer, RegistryProblem) for answer in found.values())
        asked, started = registry.asked, now()
        for number in range(500):
            (answer,) = (await images.look_up(f"registry.example:5000/models/ns/m{number}", ["k"], ["k"])).values()
            assert isinstance(answer, RegistryProblem)
        assert (registry.asked, now()) == (asked, started)

    virtual_time.run(passes())


def test_a_registry_that_fails_is_asked_less_and_less_often_and_by_one_pass_at_a_time() -> None:
    async def hour() -> None:
        registry = Silent()
        images = Images(cast("Registry", registry), now)
        started, asked_at, waited = now(), [], 0.0
        while now() - started < 3600:
            before, asked = now(), registry.asked
            await asyncio.gather(*(images.look_up(f"r.example/m{number}", ["k"]) for number in range(8)))
            waited += now() - before
            if registry.asked > asked:
                asked_at.append(before)
            await asyncio.sleep(1)
        pauses = [later - earlier for earlier, later in pairwise(asked_at)]
        assert pauses[0] < FIRST_PAUSE + LOOKUP_SECONDS + 2
        assert LONGEST_PAUSE < pauses[-1] < LONGEST_PAUSE + LOOKUP_SECONDS + 2
        # Eight asked before anything was known, and one each time after that.
        assert registry.asked == 8 + len(asked_at) - 1
        assert waited < 300
        registry.answers = True
        await asyncio.sleep(LONGEST_PAUSE)
        assert (await images.look_up("r.example/m1", ["k"]))["k"] is None
        assert (await images.look_up("r.example/m2", ["k"]))["k"] is None

    virtual_time.run(hour())


def test_a_pass_that_is_given_up_leaves_the_registry_to_the_next() -> None:
    async def cancelled() -> None:
        registry = Silent()
        images = Images(cast("Registry", registry), now)
        await images.look_up(PLACE, ["k"])
        await asyncio.sleep(FIRST_PAUSE)
        task = asyncio.create_task(images.look_up(PLACE, ["k"]))
        await asyncio.sleep(1)
        task.cancel()
        registry.answers = True
        await asyncio.sleep(LONGEST_PAUSE)
        assert (await images.look_up(PLACE, ["k"]))["k"] is None

    virtual_time.run(cancelled())


def test_one_registry_that_fails_does_not_stop_the_questions_to_another() -> None:
    class Half(Silent):
        async def manifest(self, reference: Reference) -> Manifest | None:
            self.answers = str(reference).startswith("good.example")
            return await super().manifest(reference)

    async def both() -> None:
        images = Images(cast("Registry", Half()), now)
        assert isinstance((await images.look_up("bad.example/m", ["k"]))["k"], RegistryProblem)
        assert (await images.look_up("good.example/m", ["k"]))["k"] is None

    virtual_time.run(both())


async def test_a_problem_reads_the_same_while_the_registry_is_not_asked(
    images: Images, registry: FakeRegistry, clock: list[float]
) -> None:
    registry.answer = RegistryUnreachable("connection refused")
    said = set()
    for _ in range(60):
        said.add((await images.look_up(PLACE, ["k"]))["k"])
        clock[0] += 1.0
    assert said == {RegistryProblem("connection refused", forbidden=False)}
    assert registry.asked < 10
