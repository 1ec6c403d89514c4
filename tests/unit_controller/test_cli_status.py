"""`edgesmith status` where an EdgeModel cannot be read, and of nodes that lack a device."""

from __future__ import annotations

from typing import Any

import pytest
from snapshots import model, profile

from edgesmith.cli import status as showing
from edgesmith.cli.seen import Seen
from edgesmith.cluster.errors import Invalid, Missing
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL, NODE
from edgesmith.cluster.objects import Objects


def _raw(name: str, **spec: Any) -> dict[str, Any]:
    good = model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "metadata": {"name": name, "namespace": "plant", "uid": name, "resourceVersion": "1", "generation": 1},
        "spec": good["spec"] | spec,
    }


@pytest.fixture
def objects() -> Objects:
    found = Objects()
    found.put(EDGE_MODEL, _raw("good"))
    found.put(EDGE_MODEL, _raw("newer", rollout={"maxFailed": "a few"}))
    return found


def test_one_that_cannot_be_read_has_its_line(objects: Objects) -> None:
    models = showing.choose(objects, None, "plant")
    assert [one.metadata.name for one in models] == ["good"]
    shown = showing.overview(models, namespaces=True, unread=showing.unreadable(objects))
    line = next(line for line in shown.splitlines() if "newer" in line)
    assert "Unreadable" in line
    assert "spec.rollout.maxFailed" in line
    assert line.startswith("plant")


def test_asked_for_by_name_it_is_not_said_to_be_absent(objects: Objects) -> None:
    with pytest.raises(Invalid, match=r"spec\.rollout\.maxFailed"):
        showing.choose(objects, "newer", "plant")
    with pytest.raises(Missing):
        showing.choose(objects, "nobody", "plant")


def test_a_node_that_lacks_a_device_says_so(objects: Objects) -> None:
    asks = profile(runtime={"resources": {"limits": {"squat.ai/edgetpu": 1}}})
    metadata = {"name": asks.metadata.name, "uid": "p", "resourceVersion": "1"}
    spec = asks.model_dump(mode="json", by_alias=True, exclude_none=True)["spec"]
    objects.put(DEVICE_PROFILE, {"metadata": metadata, "spec": spec})
    for name, count in (("with", "1"), ("without", "0")):
        status = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"squat.ai/edgetpu": count}}
        labels = {"device": asks.metadata.name}
        objects.put(NODE, {"metadata": {"name": name, "resourceVersion": "1", "labels": labels}, "status": status})
    (one,) = showing.choose(objects, "good", "plant")
    found = showing.describe(Seen(objects), one)["nodes"]
    assert {node["node"]: node["state"] for node in found} == {"with": "Idle", "without": "DeviceMissing"}
