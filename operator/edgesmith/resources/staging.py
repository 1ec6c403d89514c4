"""The DaemonSet that stages a revision: on a node whose server runs on, it pulls the image and runs the self-test.

Where the image is large, it looks first whether the node's disk has room for it. The server's own pod never does: the
image may be there already, and a server must not wait for room that it does not need.

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
from edgesmith.resources import room
from edgesmith.resources.common import labels_of
from edgesmith.resources.daemon_set import SCRATCH, on_nodes, pod_spec
from edgesmith.resources.waiting import waiting_daemon_set


def staging_daemon_set(model: EdgeModel, apply: ApplyRevision, settings: Settings) -> dict[str, Any]:
    """The DaemonSet that stages the revision that the spec asks for.

    Gates on latency and memory are left to the self-test of the server's own pod: the old server still runs here.
    """
    config = serving(model, apply.profile, apply.image, settings)
    untimed = replace(config, max_latency_ms=None, max_memory_bytes=None, sampling=None)
    labels = {PROFILE_LABEL: config.profile, REVISION_LABEL: apply.revision, COMPONENT_LABEL: STAGING}
    selected = {MODEL_LABEL: config.name, REVISION_LABEL: apply.revision, COMPONENT_LABEL: STAGING}
    spec = pod_spec(untimed, apply.revision)
    upcoming = next_label(node_label(config.namespace, config.name))
    tests = spec.pop("initContainers")
    first = [room.container(apply.room, SCRATCH)] if apply.room else []
    if before := [*first, *(tests if apply.staging == "Test" else ())]:
        spec["initContainers"] = before
    spec["affinity"] = on_nodes(config, {upcoming: staging_value(apply.revision)})
    name = staging_name(daemon_set_name(config.name, apply.revision))
    return waiting_daemon_set(
        model, name, apply.image, spec, labels=labels, selected=selected, pod_labels=labels_of(model, labels)
    )
