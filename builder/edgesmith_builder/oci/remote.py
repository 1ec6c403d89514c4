"""A blob that lies in one registry and is wanted in another."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from edgesmith_builder.oci.content import Descriptor
from edgesmith_builder.oci.reference import Repository
from edgesmith_builder.oci.registry import Registry


class RemoteBlob:
    """A blob in one registry on its way to another: streamed through, never whole in memory or on disk."""

    def __init__(self, registry: Registry, repository: Repository, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self._registry = registry
        self._repository = repository

    def stream(self, offset: int) -> AsyncGenerator[bytes, None]:
        """Its bytes from `offset` on."""
        return self._registry.stream_blob(self._repository, self.descriptor, offset)
