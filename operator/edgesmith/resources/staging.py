"""The DaemonSet that stages a revision: on a node whose server runs on, it pulls the image and runs the self-test.

Its pod is ready once the self-test has passed, and waits then, so that the image stays on the node until the server
starts. It has no port and is no server for the Service.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import (
    COMPONENT_LABEL,
    MODEL_LABEL,
    PROFILE_LABEL,
    REVISION_LABEL,
    STAGING,
    daemon_set_name,
    next_label,
    node_label,
    staging_name,
    staging_value,
)
from edgesmith.decide.plan import ApplyRevision
from edgesmith.decide.serving import serving
from edgesmith.decide.settings import Settings
from edgesmith.resources.common import container_security, labels_of, metadata
from edgesmith.resources.daemon_set import on_nodes, pod_spec

WAITING_MEMORY = "64Mi"
"""The limit of a Python interpreter that waits; it uses some 10 MB."""


def staging_daemon_set(model: EdgeModel, apply: ApplyRevision, settings: Settings) -> dict[str, Any]:
    """The DaemonSet that stages the revision that the spec asks for.

    Gates on latency and memory are left to the self-test of the server's own pod: the old server still runs here.
    """
    config = serving(model, apply.profile, apply.image, settings)
    untimed = replace(config, max_latency_ms=None, max_memory_bytes=None)
    labels = {PROFILE_LABEL: config.profile, REVISION_LABEL: apply.revision, COMPONENT_LABEL: STAGING}
    selected = {MODEL_LABEL: config.name, REVISION_LABEL: apply.revision, COMPONENT_LABEL: STAGING}
    spec = pod_spec(untimed, apply.revision)
    upcoming = next_label(node_label(config.namespace, config.name))
    tests = spec.pop("initContainers")
    if apply.staging == "Test":
        spec["initContainers"] = tests
    spec["affinity"] = on_nodes(config, {upcoming: staging_value(apply.revision)})
    spec["containers"] = [_waiting(apply.image)]
    spec["terminationGracePeriodSeconds"] = 1
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(model, staging_name(daemon_set_name(config.name, apply.revision)), labels),
        "spec": {
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": selected},
            "template": {
                "metadata": {
                    "labels": labels_of(model, labels),
                    "annotations": {"argocd.argoproj.io/ignore-resource-updates": "true"},
                },
                "spec": spec,
            },
        },
    }


def _waiting(image: str) -> dict[str, Any]:
    """What keeps the image in use."""
    return {
        "name": "waiting",
        "image": image,
        "args": ["wait"],
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": WAITING_MEMORY}},
        "securityContext": container_security(),
    }
