"""What an answer to a write says besides what was written: a watch that is later reports nothing new any more."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from played_hub import AMD64, JOB, MODEL, R1, Hub, plan
from snapshots import LABEL

from edgesmith.api.names import BUILD_KEY_LABEL, MODEL_LABEL
from edgesmith.cluster.errors import Conflict
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL, KINDS, NODE
from edgesmith.decide.plan import Keep, Move

MOVE = Move("n0", R1, "Because.", record="record")
WANTED = AMD64.spec.node_selector
CHANGES: dict[str, dict[str, Any]] = {
    "a label": {"metadata": {"labels": {**WANTED, LABEL: "before", "zone": "2"}}},
    "a taint": {"spec": {"taints": [{"key": "maintenance", "effect": "NoSchedule"}]}},
    "Ready": {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
}


def two_models() -> Hub:
    """A hub with a second EdgeModel, for whose profile node n0 is."""
    hub = Hub()
    raw = AMD64.model_dump(by_alias=True, exclude_none=True)
    hub.objects.put(DEVICE_PROFILE, raw | {"metadata": {"name": "amd64", "uid": "p"}})
    second = MODEL.model_dump(by_alias=True, exclude_none=True) | {"status": {}}
    hub.objects.put(EDGE_MODEL, second | {"metadata": {"name": "second", "namespace": "plant", "uid": "u2"}})
    changed(hub, {"metadata": {"labels": {**WANTED, LABEL: "before"}}})
    hub.objects.put(NODE, hub.client.objects["Node", "n0"])
    return hub


def changed(hub: Hub, change: dict[str, Any]) -> dict[str, Any]:
    """Node n0 as somebody changes it."""
    live = copy.deepcopy(hub.client.objects["Node", "n0"])
    metadata = live["metadata"] | change.get("metadata", {})
    return copy.deepcopy(hub.client.put(NODE, live | change | {"metadata": metadata}))


async def write(hub: Hub, what: str) -> None:
    if what == "sweep":
        await hub.applier.remove_marks("n0", LABEL)
    elif what == "record":
        await hub.apply(plan(records=[Keep("n0", "kept")]))
    else:
        await hub.apply(plan(revisions=["amd64"], moves=[MOVE]))


@pytest.mark.parametrize("what", ["move", "record", "sweep"])
@pytest.mark.parametrize("change", CHANGES)
async def test_what_somebody_changed_before_a_node_was_written_to_concerns_others_too(change: str, what: str) -> None:
    hub = two_models()
    events: list[dict[str, Any]] = []
    hub.client.meanwhile["mark n0"] = lambda: events.append(changed(hub, CHANGES[change]))
    await write(hub, what)
    events.append(hub.client.objects["Node", "n0"])
    for event in events:
        hub.watches.take(NODE, {"type": "MODIFIED", "object": event})
    assert set(hub.due) == {"parts", "second"}


@pytest.mark.parametrize("what", ["move", "record", "sweep"])
async def test_what_we_wrote_to_a_node_concerns_nobody(what: str) -> None:
    hub = two_models()
    await write(hub, what)
    hub.watches.take(NODE, {"type": "MODIFIED", "object": hub.client.objects["Node", "n0"]})
    assert hub.due == []


async def test_a_node_that_was_not_known_concerns_who_wants_it() -> None:
    hub = two_models()
    hub.objects.nodes.drop(("", "n0"))
    await hub.applier.remove_marks("n0", LABEL)
    assert set(hub.due) == {"parts", "second"}


async def test_a_job_that_another_edgemodel_has_just_made_concerns_its_owner() -> None:
    hub = two_models()
    metadata = {
        "name": JOB.rpartition(" ")[2],
        "namespace": "plant",
        "ownerReferences": [{"uid": "u2", "controller": True}],
        "labels": {BUILD_KEY_LABEL: "k", MODEL_LABEL: "second"},
    }
    made = hub.client.put(KINDS["Job"], {"metadata": metadata})
    hub.client.refuse[JOB] = Conflict("making the Job failed: it exists")
    await hub.apply(plan(builds=["amd64"]))
    hub.watches.take(KINDS["Job"], {"type": "ADDED", "object": made})
    assert hub.due == ["second"]
