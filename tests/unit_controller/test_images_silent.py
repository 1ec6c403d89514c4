"""A registry that does not answer: who asks it, how often, and what passes wait."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import cast

import pytest
import virtual_time
from virtual_time import now
from wanted_images import (
    KEY,
    ONE,
    PLACE,
    TWO,
    WANTED,
    wanted,
)

from edgesmith.cluster.breaker import FIRST_PAUSE, LONGEST_PAUSE
from edgesmith.cluster.images import LOOKUP_SECONDS, Images
from edgesmith.decide.snapshot import RegistryProblem
from edgesmith_builder.oci import (
    Manifest,
    Reference,
    Registry,
)


class Silent:
    """A registry that drops packets until `answers` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = False

    async def manifest(self, _reference: Reference) -> Manifest | None:
        self.asked += 1
        if not self.answers:
            await asyncio.sleep(10_000)
        return None


def test_a_registry_that_drops_packets_costs_one_pass_seconds_and_the_others_nothing() -> None:
    async def passes() -> None:
        registry = Silent()
        images = Images(cast("Registry", registry), now)
        started = now()
        found = await images.look_up(PLACE, [wanted(model=f"m{number}") for number in range(8)])
        assert now() - started == LOOKUP_SECONDS
        assert all(isinstance(answer, RegistryProblem) for answer in found.values())
        asked, started = registry.asked, now()
        for number in range(500):
            (answer,) = (await images.look_up(f"registry.example:5000/models/ns/m{number}", [WANTED], [KEY])).values()
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
            await asyncio.gather(*(images.look_up(f"r.example/m{number}", [WANTED]) for number in range(8)))
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
        assert (await images.look_up("r.example/m1", [WANTED]))[KEY] is None
        assert (await images.look_up("r.example/m2", [WANTED]))[KEY] is None

    virtual_time.run(hour())


def test_a_pass_that_is_given_up_leaves_the_registry_to_the_next() -> None:
    async def cancelled() -> None:
        registry = Silent()
        images = Images(cast("Registry", registry), now)
        await images.look_up(PLACE, [WANTED])
        await asyncio.sleep(FIRST_PAUSE)
        task = asyncio.create_task(images.look_up(PLACE, [WANTED]))
        await asyncio.sleep(1)
        task.cancel()
        registry.answers = True
        await asyncio.sleep(LONGEST_PAUSE)
        assert (await images.look_up(PLACE, [WANTED]))[KEY] is None

    virtual_time.run(cancelled())


@pytest.mark.parametrize("given_up", [False, True])
def test_layers_that_are_asked_for_first_after_a_failure_leave_the_registry_to_the_next(*, given_up: bool) -> None:
    async def asked_first() -> None:
        registry = Silent()
        images = Images(cast("Registry", registry), now)
        await images.look_up(PLACE, [WANTED])
        await asyncio.sleep(FIRST_PAUSE)
        registry.answers = not given_up
        task = asyncio.create_task(images.layers({f"{PLACE}@{ONE}"}))
        await asyncio.sleep(1)
        task.cancel()
        registry.answers = True
        await asyncio.sleep(LONGEST_PAUSE if given_up else 0)
        assert (await images.look_up(PLACE, [WANTED]))[KEY] is None

    virtual_time.run(asked_first())


def test_layers_that_are_not_shown_for_want_of_an_answer_cost_one_pass_seconds_and_the_others_nothing() -> None:
    async def passes() -> None:
        registry = Silent()
        images = Images(cast("Registry", registry), now)
        started = now()
        shown = {"good.example/m@sha256:1", f"{PLACE}@{ONE}", f"{PLACE}@{TWO}"}
        assert await images.layers(shown) == {}
        assert now() - started == LOOKUP_SECONDS
        asked = registry.asked
        assert isinstance((await images.look_up(PLACE, [WANTED]))[KEY], RegistryProblem)
        assert (registry.asked, now()) == (asked, started + LOOKUP_SECONDS)

    virtual_time.run(passes())


def test_one_registry_that_fails_does_not_stop_the_questions_to_another() -> None:
    class Half(Silent):
        async def manifest(self, reference: Reference) -> Manifest | None:
            self.answers = str(reference).startswith("good.example")
            return await super().manifest(reference)

    async def both() -> None:
        images = Images(cast("Registry", Half()), now)
        assert isinstance((await images.look_up("bad.example/m", [WANTED]))[KEY], RegistryProblem)
        assert (await images.look_up("good.example/m", [WANTED]))[KEY] is None

    virtual_time.run(both())
