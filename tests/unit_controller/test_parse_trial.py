"""Trial pods as they are read: who has ended, and whose end says something."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgesmith.cluster.kinds import POD
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.parse_trial import trial_pod

PASSED = json.dumps({"verdict": "Passed", "reason": "Passed", "p95Ms": 3.5, "p50Ms": 3, "memoryBytes": 7, "device": {}})


def ended(name: str, message: str = "", *, code: int = 0, reason: str = "Completed") -> dict[str, Any]:
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}


def pod(init: list[Any], main: list[Any], *, deleted: bool = False, **status: Any) -> dict[str, Any]:
    labels = {"edgesmith.dev/trial": "t", "edgesmith.dev/model": "parts"}
    metadata = {"name": "p", "namespace": "plant", "uid": "1", "resourceVersion": "1", "labels": labels}
    gone = {"deletionTimestamp": "2030-01-01T00:00:00Z"} if deleted else {}
    said = {"initContainerStatuses": init, "containerStatuses": main, **status}
    return {"metadata": metadata | gone, "spec": {"nodeName": "e1"}, "status": said}


def test_what_has_ended_is_read_by_the_finalists_name() -> None:
    found = trial_pod(pod([ended("int8", PASSED), {"name": "fp16", "state": {"running": {}}}], []))
    assert (found.trial, found.node, found.over, list(found.ended)) == ("t", "e1", False, ["int8"])
    finding = found.ended["int8"].finding
    assert finding is not None
    assert (finding.p95_ms, finding.p50_ms, finding.memory_bytes) == (3.5, 3, 7)


def test_one_that_was_killed_on_the_device_says_how() -> None:
    found = trial_pod(pod([ended("int8", code=137, reason="OOMKilled")], [], phase="Failed"))
    assert found.over
    assert (found.ended["int8"].finding, found.ended["int8"].words) == (None, "OOMKilled, exit code 137")


@pytest.mark.parametrize("why", [{"reason": "Evicted", "phase": "Failed"}, {"deleted": True}])
def test_one_that_ended_with_its_pod_says_nothing_of_its_model(why: dict[str, Any]) -> None:
    found = trial_pod(pod([ended("int8", PASSED), ended("fp16", code=137, reason="Error")], [], **why))
    assert list(found.ended) == ["int8"]


def test_a_pod_that_waits_says_why() -> None:
    waiting = {"name": "int8", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    assert trial_pod(pod([waiting], [])).waiting == "ImagePullBackOff: no such image"
    assert trial_pod(pod([{"name": "int8", "state": {"running": {}}}], [])).waiting is None


def test_it_is_kept_apart_from_servers_and_builds() -> None:
    objects = Objects()
    change = objects.put(POD, pod([], []))
    assert change is not None
    assert change.model == "parts"
    assert [entry.noun.name for _, entry in objects.trial_pods.of_model("plant", "parts")] == ["p"]
    assert (objects.pods.all(), objects.build_pods.all()) == ((), ())
