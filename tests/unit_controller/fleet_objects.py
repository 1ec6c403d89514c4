"""Objects as large as a real fleet has them: managedFields, images on nodes, conditions, tolerations."""

from __future__ import annotations

from typing import Any

from edgesmith.api.names import MANAGED_BY, MANAGED_BY_LABEL, MODEL_LABEL, REVISION_LABEL, node_label

Object = dict[str, Any]
NAMESPACE = "plant"
_SINCE = "2030-01-01T00:00:00Z"


def _managed_fields() -> list[Object]:
    """Two managers with 96 fields each, as a kubelet and a controller leave them: some 4 kB."""
    owned: Object = {f"f:field-{one}": {f"f:part-{two}": {} for two in range(12)} for one in range(8)}
    return [
        {"manager": name, "operation": "Update", "apiVersion": "v1", "time": _SINCE, "fieldsV1": owned}
        for name in ("kube-controller-manager", "kubelet")
    ]


def _conditions(*types: str) -> list[Object]:
    return [{"type": type_, "status": "True", "lastTransitionTime": _SINCE, "message": "as it is"} for type_ in types]


def profile(name: str) -> Object:
    """A DeviceProfile of the nodes that `node` makes."""
    return {
        "metadata": {"name": name},
        "spec": {"nodeSelector": {"edgesmith.dev/device": name}, "platform": {"architecture": "amd64"}},
    }


def edge_model(name: str) -> Object:
    """An EdgeModel for the profile `box`."""
    return {
        "metadata": {"name": name, "namespace": NAMESPACE, "generation": 1, "managedFields": _managed_fields()},
        "spec": {
            "source": {"uri": "s3://models/parts", "sha256": "0" * 64},
            "deviceProfiles": {"names": ["box"]},
        },
    }


def node(name: str) -> Object:
    """A node of the profile `box` that runs model-0: some 13 kB of JSON."""
    labels = {"kubernetes.io/hostname": name, "edgesmith.dev/device": "box", node_label(NAMESPACE, "model-0"): "r"}
    labels |= {f"feature.node.kubernetes.io/cpu-{number}": "true" for number in range(30)}
    images = [
        {"names": [f"registry.example/image-{number}@sha256:{'0' * 64}", f"registry.example/image-{number}:1"]}
        for number in range(40)
    ]
    return {
        "metadata": {"name": name, "labels": labels, "managedFields": _managed_fields()},
        "spec": {"podCIDR": "10.0.0.0/24"},
        "status": {"conditions": _conditions("Ready", "MemoryPressure", "DiskPressure"), "images": images},
    }


def pod(name: str, on: str) -> Object:
    """A serving pod of model-0 on a node: some 8 kB of JSON."""
    container = {
        "name": "server",
        "image": f"registry.example/models@sha256:{'0' * 64}",
        "resources": {"limits": {"memory": "1Gi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a path in a manifest
    }
    labels = {MANAGED_BY_LABEL: MANAGED_BY, MODEL_LABEL: "model-0", REVISION_LABEL: "r"}
    return {
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels, "managedFields": _managed_fields()},
        "spec": {
            "nodeName": on,
            "initContainers": [container],
            "containers": [container],
            "tolerations": [{"key": f"taint-{number}", "operator": "Exists"} for number in range(6)],
        },
        "status": {
            "conditions": _conditions("Ready", "Initialized", "PodScheduled", "ContainersReady"),
            "containerStatuses": [{"name": "server", "ready": True, "restartCount": 0, "state": {"running": {}}}],
        },
    }
