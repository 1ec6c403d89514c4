"""Pods that do nothing but use an image: they have no port, and no Service takes them for servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.resources.common import container_security, metadata

MEMORY = "64Mi"
"""The limit of a Python interpreter that waits; it uses some 10 MB, half of them shared with other processes."""


def waiting_daemon_set(
    model: EdgeModel,
    name: str,
    image: str,
    spec: Mapping[str, Any],
    *,
    labels: Mapping[str, str],
    selected: Mapping[str, str],
    pod_labels: Mapping[str, str],
) -> dict[str, Any]:
    """The DaemonSet.

    Args:
        model: Its owner.
        name: Its name.
        image: The image that is used.
        spec: The pods, without containers.
        labels: Its labels, beside those of every child.
        selected: The labels by which it knows its pods.
        pod_labels: The labels of its pods, those among them.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(model, name, labels),
        "spec": {
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": dict(selected)},
            "template": {
                "metadata": {
                    "labels": dict(pod_labels),
                    "annotations": {"argocd.argoproj.io/ignore-resource-updates": "true"},
                },
                "spec": {**spec, "containers": [waiting(image)], "terminationGracePeriodSeconds": 1},
            },
        },
    }


def waiting(image: str) -> dict[str, Any]:
    """The container that keeps an image in use."""
    return {"name": "waiting", "image": image, "args": ["wait"], **_little()}


def pulled(name: str, image: str) -> dict[str, Any]:
    """A container that ends at once: its image is on the node then."""
    return {"name": name, "image": image, "args": ["--help"], **_little()}


def _little() -> dict[str, Any]:
    return {
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": MEMORY}},
        "securityContext": container_security(),
    }
