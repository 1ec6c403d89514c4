"""The DaemonSet that holds an image: on nodes that run another revision, so that going back needs no link."""

from __future__ import annotations

from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import (
    COMPONENT_LABEL,
    HELD_LABEL,
    HOLDING,
    MODEL_LABEL,
    PROFILE_LABEL,
    REVISION_LABEL,
    daemon_set_name,
    holding_name,
    next_label,
    node_label,
)
from edgesmith.decide.plan import HoldImage
from edgesmith.decide.profiles import ARCHITECTURE_LABEL
from edgesmith.decide.settings import Settings
from edgesmith.resources.common import pod_security
from edgesmith.resources.waiting import waiting_daemon_set


def holding_daemon_set(model: EdgeModel, hold: HoldImage, settings: Settings) -> dict[str, Any]:
    """The DaemonSet that holds one image.

    Its pods have the priority of servers: under disk pressure a kubelet ends pods of less priority first, and the image
    would go after that. They lack the label that the operator watches its children by, since nothing is to be known
    of them, and there are as many of them as of servers.
    """
    selected = {MODEL_LABEL: model.metadata.name, HELD_LABEL: hold.revision, COMPONENT_LABEL: HOLDING}
    labels = {PROFILE_LABEL: hold.profile.metadata.name, REVISION_LABEL: hold.revision, COMPONENT_LABEL: HOLDING}
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "affinity": _affinity(model, hold),
    }
    if hold.profile.spec.runtime.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in hold.profile.spec.runtime.tolerations]
    if settings.pull_secret:
        spec["imagePullSecrets"] = [{"name": settings.pull_secret}]
    name = holding_name(daemon_set_name(model.metadata.name, hold.revision))
    return waiting_daemon_set(model, name, hold.image, spec, labels=labels, selected=selected, pod_labels=selected)


def _affinity(model: EdgeModel, hold: HoldImage) -> dict[str, Any]:
    """To nodes that run another revision, and to those that make one ready: their server ends when that is."""
    key = node_label(model.metadata.namespace, model.metadata.name)
    able = _in(ARCHITECTURE_LABEL, hold.profile.spec.platform.architecture)
    terms = [
        [_in(key, *hold.others), able],
        [_in(key, hold.revision), {"key": next_label(key), "operator": "Exists"}, able],
    ]
    required = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def _in(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}
