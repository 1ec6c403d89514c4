"""What every Job of the builder's image is: one pod, one try, bounds, credentials, and a request as a file.

The operator makes the next Job itself where another try can help, so that a try is counted, explained and paused in one
place (`decide.retry`) and the user never waits for a back-off that nobody shows.

The deadline is the pod's, not the Job's: a Job's runs from its creation, so that Jobs that wait for a free node would
end without having run. A pod's runs from when its kubelet accepted it (`status.startTime`), so it counts pulling the
image and waiting for a Secret, and never waiting for a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import (
    ASKED_ANNOTATION,
    BUCKET_CA_ANNOTATION,
    BUILDER,
    COMPONENT_LABEL,
    NUMBER_ANNOTATION,
    REGISTRY_CA_ANNOTATION,
    REQUEST_ANNOTATION,
    TRIES_ANNOTATION,
)
from edgesmith.decide.entries import time_text
from edgesmith.decide.plan import StartBuild, StartLook
from edgesmith.decide.settings import Settings
from edgesmith.resources.common import TERMINATION_LOG, container_security, labels_of, metadata, pod_security
from edgesmith.resources.failure_policy import failure_policy
from edgesmith_builder.limits import WORK

REQUEST_FOLDER = "/etc/edgesmith"
REGISTRY_FOLDER = "/var/run/edgesmith/registry"

WORK_LIMIT = f"{-(-WORK // 2**30)}Gi"
"""Most that a build may write; a bound, nothing is set aside for it."""

_CREDENTIALS: Mapping[str, Mapping[str, bool]] = {
    "s3": {
        "AWS_ACCESS_KEY_ID": False,
        "AWS_SECRET_ACCESS_KEY": False,
        "AWS_SESSION_TOKEN": True,
        "AWS_ENDPOINT_URL": False,
        "AWS_REGION": True,
    },
    "https": {"HTTPS_HOST": False, "HTTPS_TOKEN": True, "HTTPS_USERNAME": True, "HTTPS_PASSWORD": True},
    "oci": {".dockerconfigjson": False},
}
"""Keys of the credentials Secret by the scheme of what they open, and whether a key may be absent.

Those of the first scheme here that an EdgeModel uses must be there, so that a Secret that is missing is noticed; of the
others all may be absent."""

_VARIABLES = {".dockerconfigjson": "SOURCE_DOCKERCONFIGJSON"}
"""What the builder calls keys that are no names of variables."""


def builder_job(
    model: EdgeModel,
    name: str,
    settings: Settings,
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    start: StartBuild | StartLook,
    request: str,
    uris: Iterable[str],
    words: Sequence[str] = (),
    login: bool,
) -> dict[str, Any]:
    """A Job of the builder's image.

    Args:
        model: The EdgeModel that owns it.
        name: Its name.
        settings: The installation's.
        labels: More labels of the Job and of its pod.
        annotations: More annotations of the Job.
        start: Why and when it is made.
        request: What is asked of the builder, as JSON.
        uris: Where the files are that it opens: it gets the credentials for those.
        words: What its command line begins with.
        login: Whether it gets the login that builds push with.
    """
    labels = {**labels, COMPONENT_LABEL: BUILDER}
    annotations = {
        TRIES_ANNOTATION: str(start.tries),
        NUMBER_ANNOTATION: str(start.number),
        ASKED_ANNOTATION: time_text(start.at),
        **annotations,
    }
    files = _files(request, settings)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(model, name, labels, annotations),
        "spec": {
            "backoffLimit": 0,
            "podFailurePolicy": failure_policy("builder"),
            "template": {
                "metadata": {
                    "labels": labels_of(model, labels),
                    "annotations": {name: text for name, _, _, text in files},
                },
                "spec": _pod(settings, files, words, _environment(model, settings, uris), login=login),
            },
        },
    }


_File = tuple[str, str, str, str]
"""What the builder reads from a file: the annotation that holds it, the flag that names it, its name, its text."""


def _files(request: str, settings: Settings) -> list[_File]:
    """What travels with the Job itself; nothing of it is secret, and no namespace needs an object of ours for it."""
    files = [
        (REQUEST_ANNOTATION, "--request", "request.json", request),
        (REGISTRY_CA_ANNOTATION, "--registry-ca", "registry-ca.pem", settings.registry_ca or ""),
        (BUCKET_CA_ANNOTATION, "--bucket-ca", "bucket-ca.pem", settings.bucket_ca or ""),
    ]
    return [file for file in files if file[3]]


def _pod(
    settings: Settings, files: list[_File], words: Sequence[str], environment: list[dict[str, Any]], *, login: bool
) -> dict[str, Any]:
    arguments = [*words, *(word for _, flag, name, _ in files for word in (flag, f"{REQUEST_FOLDER}/{name}"))]
    arguments += ["--termination-log", TERMINATION_LOG, "--work", "/tmp"]  # noqa: S108 -- the pod's own emptyDir
    mounts = [
        {"name": "request", "mountPath": REQUEST_FOLDER, "readOnly": True},
        {"name": "work", "mountPath": "/tmp"},  # noqa: S108 -- the pod's own emptyDir
    ]
    items = [
        {"path": name, "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}
        for annotation, _, name, _ in files
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "request", "downwardAPI": {"items": items}},
        {"name": "work", "emptyDir": {"sizeLimit": WORK_LIMIT}},
    ]
    if login and settings.push_secret:
        arguments += ["--registry-credentials", f"{REGISTRY_FOLDER}/.dockerconfigjson"]
        mounts.append({"name": "registry", "mountPath": REGISTRY_FOLDER, "readOnly": True})
        volumes.append({"name": "registry", "secret": {"secretName": settings.push_secret, "defaultMode": 0o440}})
    if settings.builder_image is None:
        raise ValueError("builder.enabled is false, so there is no builder image and nothing to make a Job of")
    container: dict[str, Any] = {
        "name": "builder",
        "image": settings.builder_image,
        "args": arguments,
        "env": environment,
        "resources": settings.builder_resources,
        "securityContext": container_security(),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": settings.builder_deadline_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": settings.builder_node_selector,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": volumes,
    }
    if settings.builder_service_account:
        pod["serviceAccountName"] = settings.builder_service_account
    if settings.pull_secret:
        pod["imagePullSecrets"] = [{"name": settings.pull_secret}]
    return pod


def _environment(model: EdgeModel, settings: Settings, uris: Iterable[str]) -> list[dict[str, Any]]:
    """The bucket's endpoint, and credentials for where the source and the sets are.

    From the Secret into the environment rather than a volume: of a Secret or a key that is missing the kubelet then
    says so in the pod's status, by name, and starts the pod once it is there. A volume would tell in events only.
    """
    secret = model.spec.source.secret
    if not secret:
        return [{"name": "AWS_ENDPOINT_URL", "value": settings.bucket_endpoint}] if settings.bucket_endpoint else []
    used = {scheme_of(uri) for uri in uris}
    schemes = [scheme for scheme in _CREDENTIALS if scheme in used]
    return [
        {
            "name": _VARIABLES.get(key, key),
            "valueFrom": {
                "secretKeyRef": {"name": secret, "key": key, "optional": optional or scheme != schemes[0]},
            },
        }
        for scheme in schemes
        for key, optional in _CREDENTIALS[scheme].items()
    ]


def scheme_of(uri: str) -> str:
    """The scheme of a URI."""
    return uri.partition("://")[0]
