"""The Jobs that an episode of drift starts: one that sends an event, and one that trains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgesmith.api.drift_status import EpisodeStatus
from edgesmith.api.edgemodel import PLURAL, EdgeModel
from edgesmith.api.names import (
    API_VERSION,
    BUCKET_CA_ANNOTATION,
    COMPONENT_LABEL,
    EPISODE_LABEL,
    GROUP,
    MODEL_LABEL,
    RETRAINING,
    RETRAINING_LABEL,
    retraining_name,
)
from edgesmith.api.retraining import RetrainingEvent, RetrainingJob
from edgesmith.api.units import parse_duration
from edgesmith.decide.plan import StartRetraining
from edgesmith.decide.settings import Settings
from edgesmith.resources.common import container_security, literal, metadata, pod_security
from edgesmith.resources.failure_policy import failure_policy

EVENT_TYPE = f"dev.{GROUP.removesuffix('.dev')}.drift.began"
SECRET_KEY = "secret"  # noqa: S105 - the key's name
_KEPT_SECONDS = 7 * 86400
_EVENT_DEADLINE = 86400
"""Seconds in which an event is tried to be delivered."""
_TRUST = "/etc/edgesmith"
_CA = "bucket-ca.pem"
_EVENT_RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}


def retraining_job(model: EdgeModel, start: StartRetraining, settings: Settings) -> dict[str, Any]:
    """The Job for one thing that an episode starts."""
    episode, asked = start.drift.episode, model.spec.feedback.retraining
    if episode is None or asked is None:
        raise ValueError("nothing is started without an episode and a spec that asks for it")
    name = retraining_name(model.metadata.name, episode.id, start.what)
    annotations: dict[str, str] = {}
    policy: dict[str, Any] = {}
    if start.what == "event" and asked.event is not None:
        pod, deadline, retries = _event_pod(model, asked.event, start, episode, settings), _EVENT_DEADLINE, 4
        annotations = {BUCKET_CA_ANNOTATION: settings.bucket_ca} if settings.bucket_ca else {}
        policy = {"podFailurePolicy": failure_policy("event")}
    elif asked.job is not None:
        pod = _training_pod(model, asked.job, start, episode, settings)
        deadline, retries = int(parse_duration(asked.job.deadline).total_seconds()), asked.job.retries
    else:
        raise ValueError(f"spec.feedback.retraining has no {start.what}")
    labels = {EPISODE_LABEL: episode.id, RETRAINING_LABEL: start.what, COMPONENT_LABEL: RETRAINING}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(model, name, labels),
        "spec": {
            "backoffLimit": retries,
            **policy,
            "activeDeadlineSeconds": deadline,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {
                # Without the label that the operator watches its children by: nothing is to be known of these pods.
                "metadata": {
                    "labels": {MODEL_LABEL: model.metadata.name, **labels},
                    **({"annotations": annotations} if annotations else {}),
                },
                "spec": pod,
            },
        },
    }


def cloud_event(model: EdgeModel, start: StartRetraining, episode: EpisodeStatus) -> dict[str, Any]:
    """The event in CloudEvents' structured mode (version 1.0); its id is the episode's, however often it is sent."""
    place = f"{model.metadata.namespace}/{PLURAL}/{model.metadata.name}"
    return {
        "specversion": "1.0",
        "id": episode.id,
        "source": f"/apis/{API_VERSION}/namespaces/{place}",
        "type": EVENT_TYPE,
        "subject": f"{model.metadata.namespace}/{model.metadata.name}",
        "time": episode.began,
        "datacontenttype": "application/json",
        "data": _facts(model, start, episode) | {"message": start.message},
    }


def _facts(model: EdgeModel, start: StartRetraining, episode: EpisodeStatus) -> dict[str, Any]:
    bucket, drift = model.spec.feedback.bucket, start.drift
    return {
        "episode": episode.id,
        "began": episode.began,
        "namespace": model.metadata.namespace,
        "name": model.metadata.name,
        "source": {"uri": start.uri, "sha256": episode.of},
        "samples": bucket.uri if bucket is not None else None,
        "drifted": drift.drifted,
        "nodes": [{"name": one.name, "since": one.since, "features": list(one.features)} for one in drift.nodes],
        "features": [{"name": one.name, "nodes": one.nodes} for one in drift.features],
    }


def _event_pod(
    model: EdgeModel, asked: RetrainingEvent, start: StartRetraining, episode: EpisodeStatus, settings: Settings
) -> dict[str, Any]:
    event = json.dumps(cloud_event(model, start, episode), sort_keys=True, separators=(",", ":"))
    environment: list[dict[str, Any]] = [
        {"name": "EDGESMITH_EVENT_URI", "value": literal(asked.uri)},
        {"name": "EDGESMITH_EVENT", "value": literal(event)},
    ]
    if asked.secret_ref is not None:
        reference = {"name": asked.secret_ref.name, "key": SECRET_KEY}
        environment.append({"name": "EDGESMITH_EVENT_SECRET", "valueFrom": {"secretKeyRef": reference}})
    container: dict[str, Any] = {
        "name": "event",
        "image": settings.builder_image,
        "args": ["notify"],
        "env": environment,
        "resources": _EVENT_RESOURCES,
    }
    pod = _pod(container, settings.builder_node_selector, settings)
    return _trusting(pod) if settings.bucket_ca else pod


def _trusting(pod: dict[str, Any]) -> dict[str, Any]:
    """A pod whose container trusts the authorities in the pod's annotation."""
    (container,) = pod["containers"]
    item = {"path": _CA, "fieldRef": {"fieldPath": f"metadata.annotations['{BUCKET_CA_ANNOTATION}']"}}
    mount = {"name": "trust", "mountPath": _TRUST, "readOnly": True}
    trusting = container | {
        "args": [*container["args"], "--bucket-ca", f"{_TRUST}/{_CA}"],
        "volumeMounts": [*container["volumeMounts"], mount],
    }
    return pod | {
        "containers": [trusting],
        "volumes": [*pod["volumes"], {"name": "trust", "downwardAPI": {"items": [item]}}],
    }


