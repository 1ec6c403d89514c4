"""The bound on builds at once, over passes that run at the same time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from objects_of import model, profile

from edgesmith.api.names import RESOLVE_LABEL
from edgesmith.cluster.apply import Applier
from edgesmith.cluster.build_slots import BuildSlots
from edgesmith.cluster.done import Done
from edgesmith.cluster.gather import Gatherer
from edgesmith.cluster.images import Images
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL, JOB, POD
from edgesmith.cluster.node_turns import NodeTurns
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.provenance import Wanted
from edgesmith.controller.metrics import Numbers
from edgesmith.controller.passes import Passes
from edgesmith.controller.queue import Key
from edgesmith.decide.plan import Plan
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import Snapshot
from edgesmith.resources import build_job, resolve_job

DIGEST = "sha256:" + "0" * 64
LIMIT = 3
MANAGED = {"edgesmith.dev/build-key": "k", "batch.kubernetes.io/job-name": "j"}


FINISHED = {"conditions": [{"type": "Complete", "status": "True"}]}


def job(name: str, version: int = 1, *, finished: bool = False) -> dict[str, Any]:
    status = FINISHED if finished else {}
    metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "status": status}


@pytest.fixture
def objects() -> Objects:
    return Objects()


def test_unfinished_jobs_of_everybody_are_counted(objects: Objects) -> None:
    slots = BuildSlots(objects, LIMIT)
    for name in ("a", "b"):
        objects.put(JOB, job(name))
    objects.put(JOB, job("c", finished=True))
    assert slots.running() == 2
    objects.put(JOB, job("a", 2, finished=True))
    assert slots.running() == 1


def test_a_job_whose_pod_lacks_its_secret_keeps_nobody_else_from_building(objects: Objects) -> None:
    objects.put(JOB, job("j"))
    waiting = {"name": "builder", "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "no"}}}
    metadata = {"name": "p", "namespace": "ns", "uid": "p", "resourceVersion": "1", "labels": MANAGED}
    slots = BuildSlots(objects, LIMIT)
    assert slots.running() == 1
    objects.put(POD, {"metadata": metadata, "status": {"phase": "Pending", "containerStatuses": [waiting]}})
    assert slots.running() == 0


class PlayedApplier:
    """Makes the Jobs of plans, slowly, and remembers how many there were at most."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.most = 0
        self.fail = False

    async def apply(self, plan: Plan, snapshot: Snapshot, _now: datetime) -> Done:
        for start in plan.builds:
            await asyncio.sleep(0)
            if self.fail:
                raise RuntimeError
            made = build_job(snapshot.model, start, snapshot.settings)
            await self._put(made)
        if plan.look:
            await asyncio.sleep(0)
            await self._put(resolve_job(snapshot.model, plan.look, snapshot.settings))
        return Done()

    async def _put(self, made: dict[str, Any]) -> None:
        made["metadata"] |= {"uid": made["metadata"]["name"], "resourceVersion": "1"}
        await asyncio.sleep(0)
        self.objects.put(JOB, made)
        jobs = (*self.objects.jobs.all(), *self.objects.resolve_jobs.all())
        self.most = max(self.most, sum(not job.finished for job in jobs))
        await asyncio.sleep(0)


class NoImages:
    """A registry that holds nothing."""

    async def layers(self, _references: object) -> dict[str, dict[str, int]]:
        return {}

    async def look_up(self, _repository: str, builds: list[Wanted], _fresh: object) -> dict[str, None]:
        await asyncio.sleep(0)
        return dict.fromkeys(one.build.key for one in builds)


