"""What a snapshot is made of: which digests the registry's answer is held against."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, cast

from objects_of import model, profile

from edgesmith.api.names import BUILD_KEY_LABEL, MODEL_LABEL, RESOLVE_LABEL
from edgesmith.cluster.client import Client
from edgesmith.cluster.gather import Gatherer
from edgesmith.cluster.images import Images
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL, JOB, POD
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.provenance import Wanted
from edgesmith.cluster.table import ObjectChange
from edgesmith.decide.built_for_sites import wanted
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import BuildJob

DIGEST = "sha256:" + "d" * 64
SETTINGS = Settings({"onnxruntime": f"r:5000/runtime@{DIGEST}"}, f"r:5000/builder@{DIGEST}", "r:5000/models")


class Asked:
    """A registry that remembers what it was asked for."""

    def __init__(self) -> None:
        self.builds: list[Wanted] = []

    async def layers(self, _references: object) -> dict[str, dict[str, int]]:
        return {}

    async def look_up(self, _repository: str, builds: list[Wanted], _fresh: object) -> dict[str, None]:
        self.builds = builds
        return dict.fromkeys(one.build.key for one in builds)


class Api:
    """An API server that lists the same objects whatever is asked for, and counts how often."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = objects
        self.listed = 0

    async def list(self, *_: Any, **__: Any) -> AsyncIterator[dict[str, Any]]:
        self.listed += 1
        for one in self.objects:
            yield one


class World:
    """EdgeModel ns/m with a build Job, and what the gatherer makes of them."""

    def __init__(self, *listed: dict[str, Any], **status: Any) -> None:
        self.objects, self.asked, self.api = Objects(), Asked(), Api(*listed)
        self.objects.put(EDGE_MODEL, model("m"))
        self.objects.put(DEVICE_PROFILE, profile("p"))
        edge_model = self.objects.models.get("ns", "m")
        assert edge_model is not None
        self.model = edge_model
        self.key = wanted(edge_model, self.objects.profiles.all(), SETTINGS)["p", None].key
        owner = {"uid": "uid-m", "controller": True}
        metadata = labelled(self.key) | {"name": "j", "uid": "j", "ownerReferences": [owner]}
        self.objects.put(JOB, {"metadata": metadata, "status": status})
        self.told: list[ObjectChange] = []
        images, client = cast("Images", self.asked), cast("Client", self.api)
        self.gatherer = Gatherer(self.objects, images, SETTINGS, client, self.told.extend)

    async def job(self) -> BuildJob:
        """The Job as a pass sees it."""
        snapshot = await self.gatherer.snapshot("ns", "m")
        assert snapshot is not None
        (found,) = snapshot.jobs
        return found


def labelled(key: str) -> dict[str, Any]:
    labels = {MODEL_LABEL: "m", BUILD_KEY_LABEL: key, "batch.kubernetes.io/job-name": "j"}
    return {"namespace": "ns", "resourceVersion": "1", "labels": labels}


def event(reason: str, message: str, second: int) -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": f"2030-01-01T00:00:0{second}Z"}


async def test_the_registry_is_held_against_what_a_job_reported_even_where_its_pod_was_not_seen_yet() -> None:
    """Jobs and pods are watched apart: the Job's end may be seen before its pod's last words."""
    message = json.dumps({"image": f"r:5000/models/ns/m@{DIGEST}"})
    ended = [{"name": "builder", "state": {"terminated": {"exitCode": 0, "message": message}}}]
    pod = {"metadata": labelled("k") | {"name": "p", "uid": "p"}, "status": {"containerStatuses": ended}}
    world = World(pod, conditions=[{"type": "Complete", "status": "True"}])
    for _ in range(2):
        assert (await world.job()).digest == DIGEST
        assert [(one.build.key, one.trusted) for one in world.asked.builds] == [(world.key, frozenset({DIGEST}))]
    assert world.api.listed == 1
    assert not world.gatherer.starting(world.model)


COMPLETE = [{"type": "Complete", "status": "True"}]


def ended_job(name: str, uid: str, version: int, **labels: str) -> dict[str, Any]:
    """A Job of ns/m that has ended."""
    owner = {"uid": "uid-m", "controller": True}
    metadata = {
        "name": name,
        "namespace": "ns",
        "uid": uid,
        "resourceVersion": str(version),
        "ownerReferences": [owner],
    }
    return {"metadata": metadata | {"labels": {MODEL_LABEL: "m", **labels}}, "status": {"conditions": COMPLETE}}


async def test_pods_of_a_job_that_was_made_again_under_its_name_are_read_again() -> None:
    world = World(conditions=COMPLETE)
    for number in range(2, 9):
        await world.job()
        await world.job()
        assert world.api.listed == number - 1
        world.objects.put(JOB, ended_job("j", f"j{number}", number, **{BUILD_KEY_LABEL: world.key}))
    await world.job()
    assert world.gatherer._read == {"j8"}, "what is kept for ever shows nowhere else"


