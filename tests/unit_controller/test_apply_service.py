"""The Service as it is applied: made, kept, and never taken from somebody else."""

from __future__ import annotations

from typing import Any

import pytest
from played_hub import Hub, plan

from edgesmith.api.names import API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, MODEL_LABEL
from edgesmith.cluster.apply import SERVICE_SECONDS
from edgesmith.cluster.errors import NameTaken, Waiting
from edgesmith.cluster.kinds import EDGE_MODEL, SERVICE

OURS = {MANAGED_BY_LABEL: MANAGED_BY, MODEL_LABEL: "parts"}


def a_service(owner: str, *, labels: dict[str, str] | None = None, **reference: str) -> dict[str, Any]:
    """A Service of the EdgeModel's name, by the UID of its controller."""
    named = {"apiVersion": API_VERSION, "kind": "EdgeModel", "name": "parts", **reference}
    references = [{**named, "uid": owner, "controller": True}] if owner else []
    return {
        "metadata": {"name": "parts", "namespace": "plant", "labels": labels or {}, "ownerReferences": references},
        "spec": {"selector": {"app": "mine"}},
    }


THEIRS = {
    "nobody's": a_service(""),
    "of another tool": a_service("", labels={MANAGED_BY_LABEL: "helm", MODEL_LABEL: "parts"}),
    "of another EdgeModel without an owner": a_service("", labels=OURS | {MODEL_LABEL: "others"}),
    "of another EdgeModel": a_service("u2", name="others", labels=OURS),
    "of another kind": a_service("u2", kind="Deployment", labels=OURS),
    "of another group": a_service("u2", apiVersion="example.com/v1", labels=OURS),
}


@pytest.mark.parametrize("whose", THEIRS)
async def test_a_service_of_somebody_else_is_left_alone(whose: str) -> None:
    hub = Hub()
    theirs = hub.client.put(SERVICE, THEIRS[whose])
    for _ in range(2):
        (error,) = await hub.refused(plan(service=True))
        assert isinstance(error, NameTaken)
        assert "The Service plant/parts exists and is not the EdgeModel's" in str(error)
        assert [call for call in hub.asked() if "Service" in call] == ["get Service parts"]
    assert hub.client.objects["Service", "parts"] == theirs
    assert hub.said["Stalled"] == ("True", "NameTaken")
    hub.client.objects.pop(("Service", "parts"))
    await hub.apply(plan(service=True))
    assert "apply Service parts" in hub.asked()


async def test_an_own_service_is_applied_and_looked_at_again_after_a_while() -> None:
    hub = Hub()
    hub.client.put(SERVICE, a_service("u"))
    await hub.apply(plan(service=True))
    assert [call for call in hub.asked() if "Service" in call] == ["get Service parts", "apply Service parts"]
    for times in (1, 2):
        hub.seconds = times * SERVICE_SECONDS - 1
        await hub.apply(plan(service=True))
        assert hub.asked() == []
        hub.seconds = times * SERVICE_SECONDS
        await hub.apply(plan(service=True))
        assert hub.asked() == ["get Service parts"], "it is as it was"
    hub.client.put(SERVICE, a_service("u"))
    hub.seconds = 3 * SERVICE_SECONDS
    await hub.apply(plan(service=True))
    assert hub.asked() == ["get Service parts", "apply Service parts"]


async def test_another_port_is_applied_at_once() -> None:
    hub = Hub()
    await hub.apply(plan(service=True))
    hub.asked()
    changed = hub.client.objects["EdgeModel", "parts"]
    changed["spec"]["serving"]["port"] = 9000
    hub.objects.put(EDGE_MODEL, hub.client.put(EDGE_MODEL, changed))
    await hub.apply(plan(service=True))
    assert hub.asked() == ["get Service parts", "apply Service parts"]
    assert hub.client.objects["Service", "parts"]["spec"]["ports"][0]["port"] == 9000


async def test_a_service_of_an_edgemodel_that_was_made_anew_is_waited_for() -> None:
    """`kubectl replace --force`: the one before is gone, and its Service goes a moment later."""
    hub = Hub()
    theirs = hub.client.put(SERVICE, a_service("before", apiVersion="edgesmith.dev/v1alpha0", labels=OURS))
    (error,) = await hub.refused(plan(service=True))
    assert isinstance(error, Waiting)
    assert error.seconds == 2.0
    assert "The Service plant/parts is of an EdgeModel of the same name that was deleted" in str(error)
    assert (hub.client.objects["Service", "parts"], "Stalled" in hub.said) == (theirs, False)
    hub.client.objects.pop(("Service", "parts"))
    assert (await hub.apply(plan(service=True))).applied == 1


async def test_an_own_service_that_was_left_without_an_owner_is_taken_over() -> None:
    """`kubectl delete --cascade=orphan`, and the EdgeModel applied anew."""
    hub = Hub()
    hub.client.put(SERVICE, a_service("", labels={**OURS, "team": "vision"}))
    done = await hub.apply(plan(service=True))
    assert (done.refusals, done.applied) == ([], 1)
    (reference,) = hub.client.objects["Service", "parts"]["metadata"]["ownerReferences"]
    assert reference["uid"] == "u"
