"""The DaemonSet that reports what the servers of a revision say of drift: a pod beside each that ends with it.

What it ends with is its termination message, and the kubelet starts it again. It is in no Service, so nobody waits
while it does: docs/decisions/0039-drift-is-judged-on-the-device.md says why it is not in the server's own pod.
"""

from __future__ import annotations

from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import (
    COMPONENT_LABEL,
    MODEL_LABEL,
    PROFILE_LABEL,
    REPORTER,
    REPORTS_LABEL,
    REVISION_LABEL,
    daemon_set_name,
    node_label,
    reporting_name,
)
from edgesmith.decide.plan import ReportDrift
from edgesmith.decide.serving import serving
from edgesmith.decide.settings import Settings
from edgesmith.resources.common import TERMINATION_LOG, container_security, labels_of, metadata, pod_security
from edgesmith.resources.daemon_set import on_nodes

MEMORY = "64Mi"
"""The limit of a Python interpreter that waits and asks; it uses some 14 MB, half of them shared with others."""
_NOTES = "/tmp"  # noqa: S108 -- the pod's own emptyDir


def reporting_daemon_set(model: EdgeModel, report: ReportDrift, settings: Settings) -> dict[str, Any]:
    """The DaemonSet beside that of a revision, on the nodes that were given it."""
    config = serving(model, report.profile, report.image, settings)
    labels = {PROFILE_LABEL: config.profile, REVISION_LABEL: report.revision, COMPONENT_LABEL: REPORTER}
    selected = {MODEL_LABEL: config.name, REPORTS_LABEL: report.revision, COMPONENT_LABEL: REPORTER}
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        # Where the EdgeModel's Service is, which leads to this node's server alone.
        "enableServiceLinks": True,
        "terminationGracePeriodSeconds": 1,
        "securityContext": pod_security(),
        "affinity": on_nodes(config, {node_label(config.namespace, config.name): report.revision}),
        "containers": [_reporter(report.image, config.name)],
        "volumes": [{"name": "notes", "emptyDir": {"sizeLimit": "1Mi"}}],
    }
    if config.tolerations:
        pod["tolerations"] = [dict(toleration) for toleration in config.tolerations]
    if config.pull_secret:
        pod["imagePullSecrets"] = [{"name": config.pull_secret}]
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(model, reporting_name(daemon_set_name(config.name, report.revision)), labels),
        "spec": {
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": selected},
            "template": {
                "metadata": {
                    "labels": labels_of(model, selected),
                    "annotations": {"argocd.argoproj.io/ignore-resource-updates": "true"},
                },
                "spec": pod,
            },
        },
    }


def _reporter(image: str, service: str) -> dict[str, Any]:
    return {
        "name": "reporter",
        "image": image,
        "args": ["report", "--service", service, "--notes", _NOTES, "--termination-log", TERMINATION_LOG],
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": MEMORY}},
        "securityContext": container_security(),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": [{"name": "notes", "mountPath": _NOTES}],
    }
