"""The DaemonSet of one revision: it runs wherever the EdgeModel's node label names the revision, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import (
    BUILD_ANNOTATION,
    BUILT_IMAGE_ANNOTATION,
    COMPONENT_LABEL,
    MODEL_LABEL,
    PROFILE_LABEL,
    REVISION_LABEL,
    SERVER,
    UPLINK_LABEL,
    daemon_set_name,
    next_label,
    node_label,
)
from edgesmith.decide.devices import devices_in
from edgesmith.decide.plan import ApplyRevision
from edgesmith.decide.profiles import ARCHITECTURE_LABEL
from edgesmith.decide.serving import START_SECONDS, Serving, serving
from edgesmith.decide.settings import Settings
from edgesmith.resources import triton, uplink
from edgesmith.resources.common import TERMINATION_LOG, container_security, labels_of, metadata, pod_security

GRACE_SECONDS = 30
"""Kubernetes' time for a pod to end; the server drains in `DRAIN_SECONDS` of it. One that lingers has longer."""
DRAIN_SECONDS = 20
LINGER_SECONDS = 15
"""How long a server that is to end goes on while it is asked: its successor starts, in some 5 to 12 seconds.

No longer, so that the self-test's third try, after the kubelet's pause of 10 s, has the node to itself.
"""

BUNDLE = "/model"
SCRATCH = "/tmp"  # noqa: S108 -- the pod's own emptyDir
SCRATCH_LIMIT = "64Mi"
TRITON = "Triton"


def daemon_set(model: EdgeModel, apply: ApplyRevision, settings: Settings) -> dict[str, Any]:
    """The DaemonSet of the revision that the spec asks for.

    Raises:
        ValueError: The revision is not what the EdgeModel, profile, image and settings make: its template would change
            under its name.
    """
    config = serving(model, apply.profile, apply.image, settings)
    if config.revision != apply.revision:
        raise ValueError(f"revision {apply.revision} is not {config.revision}, which its parts make")
    labels = {PROFILE_LABEL: config.profile, REVISION_LABEL: apply.revision, COMPONENT_LABEL: SERVER}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(model, daemon_set_name(config.name, apply.revision), labels, _annotations(apply)),
        "spec": {
            # A revision never changes, only labels move; so nothing is ever to be replaced in place.
            "updateStrategy": {"type": "OnDelete"},
            "selector": {
                "matchLabels": {MODEL_LABEL: config.name, REVISION_LABEL: apply.revision, COMPONENT_LABEL: SERVER}
            },
            "template": {
                "metadata": {
                    "labels": labels_of(model, labels | ({UPLINK_LABEL: "bucket"} if config.sampling else {})),
                    "annotations": {
                        # Readiness of a thousand pods would refresh the whole tree in Argo CD each time.
                        "argocd.argoproj.io/ignore-resource-updates": "true",
                        **(uplink.pod_annotations(config.sampling) if config.sampling else {}),
                    },
                },
                "spec": pod_spec(config, apply.revision),
            },
        },
    }


def _annotations(apply: ApplyRevision) -> dict[str, str]:
    built = {BUILT_IMAGE_ANNOTATION: apply.built} if apply.built else {}
    return {BUILD_ANNOTATION: apply.build.to_json(), **built}


def pod_spec(config: Serving, revision: str) -> dict[str, Any]:
    """The pod of one revision; raise `serving.TEMPLATE_VERSION` with every change of it."""
    key = node_label(config.namespace, config.name)
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        # Where the EdgeModel's Service is: there a server asks the one before it how its requests went.
        "enableServiceLinks": config.server is None,
        "terminationGracePeriodSeconds": GRACE_SECONDS + _linger(config) + _drain(config),
        "securityContext": pod_security(),
        "affinity": on_nodes(config, {key: revision}, {next_label(key): revision}),
        "initContainers": [{"name": "selftest", "args": _selftest(config), **_container(config)}],
        "containers": [_server(config)],
        "volumes": [
            {"name": "scratch", "emptyDir": {"sizeLimit": _scratch(config)}},
            *map(_volume, config.volumes or ()),
        ],
    }
    if config.sampling:
        owner = f"{config.namespace}/{config.name}"
        pod["initContainers"].append(uplink.container(config.sampling, config.image, owner))
        pod["volumes"] += uplink.volumes(config.sampling)
    if config.tolerations:
        pod["tolerations"] = [dict(toleration) for toleration in config.tolerations]
    if config.runtime_class:
        pod["runtimeClassName"] = config.runtime_class
    if config.pull_secret:
        pod["imagePullSecrets"] = [{"name": config.pull_secret}]
    return pod


