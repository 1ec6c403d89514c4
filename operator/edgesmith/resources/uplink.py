"""What a serving pod has more where its node sends samples home: a volume and the container that sends."""

from __future__ import annotations

import json
from typing import Any

from edgesmith.api.names import BUCKET_CA_ANNOTATION
from edgesmith.decide.sampling import Sampling
from edgesmith.resources.common import TERMINATION_LOG, container_security, literal

UPLINK = "uplink"
"""The container's name."""
DRAIN_SECONDS = 20
"""How long it goes on sending once the server has ended."""

_SPOOL = "/spool"
_CREDENTIALS = "/credentials"
_TRUST = "/etc/edgesmith"
_CA = "bucket-ca.pem"
_SPARE = 32 << 20
"""Bytes of the volume beyond what may wait: the kubelet evicts a pod whose volume is above its limit."""
_RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "96Mi"}}

NODE = {"name": "EDGESMITH_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
"""The variable that has the node's name."""
MOUNT = {"name": "spool", "mountPath": _SPOOL}


def server_arguments(sampling: Sampling) -> list[str]:
    """What the server is told of samples."""
    found = [
        *("--spool", _SPOOL),
        *("--sample-bytes-per-day", str(sampling.day_bytes)),
        *("--spool-bytes", str(sampling.disk_bytes)),
        *("--random-share", f"{sampling.random_share:.12g}"),
    ]
    if sampling.rules:
        found += ["--redact", literal(sampling.rules)]
    if sampling.command:
        found += ["--redact-command", literal(json.dumps(sampling.command))]
    return found


def container(sampling: Sampling, image: str, owner: str) -> dict[str, Any]:
    """The container that sends: the kubelet starts it before the server and ends it after that.

    Args:
        sampling: What it is to do.
        image: The image that serves, which has it too.
        owner: `NAMESPACE/MODEL`.
    """
    arguments = ["uplink", "--bucket", sampling.place, "--owner", owner, "--spool", _SPOOL]
    arguments += ["--credentials", _CREDENTIALS, "--bytes-per-second", str(sampling.second_bytes)]
    arguments += ["--drain-seconds", str(DRAIN_SECONDS), "--termination-log", TERMINATION_LOG]
    if sampling.endpoint:
        arguments += ["--endpoint", literal(sampling.endpoint)]
    mounts = [MOUNT, {"name": "sample-store", "mountPath": _CREDENTIALS, "readOnly": True}]
    if sampling.authorities:
        arguments += ["--bucket-ca", f"{_TRUST}/{_CA}"]
        mounts.append({"name": "trust", "mountPath": _TRUST, "readOnly": True})
    return {
        "name": UPLINK,
        "restartPolicy": "Always",
        "image": image,
        "args": arguments,
        "env": [NODE],
        "resources": _RESOURCES,
        "securityContext": container_security(),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }


def volumes(sampling: Sampling) -> list[dict[str, Any]]:
    """The spool, the keys and whom to trust. A Secret that is not there yet must not keep the server from starting."""
    secret = {"secretName": sampling.secret, "optional": True, "defaultMode": 0o440}
    found: list[dict[str, Any]] = [
        {"name": "spool", "emptyDir": {"sizeLimit": str(sampling.disk_bytes + _SPARE)}},
        {"name": "sample-store", "secret": secret},
    ]
    if sampling.authorities:
        item = {"path": _CA, "fieldRef": {"fieldPath": f"metadata.annotations['{BUCKET_CA_ANNOTATION}']"}}
        found.append({"name": "trust", "downwardAPI": {"items": [item]}})
    return found


def pod_annotations(sampling: Sampling) -> dict[str, str]:
    """Annotations of the pod."""
    return {BUCKET_CA_ANNOTATION: sampling.authorities} if sampling.authorities else {}
