"""The Service as it is applied: made, kept, and never taken from somebody else."""

from __future__ import annotations

from typing import Any

import pytest
from played_hub import Hub, plan

from edgesmith.cluster.apply import SERVICE_SECONDS
from edgesmith.cluster.errors import NameTaken
from edgesmith.cluster.kinds import EDGE_MODEL, SERVICE


def a_service(owner: str) -> dict[str, Any]:
    reference = {"kind": "EdgeModel", "name": "parts", "uid": owner, "controller": True}
    return {
        "metadata": {"name": "parts", "namespace": "plant", "ownerReferences": [reference] if owner else []},
        "spec": {"selector": {"app": "mine"}},
    }


@pytest.mark.parametrize("owner", ["", "somebody-else"])
async def test_a_service_of_somebody_else_is_left_alone(owner: str) -> None:
    hub = Hub()
    theirs = hub.client.put(SERVICE, a_service(owner))
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
