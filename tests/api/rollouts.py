"""A rollout in the api tier, and what it left on nodes and in a namespace."""

from __future__ import annotations

from collections.abc import Sequence

from apiserver import ApiServer, Object, wait_for
from build_outcomes import finish_build, push_build
from kubelets import Kubelets
from operator_process import Operator, device_profile, edge_model, wait_condition

from edgesmith.api.names import BUILD_KEY_LABEL, REVISION_LABEL, node_label

CHILDREN = ("jobs", "daemonsets", "services", "pods")


async def roll_out(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator, nodes: Sequence[str]
) -> Object:
    """Add nodes, start the operator, build and roll out the EdgeModel `parts` everywhere; it as it was applied."""
    profile, model = f"{namespace}-device", edge_model("parts", namespace)
    for node in nodes:
        kubelets.add(node, profile)
    server.apply([device_profile(profile), model])
    operator.start()
    job = wait_for("a build Job", lambda: next(iter(server.items("jobs", namespace)), None))
    key = job["metadata"]["labels"][BUILD_KEY_LABEL]
    finish_build(server, job, await push_build(operator.registry, namespace, key))
    wait_condition(server, namespace, "parts", "Ready", "Succeeded", seconds=60)
    return model


def labels(server: ApiServer, namespace: str, model: str = "parts") -> dict[str, str]:
    """Node to the revision that its label names."""
    key = node_label(namespace, model)
    found = {node["metadata"]["name"]: node["metadata"]["labels"].get(key) for node in server.items("nodes")}
    return {name: revision for name, revision in found.items() if revision}


def revisions(server: ApiServer, namespace: str) -> dict[str, str]:
    """Node to the revision of its pod, for pods that are not being deleted."""
    found = server.items("pods", namespace, REVISION_LABEL)
    return {
        pod["spec"].get("nodeName", ""): pod["metadata"]["labels"][REVISION_LABEL]
        for pod in found
        if "deletionTimestamp" not in pod["metadata"]
    }


def pods(server: ApiServer, namespace: str) -> dict[str, str]:
    """Serving pods' UIDs by name."""
    found = server.items("pods", namespace, REVISION_LABEL)
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in found}


def children(server: ApiServer, namespace: str) -> list[str]:
    """Every child of an EdgeModel that is left in a namespace."""
    return [f"{kind}/{one['metadata']['name']}" for kind in CHILDREN for one in server.items(kind, namespace)]


def node_labels(server: ApiServer, name: str) -> dict[str, str]:
    """All labels of a node."""
    node = server.get("nodes", name)
    assert node is not None
    return dict(node["metadata"]["labels"])


def is_ready(server: ApiServer, name: str) -> bool:
    """Whether the cluster has heard from a node."""
    conditions = (server.get("nodes", name) or {})["status"]["conditions"]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
