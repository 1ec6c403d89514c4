"""EdgeModels and DeviceProfiles that cannot be read: they exist, nothing of theirs is touched, and they say why."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from objects_of import Object, model, node, profile, unreadable_model

from edgesmith.api.names import node_label
from edgesmith.cluster.apply import Applier
from edgesmith.cluster.build_slots import BuildSlots
from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import Invalid, Missing
from edgesmith.cluster.gather import Gatherer
from edgesmith.cluster.images import Images
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL, NODE, Kind
from edgesmith.cluster.node_turns import NodeTurns
from edgesmith.cluster.objects import Objects
from edgesmith.controller.metrics import Numbers
from edgesmith.controller.passes import Passes
from edgesmith.controller.queue import Outcome
from edgesmith.decide.settings import Settings

SETTINGS = Settings(runtime_images={"onnxruntime": "r/i@sha256:0"}, builder_image="r/b@sha256:0", repository="r/models")
KEY = ("ns", "m")
LABEL = node_label(*KEY)
NOW = datetime(2030, 1, 1, tzinfo=UTC)
SAYS = (
    "This version of Edgesmith cannot read the EdgeModel: spec.serving.port is "
    '"http"; expected: a valid integer, unable to parse string as an integer.'
)


class Api:
    """Keeps the statuses that are written; refuses a status with a field of `refuse`."""

    def __init__(self) -> None:
        self.written: list[Object] = []
        self.refuse: set[str] = set()
        self.error: Exception = Invalid("status is invalid")

    async def apply_status(self, kind: Kind, namespace: str, name: str, status: Object) -> Object:
        assert (kind, namespace, name) == (EDGE_MODEL, *KEY)
        if self.refuse & set(status):
            raise self.error
        self.written.append(status)
        return {}


class Labels:
    """Stands where plans are applied: takes labels off nodes and does nothing else."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.removed: list[tuple[str, str]] = []

    async def remove_marks(self, name: str, key: str) -> None:
        self.removed.append((name, key))

    def forget(self, _namespace: str, _name: str) -> None:
        """Nothing is remembered here."""


class NoImages:
    """A registry that holds nothing."""

    async def layers(self, _references: object) -> dict[str, dict[str, int]]:
        return {}

    async def look_up(self, *_: Any) -> Object:
        return {}


class World:
    """One node with the label of EdgeModel ns/m, and the passes over it."""

    def __init__(self, *, complete: bool = True) -> None:
        self.objects, self.api = Objects(), Api()
        self.objects.put(NODE, node("n", {LABEL: "r1"}))
        if complete:
            self.objects.completed(EDGE_MODEL)
        self.labels = Labels(self.objects)
        gatherer = Gatherer(self.objects, cast("Images", None), SETTINGS, cast("Client", None))
        self.passes = Passes(
            gatherer,
            cast("Applier", self.labels),
            Numbers(),
            client=cast("Client", self.api),
            slots=BuildSlots(self.objects, 1),
            turns=NodeTurns(),
            ask=lambda _: None,
            rest=lambda _: None,
            clock=lambda: 0.0,
            now=lambda: NOW,
        )

    async def look(self) -> Outcome:
        return await self.passes.run(KEY)


def conditions(status: Object) -> dict[str, Any]:
    return {one["type"]: one for one in status["conditions"]}


async def test_nothing_of_one_that_cannot_be_read_is_swept_and_its_status_and_the_log_say_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.objects.put(EDGE_MODEL, unreadable_model("m"))
    with caplog.at_level(logging.WARNING):
        assert await world.look() == Outcome()
    assert world.labels.removed == []
    assert SAYS in caplog.messages
    (status,) = world.api.written
    assert status["observedGeneration"] == 7
    for kind, value in (("Ready", "False"), ("Stalled", "True")):
        assert conditions(status)[kind] == {
            "type": kind,
            "status": value,
            "reason": "Unreadable",
            "message": SAYS,
            "lastTransitionTime": "2030-01-01T00:00:00Z",
            "observedGeneration": 7,
        }


async def test_one_that_becomes_unreadable_is_not_kept_as_it_was() -> None:
    world = World()
    world.objects.put(EDGE_MODEL, model("m"))
    world.objects.put(EDGE_MODEL, unreadable_model("m", version=2))
    assert world.objects.models.get(*KEY) is None
    await world.look()
    assert world.labels.removed == []
    assert len(world.api.written) == 1


async def test_labels_go_with_a_deletion_that_was_seen() -> None:
    world = World()
    for raw in (model("m"), unreadable_model("m", version=2)):
        world.objects.put(EDGE_MODEL, raw)
    world.objects.remove(EDGE_MODEL, unreadable_model("m", version=3))
    await world.look()
    assert world.labels.removed == [("n", LABEL)]


async def test_nothing_is_swept_before_every_edge_model_is_listed() -> None:
    world = World(complete=False)
    outcome = await world.look()
    assert world.labels.removed == []
    assert outcome.again is not None
    world.objects.completed(EDGE_MODEL)
    await world.look()
    assert world.labels.removed == [("n", LABEL)]


