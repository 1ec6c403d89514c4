"""Every method that can be called, by its path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesmith_runtime.extensions import REFUSED_CALLS
from edgesmith_runtime.rpc.call import Call, Method
from edgesmith_runtime.rpc.health import HealthMethods, asked_service
from edgesmith_runtime.rpc.methods import InferenceMethods
from edgesmith_runtime.rpc.reflection import NAMES as REFLECTION
from edgesmith_runtime.rpc.reflection import ReflectionMethods
from edgesmith_runtime.rpc.watchers import Watchers

if TYPE_CHECKING:
    from edgesmith_runtime.service import Service

__all__ = ["catalogue"]

_INFERENCE: Final = "inference.GRPCInferenceService"
_HEALTH: Final = "grpc.health.v1.Health"
_MOST_MESSAGES: Final = 1000
"""Of one call that asks for descriptions."""


def catalogue(service: Service) -> tuple[dict[bytes, Method], Watchers]:
    """Give the methods of a server, and those who watch it.

    Args:
        service: The model and the server's state.
    """
    methods, health, reflection = InferenceMethods(service), HealthMethods(service, (_INFERENCE,)), ReflectionMethods()
    watchers = Watchers(health.status)

    def watch(message: bytes | memoryview, call: Call) -> None:
        watchers.add(asked_service(message), call)

    found = _named(
        _INFERENCE,
        {
            "ServerLive": Method("health", methods.server_live),
            "ServerReady": Method("health", methods.server_ready),
            "ModelReady": Method("health", methods.model_ready),
            "ServerMetadata": Method("metadata", methods.server_metadata),
            "ModelMetadata": Method("metadata", methods.model_metadata),
            "ModelConfig": Method("metadata", methods.model_config),
            "ModelStatistics": Method("metadata", methods.model_statistics),
            "RepositoryIndex": Method("metadata", methods.repository_index),
            "ModelInfer": Method("infer", None, later=methods.model_infer),
            "ModelStreamInfer": Method("other", None, streams=True, later=methods.model_stream_infer),
        }
        | {name: Method("other", methods.refused(name)) for name in REFUSED_CALLS},
    )
    found |= _named(_HEALTH, {"Check": Method("health", health.check), "Watch": Method("health", watch)})
    told = Method("metadata", reflection.info, streams=True, most=_MOST_MESSAGES)
    for name in REFLECTION:
        found |= _named(name, {"ServerReflectionInfo": told})
    return found, watchers


def _named(service: str, methods: dict[str, Method]) -> dict[bytes, Method]:
    return {f"/{service}/{name}".encode(): method for name, method in methods.items()}
