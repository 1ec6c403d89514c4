"""The pod of a trial: the server's own self-tests, one after the other, on one node."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from snapshots import SETTINGS, model, profile

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.cluster import parse_trial
from edgesmith.decide.plan import StartTrial
from edgesmith.decide.room import Room
from edgesmith.decide.serving import serving
from edgesmith.decide.snapshot import TrialPod
from edgesmith.resources import trial_pod, triton
from edgesmith.resources.daemon_set import pod_spec

IMAGES = {name: f"registry:5000/m@sha256:{digit * 64}" for name, digit in (("int8", "1"), ("fp16", "2"), ("fp32", "3"))}
RUNTIME = {
    "runtimeClassName": "crun",
    "tolerations": [{"key": "edge", "operator": "Exists"}],
    "volumes": [{"name": "cache", "hostPath": "/var/lib/cache", "mountPath": "/cache"}],
}
BOARD = profile(runtime=RUNTIME)
JETSON = profile(
    toolchain={"name": "TensorRT"},
    runtime={**RUNTIME, "server": "Triton", "baseImage": IMAGES["fp32"], "resources": {"limits": {"memory": "4Gi"}}},
)
OF = model(gates={"maxLatency": "1ms", "maxMemory": "1Mi"}, serving={"maxBatch": 3})


def made(device: DeviceProfile = BOARD) -> dict[str, Any]:
    return trial_pod(OF, StartTrial(device, "t", "e1", IMAGES), SETTINGS)


@pytest.mark.parametrize("device", [BOARD, JETSON], ids=["our own server", "Triton"])
def test_every_finalist_is_tested_in_turn_as_its_server_would_test_it(device: DeviceProfile) -> None:
    spec = made(device)["spec"]
    containers = [*spec["initContainers"], *spec["containers"]]
    assert [(one["name"], one["image"]) for one in containers] == list(IMAGES.items())
    for one in containers:
        server = pod_spec(serving(OF, device, one["image"], SETTINGS), "r")
        (own,) = server["initContainers"]
        assert {**one, "name": "", "args": []} == {**own, "name": "", "args": []}, "resources, volumes, rights"
        assert one["args"][0] == "selftest"
        assert "--report" in one["args"], "a finding ends the pod otherwise"
        assert one["args"][-3:-1] == ["--max-batch", "3"]
        assert not {"--max-latency-ms", "--max-memory-bytes"}.intersection(one["args"]), "gates are judged on the hub"
        kept = ("runtimeClassName", "volumes", "securityContext", "automountServiceAccountToken", "enableServiceLinks")
        assert {name: spec[name] for name in kept} == {name: server[name] for name in kept}


def test_a_trial_with_triton_has_room_for_what_its_finalists_compile_and_takes_no_requests() -> None:
    spec = made(JETSON)["spec"]
    (scratch,) = [one["emptyDir"] for one in spec["volumes"] if "emptyDir" in one]
    assert scratch["sizeLimit"] == triton.SCRATCH_LIMIT
    for one in (*spec["initContainers"], *spec["containers"]):
        assert one["resources"]["limits"]["memory"] == "4Gi"
        assert not {"ports", "lifecycle", "readinessProbe", "livenessProbe", "startupProbe"} & set(one)


def test_it_is_on_its_node_alone_and_tolerates_what_a_daemon_does() -> None:
    spec = made()["spec"]
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["e1"]}]}
    assert spec["restartPolicy"] == "Never"
    tolerated = {one["key"] for one in spec["tolerations"]}
    assert {"edge", "node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready"} <= tolerated


def test_no_service_and_no_daemon_set_takes_it_for_a_server() -> None:
    metadata = made()["metadata"]
    assert metadata["labels"]["app.kubernetes.io/component"] == "trial"
    assert "edgesmith.dev/revision" not in metadata["labels"]
    assert metadata["ownerReferences"][0]["uid"] == "u"
    assert len(metadata["name"]) <= 63


def test_where_a_server_holds_the_device_its_finalists_are_pulled_beside_it() -> None:
    serves = f"registry:5000/m@sha256:{'9' * 64}"
    asking = profile(runtime={"resources": {"limits": {"example.com/tpu": 1, "memory": "2Gi"}}})
    pod = trial_pod(OF, StartTrial(asking, "t", "e1", IMAGES, keeps=serves), SETTINGS)
    spec = pod["spec"]
    assert [(one["name"], one["image"], one["args"]) for one in spec["initContainers"]] == [
        (name, image, ["--help"]) for name, image in IMAGES.items()
    ], "each ends at once"
    (kept,) = spec["containers"]
    assert (kept["image"], kept["args"]) == (serves, ["wait"]), "going back needs no link"
    for one in (*spec["initContainers"], kept):
        assert one["resources"] == {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
        assert one["securityContext"] == made()["spec"]["containers"][0]["securityContext"]
    assert "volumes" not in spec
    assert spec["affinity"] == made()["spec"]["affinity"]
    assert pod["metadata"]["labels"] == made()["metadata"]["labels"]


LOOKS = Room(f"registry:5000/m@sha256:{'8' * 64}", 900 << 20)


def test_where_the_finalists_are_large_it_looks_for_room_for_all_of_them_first() -> None:
    spec = trial_pod(OF, StartTrial(BOARD, "t", "e1", IMAGES, room=LOOKS), SETTINGS)["spec"]
    first, *others = spec["initContainers"]
    assert (first["name"], first["image"], first["args"][:3]) == (
        "room",
        LOOKS.base,
        ["room", "--bytes", str(900 << 20)],
    )
    assert first["resources"]["limits"] == {"memory": "64Mi"}
    assert {**spec, "initContainers": others} == made()["spec"], "nothing else differs"


def test_a_pod_that_only_pulls_looks_first_too() -> None:
    asking = profile(runtime={"resources": {"limits": {"example.com/tpu": 1}}, "volumes": BOARD.spec.runtime.volumes})
    start = StartTrial(asking, "t", "e1", IMAGES, keeps=IMAGES["fp32"])
    bare = trial_pod(OF, start, SETTINGS)["spec"]
    spec = trial_pod(OF, replace(start, room=LOOKS), SETTINGS)["spec"]
    first, *others = spec["initContainers"]
    assert first["image"] == LOOKS.base
    (volume,) = spec["volumes"]
    assert {one["name"] for one in first["volumeMounts"]} == {volume["name"]}
    assert {**{name: one for name, one in spec.items() if name != "volumes"}, "initContainers": others} == bare


def seen(code: int | None, message: str = "") -> TrialPod:
    """A pod whose look for room ended so; None: it runs."""
    said = {"terminated": {"exitCode": code, "message": message}} if code is not None else {"running": {}}
    waits = {"waiting": {"reason": "PodInitializing"}}
    return parse_trial.trial_pod({
        "metadata": {"name": "p", "labels": {"edgesmith.dev/trial": "t"}},
        "spec": {"nodeName": "e1"},
        "status": {
            "phase": "Failed" if code else "Pending",
            "initContainerStatuses": [{"name": "room", "state": said}, {"name": "int8", "state": waits}],
            "containerStatuses": [{"name": "fp32", "state": waits}],
        },
    })  # fmt: skip


def test_what_a_look_found_is_read_of_the_pod_and_is_no_finalists_end() -> None:
    lacks = "its disk has 100 MiB free, and 300 MiB are needed"
    full = seen(1, json.dumps({"verdict": "Failed", "reason": "DiskFull", "message": f"{lacks}."}))
    assert (full.lacks, full.roomy, full.over, full.ended) == (lacks, False, True, {})
    found = seen(0)
    assert (found.lacks, found.roomy, found.over, found.ended) == ("", True, False, {})
    for other in (seen(None), seen(1), seen(1, json.dumps({"verdict": "Failed", "reason": "InternalError"}))):
        assert (other.lacks, other.roomy, other.ended) == ("", False, {}), "it says nothing of the disk"
