"""The Job that makes one build.

One pod, one try: the operator makes the next Job itself where another try can help, so that a try is counted, explained
and paused in one place (`decide.retry`) and the user never waits for a back-off that nobody shows.

The deadline is the pod's, not the Job's: a Job's runs from its creation, so that Jobs that wait for a free node would
end without having run. A pod's runs from when its kubelet accepted it (`status.startTime`), so it counts pulling the
image and waiting for a Secret, and never waiting for a node.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import (
    ATTEMPT_ANNOTATION,
    BUCKET_CA_ANNOTATION,
    BUILD_KEY_LABEL,
    BUILD_REASON_ANNOTATION,
    BUILDER,
    COMPONENT_LABEL,
    PROFILE_LABEL,
    REGISTRY_CA_ANNOTATION,
    REQUEST_ANNOTATION,
    TRIES_ANNOTATION,
    job_name,
)
from edgesmith.decide.plan import StartBuild
from edgesmith.decide.settings import Settings
from edgesmith.resources.common import TERMINATION_LOG, container_security, labels_of, metadata, pod_security
from edgesmith.resources.compiler import FOLDER, MOUNT, VOLUME, compiler_container
from edgesmith.resources.names import repository
from edgesmith_builder.contract import Build, BuildRequest
from edgesmith_builder.limits import WORK

REQUEST_FOLDER = "/etc/edgesmith"
REGISTRY_FOLDER = "/var/run/edgesmith/registry"
SIGNING_FOLDER = "/var/run/edgesmith/signing"

SIGNING_KEY = "cosign.key"
"""Key of the signing Secret with the private key in PEM; cosign writes such a Secret itself, with these names."""
SIGNING_PASSWORD = "cosign.password"  # noqa: S105 - its name
"""Key of the signing Secret with the private key's password; absent where it has none."""

WORK_LIMIT = f"{-(-WORK // 2**30)}Gi"
"""Most that a build may write; a bound, nothing is set aside for it."""

EXIT_FINAL = 1
"""The builder's exit status where no retry can help."""
EXIT_RETRY = 2
"""The builder's exit status where one can."""

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


def build_job(model: EdgeModel, start: StartBuild, settings: Settings) -> dict[str, Any]:
    """The Job for one build."""
    labels = {
        PROFILE_LABEL: start.profile.metadata.name,
        BUILD_KEY_LABEL: start.build.key,
        COMPONENT_LABEL: BUILDER,
    }
    annotations = {TRIES_ANNOTATION: str(start.tries)}
    if start.attempt:
        annotations[ATTEMPT_ANNOTATION] = start.attempt
    if start.reason:
        annotations[BUILD_REASON_ANNOTATION] = json.dumps([asdict(change) for change in start.reason], sort_keys=True)
    files = _files(_request(model, start, settings), settings)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(
            model, job_name(model.metadata.name, start.build.key, start.attempt, start.tries), labels, annotations
        ),
        "spec": {
            "backoffLimit": 0,
            "podFailurePolicy": {
                "rules": [
                    # A node that is drained says nothing about the build: the pod starts anew elsewhere.
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    _on_exit("FailJob", EXIT_FINAL),
                    _on_exit("Count", EXIT_RETRY),
                ]
            },
            "template": {
                "metadata": {
                    "labels": labels_of(model, labels),
                    "annotations": {name: text for name, _, _, text in files},
                },
                "spec": _pod(model, start.build, settings, files),
            },
        },
    }


def _request(model: EdgeModel, start: StartBuild, settings: Settings) -> str:
    request = BuildRequest(build=start.build, repository=repository(model, settings), plain_http=settings.plain_http)
    return request.to_json()


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


def _pod(model: EdgeModel, build: Build, settings: Settings, files: list[_File]) -> dict[str, Any]:
    arguments = [word for _, flag, name, _ in files for word in (flag, f"{REQUEST_FOLDER}/{name}")]
    arguments += ["--builder-image", settings.builder_image]
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
    if settings.push_secret:
        arguments += ["--registry-credentials", f"{REGISTRY_FOLDER}/.dockerconfigjson"]
        mounts.append({"name": "registry", "mountPath": REGISTRY_FOLDER, "readOnly": True})
        volumes.append({"name": "registry", "secret": {"secretName": settings.push_secret, "defaultMode": 0o440}})
    if settings.signing_secret:
        arguments += ["--signing-key", f"{SIGNING_FOLDER}/{SIGNING_KEY}"]
        mounts.append({"name": "signing", "mountPath": SIGNING_FOLDER, "readOnly": True})
        items = [{"key": SIGNING_KEY, "path": SIGNING_KEY}]
        source = {"secretName": settings.signing_secret, "items": items, "defaultMode": 0o440}
        volumes.append({"name": "signing", "secret": source})
    compiler = build.toolchain.compiler_image
    if compiler:
        arguments += ["--compiler", FOLDER]
        mounts.append(MOUNT)
        volumes.append(VOLUME)
    container: dict[str, Any] = {
        "name": "builder",
        "image": settings.builder_image,
        "args": arguments,
        "env": [*_environment(model, settings), *_password(settings)],
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
    if compiler:
        pod["initContainers"] = [compiler_container(compiler, settings)]
    if settings.builder_service_account:
        pod["serviceAccountName"] = settings.builder_service_account
    if settings.pull_secret:
        pod["imagePullSecrets"] = [{"name": settings.pull_secret}]
    return pod


def _environment(model: EdgeModel, settings: Settings) -> list[dict[str, Any]]:
    """The bucket's endpoint, and credentials for where the source and the sets are.

    From the Secret into the environment rather than a volume: of a Secret or a key that is missing the kubelet then
    says so in the pod's status, by name, and starts the pod once it is there. A volume would tell in events only.
    """
    secret = model.spec.source.secret
    if not secret:
        return [{"name": "AWS_ENDPOINT_URL", "value": settings.bucket_endpoint}] if settings.bucket_endpoint else []
    files = (model.spec.source, model.spec.calibration, model.spec.evaluation)
    used = {file.uri.partition("://")[0] for file in files if file}
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


def _password(settings: Settings) -> list[dict[str, Any]]:
    """The signing key's password, where the Secret has one."""
    if not settings.signing_secret:
        return []
    source = {"name": settings.signing_secret, "key": SIGNING_PASSWORD, "optional": True}
    return [{"name": "COSIGN_PASSWORD", "valueFrom": {"secretKeyRef": source}}]


def _on_exit(action: str, code: int) -> dict[str, Any]:
    return {"action": action, "onExitCodes": {"containerName": "builder", "operator": "In", "values": [code]}}
