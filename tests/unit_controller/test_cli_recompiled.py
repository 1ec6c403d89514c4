"""`edgesmith status` names the nodes that compile a model anew, with what their self-tests say is another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from snapshots import NOW, model, profile

from edgesmith.api.names import node_label
from edgesmith.api.status import EdgeModelStatus, VariantStatus
from edgesmith.cli import status as showing
from edgesmith.cli.seen import Seen
from edgesmith.cluster import parse
from edgesmith.cluster.kinds import DEVICE_PROFILE, NODE, POD
from edgesmith.cluster.objects import Objects

DRIVER = "the driver was 540.4.0 and is 550.1"
PASSED = {"verdict": "Passed", "reason": "Passed", "message": "", "p50Ms": 1.0, "p95Ms": 2.0, "device": {}}
SENTENCE = f"On with and 1 more node the model is compiled anew, since {DRIVER}."


@pytest.mark.parametrize(("said", "read"), [(DRIVER, DRIVER), ("", None), (None, None), (3, None)])
def test_what_changed_is_read_from_the_self_test_s_last_words(said: Any, read: str | None) -> None:
    found = parse.selftest(json.dumps(PASSED | {"recompiled": said}))
    assert found is not None
    assert found.recompiled == read


def _node(objects: Objects, name: str, recompiled: str | None) -> None:
    """A node whose server serves after a self-test."""
    labels = {"device": "amd64", node_label("plant", "parts"): "419fc52057"}
    status: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}]}
    objects.put(NODE, {"metadata": {"name": name, "resourceVersion": "1", "labels": labels}, "status": status})
    owned = {"edgesmith.dev/model": "parts", "edgesmith.dev/revision": "419fc52057"}
    metadata = {"name": name, "namespace": "plant", "uid": name, "resourceVersion": "1", "labels": owned}
    ended = {"terminated": {"exitCode": 0, "message": json.dumps(PASSED | {"recompiled": recompiled})}}
    status = {
        "startTime": NOW.isoformat(),
        "initContainerStatuses": [{"name": "selftest", "state": ended}],
        "containerStatuses": [{"name": "server", "ready": True, "state": {"running": {}}}],
    }
    objects.put(POD, {"metadata": metadata, "spec": {"nodeName": name}, "status": status})


def test_the_variant_says_it_and_each_node_of_its_own() -> None:
    objects = Objects()
    asks = profile()
    metadata = {"name": asks.metadata.name, "uid": "p", "resourceVersion": "1"}
    spec = asks.model_dump(mode="json", by_alias=True, exclude_none=True)["spec"]
    objects.put(DEVICE_PROFILE, {"metadata": metadata, "spec": spec})
    _node(objects, "with", DRIVER)
    _node(objects, "without", None)
    told = [{"change": DRIVER, "node": "with", "nodes": 2}]
    variant = VariantStatus.model_validate({"profile": "amd64", "state": "Complete", "recompiled": told})
    status = EdgeModelStatus(variants=(variant,)).model_dump(mode="json", by_alias=True)
    one = model().model_copy(update={"status": status})
    found = showing.describe(Seen(objects), one)
    assert found["variants"][0]["message"].endswith(SENTENCE)
    assert {row["node"]: row["message"] for row in found["nodes"]} == {
        "with": f"It compiles the model anew, since {DRIVER}.",
        "without": "",
    }
    assert SENTENCE in showing.detail(Seen(objects), one)
