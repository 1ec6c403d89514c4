"""What all children share: owner, labels and the restricted security of their pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgesmith.api import edgemodel
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, MODEL_LABEL

USER = 65532
"""The unprivileged user of every image of ours."""

TERMINATION_LOG = "/dev/termination-log"
"""Where a container writes its termination message; Kubernetes' own default."""


def metadata(
    model: EdgeModel,
    name: str,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A child's metadata: owned by the EdgeModel, so that it goes when the EdgeModel goes.

    The owner does not block: an EdgeModel deleted in the foreground would otherwise wait for pods on nodes that are
    NotReady.
    """
    found: dict[str, Any] = {
        "name": name,
        "namespace": model.metadata.namespace,
        "labels": labels_of(model, labels),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": edgemodel.KIND,
                "name": model.metadata.name,
                "uid": model.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }
    if annotations:
        found["annotations"] = dict(annotations)
    return found


def labels_of(model: EdgeModel, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The labels of every child."""
    return {MANAGED_BY_LABEL: MANAGED_BY, MODEL_LABEL: model.metadata.name, **(more or {})}


def pod_security() -> dict[str, Any]:
    """A pod's security context under the Pod Security Standard `restricted`."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """A container's security context under the Pod Security Standard `restricted`, with a read-only root besides."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def literal(text: str) -> str:
    """An argument or a variable's value as it is: Kubernetes replaces $(NAME) in it, and takes every $$ for one $."""
    return text.replace("$", "$$")