async def test_the_rest_of_a_status_stays_and_nothing_is_written_twice() -> None:
    kept = {"type": "BuildsReady", "status": "True", "lastTransitionTime": "2029-01-01T00:00:00Z"}
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": "2029-02-02T00:00:00Z"}
    moving = {"type": "Reconciling", "status": "True"}
    status: Object = {"conditions": [ready, moving, kept, "junk"], "nodes": {"desired": 3}, "revisions": [1]}
    world = World()
    world.objects.put(EDGE_MODEL, unreadable_model("m", **status))
    await world.look()
    (written,) = world.api.written
    assert (written["nodes"], written["revisions"]) == ({"desired": 3}, [1])
    found = conditions(written)
    assert set(found) == {"Ready", "Stalled", "BuildsReady"}
    assert found["BuildsReady"] == kept
    assert found["Ready"]["lastTransitionTime"] == "2029-02-02T00:00:00Z"
    world.objects.put(EDGE_MODEL, unreadable_model("m", version=2, **written))
    await world.look()
    assert len(world.api.written) == 1

    world.objects.put(EDGE_MODEL, unreadable_model("m", version=3, **written | {"observedGeneration": 6}))
    await world.look()
    assert [one["observedGeneration"] for one in world.api.written] == [7, 7]


@pytest.mark.parametrize("status", ["junk", 3, {"conditions": "junk"}, {"conditions": [{"type": 3}, 7]}])
async def test_a_status_that_cannot_be_read_either_does_not_stop_the_report(status: Any) -> None:
    world = World()
    world.objects.put(EDGE_MODEL, unreadable_model("m") | {"status": status})
    assert await world.look() == Outcome()
    assert set(conditions(world.api.written[0])) == {"Ready", "Stalled"}


async def test_a_status_that_is_refused_stays_whole() -> None:
    world = World()
    world.objects.put(EDGE_MODEL, unreadable_model("m", revisions=[{"name": "r1", "provenTime": "soon"}]))
    world.api.refuse = {"revisions"}
    outcome = await world.look()
    assert outcome.again is not None
    assert world.api.written == []


async def test_one_that_is_deleted_in_between_needs_no_report() -> None:
    world = World()
    world.objects.put(EDGE_MODEL, unreadable_model("m"))
    world.api.refuse, world.api.error = {"conditions"}, Missing("not found")
    assert await world.look() == Outcome()


def test_one_that_can_be_read_again_is_an_edge_model_again() -> None:
    objects = Objects()
    objects.put(EDGE_MODEL, unreadable_model("m", version=1))
    assert set(objects.unreadable(EDGE_MODEL)) == {KEY}
    change = objects.put(EDGE_MODEL, model("m", version=2))
    assert change is not None
    assert objects.unreadable(EDGE_MODEL) == {}
    assert objects.models.get(*KEY) is not None
    assert objects.put(EDGE_MODEL, unreadable_model("m", version=1)) is None


def test_a_listing_and_a_deletion_forget_them() -> None:
    objects = Objects()
    objects.put(EDGE_MODEL, unreadable_model("m"))
    objects.put(EDGE_MODEL, unreadable_model("n"))
    assert [change.key for change in objects.retain(EDGE_MODEL, {"uid-m"}, "5")] == [("ns", "n")]
    assert objects.remove(EDGE_MODEL, unreadable_model("m", version=6)) is not None
    assert objects.unreadable(EDGE_MODEL) == {}


def test_what_is_kept_of_one() -> None:
    objects = Objects()
    raw = unreadable_model("m", version=4)
    raw["metadata"]["labels"] = {"team": "vision", "number": 3}
    objects.put(EDGE_MODEL, raw)
    found = objects.unreadable(EDGE_MODEL)[KEY]
    assert (found.kind, found.uid, found.version, found.labels) == (EDGE_MODEL, "uid-m", "4", {"team": "vision"})
    assert found.message.endswith(": metadata.labels.number is 3; expected: a valid string.")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "spec.nodeSelector is absent; it is required."),
        ({"nodeSelector": [], "platform": {"architecture": "amd64"}}, "spec.nodeSelector is []; expected: "),
    ],
)
async def test_a_profile_that_cannot_be_read_is_named_in_the_snapshot(spec: Object, says: str) -> None:
    objects = Objects()
    objects.put(DEVICE_PROFILE, profile("p"))
    objects.put(DEVICE_PROFILE, profile("p", version=2) | {"spec": spec})
    assert objects.profiles.all() == ()
    assert says in objects.unreadable(DEVICE_PROFILE)["", "p"].message
    gatherer = Gatherer(objects, cast("Images", NoImages()), SETTINGS, cast("Client", None))
    objects.put(EDGE_MODEL, model("m"))
    snapshot = await gatherer.snapshot(*KEY)
    assert snapshot is not None
    assert snapshot.unreadable_profiles == ("p",)
