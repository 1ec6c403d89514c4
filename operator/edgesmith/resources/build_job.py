"""The Job that makes one build: a Job of the builder with a key to sign with and a compiler beside it, where wanted."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import (
    ATTEMPT_ANNOTATION,
    BUILD_KEY_LABEL,
    BUILD_REASON_ANNOTATION,
    PROFILE_LABEL,
    job_name,
)
from edgesmith.decide.plan import StartBuild
from edgesmith.decide.settings import Settings
from edgesmith.decide.toolchain import builder_image
from edgesmith.resources.builder_job import builder_job
from edgesmith.resources.compiler import FOLDER, MOUNT, VOLUME, compiler_container
from edgesmith.resources.names import repository
from edgesmith_builder.contract import TOOLCHAINS, Build, BuildRequest

SIGNING_FOLDER = "/var/run/edgesmith/signing"

SIGNING_KEY = "cosign.key"
"""Key of the signing Secret with the private key in PEM; cosign writes such a Secret itself, with these names."""
SIGNING_PASSWORD = "cosign.password"  # noqa: S105 - its name
"""Key of the signing Secret with the private key's password; absent where it has none."""

_MACHINE = {"kubernetes.io/arch": "amd64"}
"""Builders with a vendor's packages are for amd64 only, as these packages' compilers and simulators are."""


def build_job(model: EdgeModel, start: StartBuild, settings: Settings) -> dict[str, Any]:
    """The Job for one build."""
    annotations = {ATTEMPT_ANNOTATION: start.attempt} if start.attempt else {}
    if start.reason:
        annotations[BUILD_REASON_ANNOTATION] = json.dumps([asdict(change) for change in start.reason], sort_keys=True)
    request = BuildRequest(
        build=start.build,
        repository=repository(model, settings),
        plain_http=settings.plain_http,
        alternative=start.alternative if start.build.reference else None,
        sizes=dict(start.sizes),
        earlier=start.earlier,
        known=start.known,
    )
    job = builder_job(
        model,
        job_name(start.build.key, start.attempt, start.tries),
        settings,
        labels={PROFILE_LABEL: start.profile.metadata.name, BUILD_KEY_LABEL: start.build.key},
        annotations=annotations,
        start=start,
        request=request.to_json(),
        uris=[file.uri for file in model.spec.files.values()],
        login=True,
    )
    pod = job["spec"]["template"]["spec"]
    image = builder_image(start.build.toolchain.name, settings)
    if image is None:
        raise ValueError(f"there is no builder image for the toolchain {start.build.toolchain.name}")
    pod["containers"][0]["image"] = image
    pod["containers"][0]["args"] += ["--builder-image", image]
    pod["containers"][0]["args"] += ["--candidate-seconds", str(candidate_seconds(start.build, settings))]
    if TOOLCHAINS[start.build.toolchain.name].builder:
        pod["nodeSelector"] = settings.builder_node_selector | _MACHINE
    if settings.signing_secret:
        _sign(pod, settings.signing_secret)
    if start.build.toolchain.compiler_image:
        _compile(pod, start.build.toolchain.compiler_image, settings)
    return job


def candidate_seconds(build: Build, settings: Settings) -> int:
    """How long one candidate may take: an equal part of the deadline, with one for what comes before them.

    So a build all of whose candidates hang has the time to say so.
    """
    return settings.builder_deadline_seconds // (len(build.ladder) + 1)


def _sign(pod: dict[str, Any], secret: str) -> None:
    """Give the builder the key that it signs with, and its password where the Secret has one."""
    builder = pod["containers"][0]
    builder["args"] += ["--signing-key", f"{SIGNING_FOLDER}/{SIGNING_KEY}"]
    builder["volumeMounts"].append({"name": "signing", "mountPath": SIGNING_FOLDER, "readOnly": True})
    items = [{"key": SIGNING_KEY, "path": SIGNING_KEY}]
    source = {"secretName": secret, "items": items, "defaultMode": 0o440}
    pod["volumes"].append({"name": "signing", "secret": source})
    password = {"name": secret, "key": SIGNING_PASSWORD, "optional": True}
    builder["env"].append({"name": "COSIGN_PASSWORD", "valueFrom": {"secretKeyRef": password}})


def _compile(pod: dict[str, Any], image: str, settings: Settings) -> None:
    """Put the container that compiles beside the builder."""
    builder = pod["containers"][0]
    builder["args"] += ["--compiler", FOLDER]
    builder["volumeMounts"].append(MOUNT)
    pod["volumes"].append(VOLUME)
    pod["initContainers"] = [compiler_container(image, settings)]
