"""The pod of a trial: the server's own self-tests, one after the other, on one node."""

from __future__ import annotations

from typing import Any

from snapshots import SETTINGS, model, profile

from edgesmith.decide.plan import StartTrial
from edgesmith.decide.serving import serving
from edgesmith.resources import trial_pod
from edgesmith.resources.daemon_set import pod_spec

IMAGES = {name: f"registry:5000/m@sha256:{digit * 64}" for name, digit in (("int8", "1"), ("fp16", "2"), ("fp32", "3"))}
BOARD = profile(
    runtime={
        "runtimeClassName": "crun",
        "tolerations": [{"key": "edge", "operator": "Exists"}],
        "volumes": [{"name": "cache", "hostPath": "/var/lib/cache", "mountPath": "/cache"}],
    }
)
OF = model(gates={"maxLatency": "1ms", "maxMemory": "1Mi"}, serving={"maxBatch": 3})


def made() -> dict[str, Any]:
    return trial_pod(OF, StartTrial(BOARD, "t", "e1", IMAGES), SETTINGS)


def test_every_finalist_is_tested_in_turn_as_its_server_would_test_it() -> None:
    spec = made()["spec"]
    containers = [*spec["initContainers"], *spec["containers"]]
    assert [(one["name"], one["image"]) for one in containers] == list(IMAGES.items())
    for one in containers:
        server = pod_spec(serving(OF, BOARD, one["image"], SETTINGS), "r")
        (own,) = server["initContainers"]
        assert {**one, "name": "", "args": []} == {**own, "name": "", "args": []}, "resources, volumes, rights"
        assert one["args"][0] == "selftest"
        assert "--report" in one["args"], "a finding ends the pod otherwise"
        assert one["args"][-3:-1] == ["--max-batch", "3"]
        assert not {"--max-latency-ms", "--max-memory-bytes"}.intersection(one["args"]), "gates are judged on the hub"
        kept = ("runtimeClassName", "volumes", "securityContext", "automountServiceAccountToken", "enableServiceLinks")
        assert {name: spec[name] for name in kept} == {name: server[name] for name in kept}


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
