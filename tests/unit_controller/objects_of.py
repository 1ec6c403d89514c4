"""Kubernetes objects for tests, as short as they can be."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def model(name: str, *, version: int = 1, **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(version)},
        "spec": {
            "source": {"uri": "s3://models/x", "sha256": "0" * 64},
            "deviceProfiles": {"names": ["p"]},
            **spec,
        },
    }


def unreadable_model(name: str, *, version: int = 1, **status: Any) -> Object:
    """An EdgeModel of a version to come, in which ports have names."""
    found = model(name, version=version, serving={"port": "http"})
    found["metadata"]["generation"] = 7
    return {**found, "status": status}


def profile(name: str, *, version: int = 1, device: str = "") -> Object:
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)},
        "spec": {"nodeSelector": {"device": device or name}, "platform": {"architecture": "amd64"}},
    }


def node(name: str, labels: dict[str, str] | None = None, *, ready: str = "True", version: int = 1) -> Object:
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version), "labels": labels or {}},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(name: str, *, version: int = 1, labels: dict[str, str] | None = None, **status: Any) -> Object:
    own = {"edgesmith.dev/model": "m", "edgesmith.dev/revision": "r1"} if labels is None else labels
    metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(version), "labels": own}
    return {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": status}
