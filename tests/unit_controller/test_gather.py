"""What a snapshot is made of: which digests the registry's answer is held against."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, cast

from objects_of import model, profile

from edgesmith.api.names import BUILD_KEY_LABEL, MODEL_LABEL
from edgesmith.cluster.client import Client
from edgesmith.cluster.gather import Gatherer
from edgesmith.cluster.images import Images
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL, JOB
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.provenance import Wanted
from edgesmith.decide.builds import wanted
from edgesmith.decide.settings import Settings

DIGEST = "sha256:" + "d" * 64
SETTINGS = Settings(f"r:5000/runtime@{DIGEST}", f"r:5000/builder@{DIGEST}", "r:5000/models")


class Asked:
    """A registry that remembers what it was asked for."""

    def __init__(self) -> None:
        self.builds: list[Wanted] = []

    async def look_up(self, _repository: str, builds: list[Wanted], _fresh: object) -> dict[str, None]:
        self.builds = builds
        return dict.fromkeys(one.build.key for one in builds)


class Pods:
    """An API server that lists one build pod, and counts how often."""

    def __init__(self, pod: dict[str, Any]) -> None:
        self.pod = pod
        self.listed = 0

    async def list(self, *_: Any, **__: Any) -> AsyncIterator[dict[str, Any]]:
        self.listed += 1
        yield self.pod


async def test_the_registry_is_held_against_what_a_job_reported_even_where_its_pod_was_not_seen_yet() -> None:
    """Jobs and pods are watched apart: the Job's end may be seen before its pod's last words."""
    objects, asked = Objects(), Asked()
    objects.put(EDGE_MODEL, model("m"))
    objects.put(DEVICE_PROFILE, profile("p"))
    edge_model = objects.models.get("ns", "m")
    assert edge_model is not None
    key = wanted(edge_model, objects.profiles.all(), SETTINGS)["p"].key
    labels = {MODEL_LABEL: "m", BUILD_KEY_LABEL: key, "batch.kubernetes.io/job-name": "j"}
    owner = {"uid": "uid-m", "controller": True}
    common = {"namespace": "ns", "resourceVersion": "1", "labels": labels}
    finished = {"conditions": [{"type": "Complete", "status": "True"}]}
    objects.put(JOB, {"metadata": common | {"name": "j", "uid": "j", "ownerReferences": [owner]}, "status": finished})
    message = json.dumps({"image": f"r:5000/models/ns/m@{DIGEST}"})
    ended = [{"name": "builder", "state": {"terminated": {"exitCode": 0, "message": message}}}]
    pods = Pods({"metadata": common | {"name": "p", "uid": "p"}, "status": {"containerStatuses": ended}})
    gatherer = Gatherer(objects, cast("Images", asked), SETTINGS, cast("Client", pods))
    for _ in range(2):
        await gatherer.snapshot("ns", "m")
        assert [(one.build.key, one.trusted) for one in asked.builds] == [(key, frozenset({DIGEST}))]
    assert pods.listed == 1