async def test_pods_of_jobs_of_either_kind_are_read_once() -> None:
    world = World(conditions=COMPLETE)
    for number in range(3):
        world.objects.put(JOB, ended_job(f"look{number}", f"look{number}", 1, **{RESOLVE_LABEL: "files"}))
        world.objects.put(JOB, ended_job(f"j{number}", f"j{number}", 1, **{BUILD_KEY_LABEL: world.key}))
        for _ in range(2):
            assert await world.gatherer.snapshot("ns", "m") is not None
        assert world.api.listed == 1 + 2 * (number + 1)


async def test_a_job_whose_pod_cannot_be_created_says_why() -> None:
    """A quota shows in no status, and no deadline runs for a pod that is not there."""
    world = World(
        event("FailedCreate", "exceeded quota: builds", 2),
        event("FailedCreate", "an older reason", 1),
        event("Other", "something else", 3),
    )
    found = await world.job()
    assert (found.finished, found.failure_message) == (False, "exceeded quota: builds")
    assert world.gatherer.starting(world.model), "events are not watched, so the pass is to be run again"


async def test_a_job_without_a_pod_and_without_an_event_has_just_been_made() -> None:
    assert (await World().job()).failure_message is None


async def test_what_a_look_found_is_read_from_its_pod_even_where_that_was_not_seen_yet() -> None:
    message = json.dumps({"files": [{"field": "source", "sha256": "a" * 64}]})
    ended = [{"name": "builder", "state": {"terminated": {"exitCode": 0, "message": message}}}]
    labels = {MODEL_LABEL: "m", RESOLVE_LABEL: "files", "batch.kubernetes.io/job-name": "look"}
    metadata = {"namespace": "ns", "resourceVersion": "1", "labels": labels}
    newer = metadata | {"name": "p", "uid": "p", "resourceVersion": "2"}
    world = World({"metadata": newer, "status": {"containerStatuses": ended}})
    world.objects.remove(JOB, {"metadata": {"namespace": "ns", "name": "j", "uid": "j"}})
    owner = [{"uid": "uid-m", "controller": True}]
    job = {"metadata": metadata | {"name": "look", "uid": "look", "ownerReferences": owner}}
    world.objects.put(JOB, job)
    assert world.gatherer.starting(world.model), "its pod is not there yet"
    world.objects.put(POD, {"metadata": metadata | {"name": "p", "uid": "p"}, "status": {"phase": "Running"}})
    job["metadata"]["resourceVersion"] = "2"
    world.objects.put(JOB, job | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    for _ in range(2):
        snapshot = await world.gatherer.snapshot("ns", "m")
        assert snapshot is not None
        (look,) = snapshot.resolve_jobs
        assert look.found is not None
        assert [one.sha256 for one in look.found.files] == ["a" * 64]
        assert snapshot.jobs == ()
    assert world.api.listed == 1


async def test_a_source_whose_digest_is_not_known_is_not_asked_for_in_the_registry() -> None:
    world = World()
    world.objects.put(EDGE_MODEL, model("m", version=2, source={"uri": "s3://models/x"}))
    snapshot = await world.gatherer.snapshot("ns", "m")
    assert snapshot is not None
    assert (snapshot.images, world.asked.builds) == ({}, [])


async def test_a_job_of_another_edgemodel_for_the_same_build_is_seen_with_its_pods_and_its_digest_is_known() -> None:
    world = World()
    other = {"uid": "uid-other", "controller": True}
    message = json.dumps({"image": f"r:5000/models/ns/models@{DIGEST}"})
    ended = [{"name": "builder", "state": {"terminated": {"exitCode": 0, "message": message}}}]
    for name, key in (("theirs", world.key), ("unrelated", "k")):
        metadata = labelled(key) | {"name": name, "uid": name, "ownerReferences": [other]}
        metadata["labels"] = metadata["labels"] | {MODEL_LABEL: "other", "batch.kubernetes.io/job-name": name}
        world.objects.put(
            JOB, {"metadata": metadata, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
        )
        world.objects.put(POD, {"metadata": metadata | {"name": f"{name}-pod"}, "status": {"containerStatuses": ended}})
    snapshot = await world.gatherer.snapshot("ns", "m")
    assert snapshot is not None
    assert [(job.name, job.model, job.digest) for job in snapshot.other_jobs] == [("theirs", "other", DIGEST)]
    assert [job.name for job in snapshot.jobs] == ["j"]
    assert world.asked.builds[0].trusted == {DIGEST}


async def test_what_is_read_of_a_pod_before_a_watch_reported_it_is_passed_on() -> None:
    pod = {"metadata": labelled("k") | {"name": "p", "uid": "p"}, "status": {"phase": "Succeeded"}}
    world = World(pod, conditions=COMPLETE)
    for _ in range(2):
        await world.job()
    assert [change.key for change in world.told] == [("ns", "p")]
    assert world.objects.put(POD, pod) is None, "a watch says nothing new of it"
