"""What Triton's extensions ask of a server beside inferences: told where there is something to tell, refused otherwise.

https://github.com/triton-inference-server/server/tree/main/docs/protocol describes them, a page each.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.errors import Unsupported
from edgesmith_runtime.signature import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesmith_runtime.service import Service

__all__ = ["REFUSED", "REFUSED_CALLS", "model_statistics", "repository_index"]

REFUSED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "load": "models are not loaded by request; expected a new revision of the EdgeModel",
        "unload": "the model is not unloaded by request; expected the end of its pod",
        "sharedmemory": "shared memory is not supported; expected tensors in the request and the answer",
        "trace": "there are no traces to set; expected /metrics or the model's statistics",
        "logging": "the log is not set by request; expected nothing to be asked of it",
    }
)
"""What is refused, each with its sentence."""

REFUSED_CALLS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "RepositoryModelLoad": "load",
        "RepositoryModelUnload": "unload",
        "TraceSetting": "trace",
        "LogSettings": "logging",
    }
    | {
        f"{kind}SharedMemory{what}": "sharedmemory"
        for kind in ("System", "Cuda")
        for what in ("Status", "Register", "Unregister")
    }
)
"""Calls of ``inference.GRPCInferenceService`` that are refused, and as what."""


def repository_index(service: Service, repository: str = "", *, ready: bool = False) -> list[dict[str, str]]:
    """List the models there are: one.

    Args:
        service: The model and the server's state.
        repository: The repository's name; ours has none.
        ready: Whether to list only what takes requests.

    Returns:
        The fields of Triton's ``ModelIndex`` by name.

    Raises:
        Unavailable: The model is not loaded yet.
        Unsupported: A repository is named.
    """
    if repository:
        raise Unsupported(f"repository {repository[:100]!r} is not served here; expected none to be named")
    name = service.model().signature.name
    if service.ready:
        return [{"name": name, "version": VERSION, "state": "READY"}]
    state = "UNLOADING" if service.draining else "UNAVAILABLE"
    reason = "the server is stopping" if service.draining else "a run of the model hangs"
    return [] if ready else [{"name": name, "version": VERSION, "state": state, "reason": reason}]


def model_statistics(service: Service, name: str | None = None, version: str = "") -> dict[str, Any]:
    """Tell how many inferences there were and what they took.

    Args:
        service: The model and the server's state.
        name: The model's name; None for whichever there is.
        version: Its version; empty for any.

    Returns:
        The fields of Triton's ``ModelStatisticsResponse`` by name.

    Raises:
        Unavailable: The model is not loaded yet.
        NotFound: Another model or version is served.
    """
    signature = service.model(name, version).signature
    return {"model_stats": [{"name": signature.name, "version": VERSION} | service.statistics.document()]}
