"""How a pod with Triton differs from one with our own server."""

from __future__ import annotations

from typing import Any

ACCEPT_SECONDS = 3
"""How long new requests are taken once a pod is to end, since the cluster's endpoints lag behind. Our own server does
so by itself; Triton closes its ports at SIGTERM."""

SCRATCH_LIMIT = "2Gi"
"""Room for compiled engines where the profile has no volume for them."""

METRICS_PORT = 8002
"""Triton's own default; the next that is free where a model has taken it."""


def readiness(model: str) -> str:
    """The path that says whether a model is loaded and warm."""
    return f"/v2/models/{model}/ready"


def metrics_port(port: int, grpc_port: int) -> int:
    """The port of the metrics, which has to be another than the two that an EdgeModel says."""
    return next(one for one in range(METRICS_PORT, METRICS_PORT + 3) if one not in (port, grpc_port))


def lifecycle() -> dict[str, Any]:
    """What the kubelet does before SIGTERM: wait. Every supported version of Kubernetes can run a command there."""
    return {"preStop": {"exec": {"command": ["python3", "-Sc", f"import time; time.sleep({ACCEPT_SECONDS})"]}}}