class Played:
    """Passes over EdgeModels that all have to be built, with nothing but memory behind them."""

    def __init__(self, objects: Objects, count: int) -> None:
        self.objects = objects
        self.keys: list[Key] = [("ns", f"m{number:02}") for number in range(count)]
        self.asked: list[Key] = []
        self.applier = PlayedApplier(objects)
        for _, name in self.keys:
            source = {"uri": f"s3://models/{name}", "sha256": "0" * 64}
            objects.put(EDGE_MODEL, model(name, source=source, deviceProfiles={"names": ["p", "q"]}))
        objects.put(DEVICE_PROFILE, profile("p"))
        other = profile("q")
        other["spec"]["platform"] = {"architecture": "arm64"}
        objects.put(DEVICE_PROFILE, other)
        settings = Settings(
            runtime_images={"onnxruntime": f"r:5000/runtime@{DIGEST}"},
            builder_image=f"r:5000/builder@{DIGEST}",
            repository="r:5000/models",
            max_concurrent_builds=LIMIT,
        )
        client: Any = None
        objects.completed(EDGE_MODEL)
        self.passes = Passes(
            Gatherer(objects, cast("Images", NoImages()), settings, client),
            cast("Applier", self.applier),
            Numbers(),
            client=client,
            slots=BuildSlots(objects, LIMIT),
            turns=NodeTurns(),
            ask=self.asked.append,
            rest=lambda _: None,
            clock=lambda: 0.0,
            now=lambda: datetime.now(UTC),
        )

    async def run(self, keys: list[Key]) -> None:
        """Passes over some EdgeModels at the same time."""
        await asyncio.gather(*(self.passes.run(key) for key in keys))

    def finish(self) -> list[Key]:
        """End every Job that runs; the EdgeModels that this concerns."""
        found = []
        for key, one in list(self.objects.jobs.items()):
            entry = self.objects.jobs.entry(key)
            assert entry is not None
            if not one.finished:
                labels = {"edgesmith.dev/model": entry.model}
                metadata = {"name": key[1], "namespace": key[0], "uid": entry.uid, "resourceVersion": "2"}
                self.objects.put(JOB, {"metadata": metadata | {"labels": labels}, "status": FINISHED})
                found.append((key[0], entry.model))
        return found


async def test_passes_at_the_same_time_never_build_more_than_the_bound(objects: Objects) -> None:
    played = Played(objects, 20)
    await played.run(played.keys)
    assert (played.applier.most, len(objects.jobs)) == (LIMIT, LIMIT)
    assert played.asked == []


async def test_those_that_wait_are_asked_for_when_others_end_and_everybody_gets_a_turn(objects: Objects) -> None:
    played = Played(objects, 20)
    await played.run(played.keys)
    for _ in range(60):
        ended = played.finish()
        if not ended:
            break
        played.asked.clear()
        await played.run(ended)
        while played.asked:
            due, played.asked[:] = list(dict.fromkeys(played.asked)), []
            await played.run(due)
    built = {entry.model for key in objects.jobs.keys() if (entry := objects.jobs.entry(key))}  # noqa: SIM118 -- no dict
    assert built == {name for _, name in played.keys}
    assert len(objects.jobs) == 40
    assert played.applier.most == LIMIT


async def test_a_create_that_fails_gives_its_slot_back(objects: Objects) -> None:
    played = Played(objects, 2)
    played.applier.fail = True
    await played.run(played.keys)
    assert len(objects.jobs) == 0
    played.applier.fail = False
    await played.run(played.keys)
    assert len(objects.jobs) == LIMIT


def test_one_that_cannot_use_its_slot_keeps_it_from_nobody(objects: Objects) -> None:
    slots = BuildSlots(objects, 1)
    objects.put(JOB, job("a"))
    first, second = ("ns", "first"), ("ns", "second")
    assert slots.settle(first, builds=True) == slots.settle(second, builds=True) == []
    objects.put(JOB, job("a", 2, finished=True))
    assert slots.settle(("ns", "other"), builds=False) == [first]
    assert slots.settle(("ns", "other"), builds=False) == [second]
    assert slots.settle(second, builds=False) == [first]


def test_a_look_waits_behind_every_build(objects: Objects) -> None:
    slots = BuildSlots(objects, 1)
    objects.put(JOB, job("a"))
    looks, builds = ("ns", "looks"), ("ns", "builds")
    assert slots.settle(looks, builds=False, look=True) == slots.settle(builds, builds=True) == []
    assert (slots.builds_waiting(looks), slots.builds_waiting(builds)) == (1, 0)
    objects.put(JOB, job("a", 2, finished=True))
    assert slots.settle(("ns", "other"), builds=False) == [builds]
    assert slots.settle(builds, builds=False) == [looks]
    assert slots.settle(looks, builds=False) == []


def test_looks_and_builds_share_the_slots(objects: Objects) -> None:
    slots = BuildSlots(objects, LIMIT)
    objects.put(JOB, job("a"))
    look = job("b")
    look["metadata"]["labels"] = {RESOLVE_LABEL: "files"}
    objects.put(JOB, look)
    assert (slots.running(), len(objects.jobs), len(objects.resolve_jobs)) == (2, 1, 1)


async def test_passes_at_the_same_time_never_look_more_often_than_the_bound(objects: Objects) -> None:
    played = Played(objects, 20)
    for _, name in played.keys:
        source = {"uri": f"s3://models/{name}"}
        objects.put(EDGE_MODEL, model(name, version=2, source=source, deviceProfiles={"names": ["p"]}))
    await played.run(played.keys)
    assert (played.applier.most, len(objects.resolve_jobs), len(objects.jobs)) == (LIMIT, LIMIT, 0)