def _training_pod(
    model: EdgeModel, asked: RetrainingJob, start: StartRetraining, episode: EpisodeStatus, settings: Settings
) -> dict[str, Any]:
    facts = _facts(model, start, episode)
    own = {
        "EDGESMITH_EPISODE": episode.id,
        "EDGESMITH_NAMESPACE": model.metadata.namespace,
        "EDGESMITH_MODEL": model.metadata.name,
        "EDGESMITH_SOURCE": start.uri,
        "EDGESMITH_SOURCE_SHA256": episode.of,
        "EDGESMITH_SAMPLES": facts["samples"] or "",
        "EDGESMITH_DRIFT": json.dumps(facts, sort_keys=True, separators=(",", ":")),
    }
    given = {name: value for name, value in asked.env.items() if not name.startswith("EDGESMITH_")}
    container: dict[str, Any] = {
        "name": "training",
        "image": asked.image,
        "env": [{"name": name, "value": value} for name, value in sorted(given.items())]
        + [{"name": name, "value": literal(value)} for name, value in own.items()],
        "envFrom": [{"secretRef": {"name": one.name}} for one in asked.secret_refs],
        "resources": asked.resources or {},
    }
    if asked.command:
        container["command"] = list(asked.command)
    if asked.args:
        container["args"] = list(asked.args)
    pod = _pod(container, asked.node_selector, settings)
    if asked.service_account:
        pod |= {"serviceAccountName": asked.service_account, "automountServiceAccountToken": True}
    return pod


def _pod(container: dict[str, Any], selector: Mapping[str, str], settings: Settings) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": dict(selector),
        "securityContext": pod_security(),
        "containers": [
            container
            | {
                "securityContext": container_security(),
                "volumeMounts": [{"name": "work", "mountPath": "/tmp"}],  # noqa: S108 -- the pod's own emptyDir
            }
        ],
        "volumes": [{"name": "work", "emptyDir": {}}],
    }
    if settings.pull_secret:
        pod["imagePullSecrets"] = [{"name": settings.pull_secret}]
    return pod
