"""Where a Service is, as the kubelet says it in a pod's environment: no name is looked up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["service_of"]


def service_of(name: str, environment: Mapping[str, str] = os.environ) -> tuple[str, int] | None:
    """Where the Service of a name is, by the variables that Kubernetes makes for each.

    Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables

    Args:
        name: The Service's, which is the EdgeModel's.
        environment: The variables.

    Returns:
        Its address and the port for HTTP; None where the variables say nothing of it.
    """
    prefix = name.upper().replace("-", "_")
    host = environment.get(f"{prefix}_SERVICE_HOST", "")
    port = environment.get(f"{prefix}_SERVICE_PORT_HTTP", "")
    return (host, int(port)) if host and port.isascii() and port.isdigit() else None
