"""The health of pods with deploy/argocd/argocd-cm-pods.yaml, beside the health that Argo CD itself gives them."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from gitops_verdict import ask
from yaml_files import read

from edgesmith.api.names import MODEL_LABEL

Object = dict[str, Any]

SETTINGS: dict[str, str] = read(Path(__file__).resolve().parents[2] / "deploy/argocd/argocd-cm-pods.yaml")["data"]
OURS, FOREIGN = {MODEL_LABEL: "parts"}, {"app": "other"}

PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
POLICIES = ("Always", "OnFailure", "Never")
MESSAGES = ("", "The node was low on resource: memory.")


def ended(code: int = 0, **more: str) -> Object:
    return {"terminated": {"exitCode": code, "startedAt": None, "finishedAt": None, **more}}


STATES: tuple[list[Object], ...] = (
    [],
    [{"state": {"running": {}}}],
    [{"state": {"waiting": {"reason": "ContainerCreating"}}}],
    [
        {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "back-off"}}},
        {"state": {"waiting": {"reason": "ErrImagePull"}}},
        {"state": {"waiting": {"reason": "CreateContainerError", "message": "no such file"}}},
    ],
    [{"state": {"running": {}}, "lastState": ended(1)}],
    [{"state": ended()}, {"state": ended(3)}],
    [{"state": ended(137, reason="OOMKilled")}],
    [{"state": ended(1, message="spec.source.uri: nothing is there.")}],
)


HERE, AWAY, STARTING = (True, True), (False, True), (False, False)
"""Whether a pod is Ready, and its containers: of a node that is away, the cluster takes the first one back."""


def pod(
    labels: Object,
    ready: tuple[bool, bool],
    states: list[Object],
    told: tuple[str, str, str] = ("Running", "Always", ""),
) -> Object:
    """A pod with these containers, of which the first one of two is an init container.

    Its phase, its restart policy and its message are `told`.
    """
    phase, policy, message = told
    containers: list[Object] = [
        {"name": f"c{number}", "ready": False, "restartCount": 0, "image": "i", "imageID": "i", **state}
        for number, state in enumerate(states)
    ]
    first = 1 if len(states) == 2 else 0
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": "plant", "labels": labels},
        "spec": {"restartPolicy": policy, "containers": []},
        "status": {
            "phase": phase,
            "conditions": [
                {"type": kind, "status": str(holds)}
                for kind, holds in zip(("Ready", "ContainersReady"), ready, strict=True)
            ],
            "initContainerStatuses": containers[:first],
            "containerStatuses": containers[first:],
            **({"message": message} if message else {}),
        },
    }


def healths(settings: dict[str, str], pods: list[Object]) -> list[Object]:
    return ask(settings, [{"verdict": "health", "object": one} for one in pods])


def test_all_other_pods_have_the_health_that_argo_cd_gives_them() -> None:
    every = list(product(STATES, product(PHASES, POLICIES, MESSAGES)))
    kinds = ((FOREIGN, HERE), (FOREIGN, AWAY), (FOREIGN, STARTING), (OURS, HERE), (OURS, STARTING))
    pods = [pod(labels, ready, *one) for labels, ready in kinds for one in every]
    own = healths({}, pods)
    assert healths(SETTINGS, pods) == own
    assert {one["status"] for one in own} == {"Healthy", "Progressing", "Degraded", "Unknown"}
    assert {one.get("message", "") for one in own} >= {"back-off, , no such file", "OOMKilled", *MESSAGES}
    assert 'container "c1" failed with exit code 3' in {one.get("message") for one in own}


def test_a_pod_of_an_edge_model_is_as_when_its_node_was_last_heard_of() -> None:
    """Argo CD itself calls it busy, or broken where its server was ever started anew."""
    pods = [pod(OURS, AWAY, STATES[1]), pod(OURS, AWAY, STATES[4])]
    assert [one["status"] for one in healths({}, pods)] == ["Progressing", "Degraded"]
    healthy = {"status": "Healthy", "message": "Ready when its node was last heard of."}
    assert healths(SETTINGS, pods) == [healthy, healthy]
    # What its kubelet itself said last stays: a server that was not ready then is none now.
    assert [one["status"] for one in healths(SETTINGS, [pod(OURS, STARTING, STATES[1])])] == ["Progressing"]