def on_nodes(config: Serving, *labels: Mapping[str, str]) -> dict[str, Any]:
    """The affinity to nodes of the variant's architecture that have all labels of one of some sets."""
    # An image of another architecture would only fail there, over and over.
    able = {"key": ARCHITECTURE_LABEL, "operator": "In", "values": [config.architecture]}
    terms = [
        {"matchExpressions": [*({"key": key, "operator": "In", "values": [one]} for key, one in wanted.items()), able]}
        for wanted in labels
    ]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _server(config: Serving) -> dict[str, Any]:
    ports = {"http": config.port, "grpc": config.grpc_port}
    # What a server found out in a run before this one of its container; its scratch volume outlives both.
    path = "/v2/health/ready"
    differing: dict[str, Any] = {"env": [{"name": "EDGESMITH_NOTES", "value": SCRATCH}]}
    if config.server == TRITON:
        ports["metrics"] = triton.metrics_port(config.port, config.grpc_port)
        path, differing = triton.readiness(config.name), {"lifecycle": triton.lifecycle()}
    container = _container(config)
    if config.sampling:
        differing["env"] = [*differing["env"], uplink.NODE]
        container["volumeMounts"] = [*container["volumeMounts"], uplink.MOUNT]
    on_host = {"http": config.host_http_port, "grpc": config.host_grpc_port}
    listening = [word for name, number in ports.items() for word in (f"--{name}-port", str(number))]
    lingering = ["--linger-seconds", str(seconds)] if (seconds := _linger(config)) else []
    ready = {"httpGet": {"path": path, "port": "http"}}
    live = {"httpGet": {"path": "/v2/health/live", "port": "http"}}
    return {
        "name": "server",
        "args": ["serve", *_served(config), *listening, *lingering, *_serving(config)],
        "ports": [_port(name, number, on_host.get(name)) for name, number in ports.items()],
        "startupProbe": {
            **ready,
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": config.start_seconds or START_SECONDS,
        },
        "readinessProbe": {**ready, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {**live, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        **differing,
        **container,
    }


def _linger(config: Serving) -> int:
    """How long a server that is to end goes on while it is asked.

    Not at all where the next one can only start once it has gone, since it holds what that needs: a device, memory, or
    a port of the node. Triton closes its ports at SIGTERM.
    """
    holds = config.crowded or config.host_http_port or config.host_grpc_port or devices_in(config.resources)
    return 0 if holds or config.server == TRITON else LINGER_SECONDS


def _drain(config: Serving) -> int:
    """How much longer the pod has for what waits to be sent."""
    return uplink.DRAIN_SECONDS if config.sampling else 0


def _serving(config: Serving) -> list[str]:
    """How it is served."""
    judging = (word for option, value in sorted((config.judging or {}).items()) for word in (option, f"{value:.12g}"))
    seen = ["--privacy", config.privacy] if config.privacy else []
    if config.drift_cycle is not None:
        seen += ["--drift-cycle-seconds", f"{config.drift_cycle:.12g}"]
    seen += uplink.server_arguments(config.sampling) if config.sampling else []
    return ["--drain-seconds", str(DRAIN_SECONDS), *_batch(config), *_together(config), *judging, *seen]


def _served(config: Serving) -> list[str]:
    """What is served, and what clients call it: an image may be that of several EdgeModels."""
    return ["--bundle", BUNDLE, "--name", config.name]


def _scratch(config: Serving) -> str:
    return triton.SCRATCH_LIMIT if config.server == TRITON else SCRATCH_LIMIT


def _port(name: str, port: int, on_host: int | None) -> dict[str, Any]:
    exposed = {"hostPort": on_host} if on_host else {}
    return {"name": name, "containerPort": port, **exposed, "protocol": "TCP"}


def _batch(config: Serving) -> list[str]:
    return [] if config.max_batch is None else ["--max-batch", str(config.max_batch)]


def _together(config: Serving) -> list[str]:
    """How requests that come at once are run together."""
    if config.batching is None:
        return []
    milliseconds, size = config.batching
    return ["--batch-latency-ms", f"{milliseconds:g}", *(["--batch-size", str(size)] if size else [])]


def _selftest(config: Serving) -> list[str]:
    arguments = ["selftest", *_served(config), "--termination-log", TERMINATION_LOG, *_batch(config)]
    if config.max_latency_ms is not None:
        arguments += ["--max-latency-ms", f"{config.max_latency_ms:g}"]
    if config.max_memory_bytes is not None:
        arguments += ["--max-memory-bytes", str(config.max_memory_bytes)]
    return arguments


def _container(config: Serving) -> dict[str, Any]:
    """What both containers share; the same limits, so that the self-test measures what the server will have."""
    return {
        "image": config.image,
        "resources": config.resources,
        "securityContext": container_security(),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "scratch", "mountPath": SCRATCH},
            *map(_mount, config.volumes or ()),
        ],
    }


def _volume(wanted: Mapping[str, Any]) -> dict[str, Any]:
    # A folder that is made by the kubelet would be root's, and the server could not write to it.
    return {"name": wanted["name"], "hostPath": {"path": wanted["hostPath"], "type": "Directory"}}


def _mount(wanted: Mapping[str, Any]) -> dict[str, Any]:
    read_only = {"readOnly": True} if wanted["readOnly"] else {}
    return {"name": wanted["name"], "mountPath": wanted["mountPath"], **read_only}
