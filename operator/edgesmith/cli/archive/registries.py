"""The registries that an export asks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Self

from edgesmith.cluster.images import registry_of
from edgesmith.decide.settings import Settings
from edgesmith_builder.oci import Descriptor, Listed, Logins, Reference, Registry, Repository, speaks_https


class Registries:
    """Speaks HTTP where `plain_http` asks for it: to the registry of builds, and to others that do not speak TLS.

    That is what a build does, too. Use it as an async context manager.
    """

    def __init__(self, settings: Settings, logins: Logins | None, *, attempts: int) -> None:
        """Make it; nothing is sent yet.

        Args:
            settings: How the operator was installed.
            logins: Who we are in each registry; without, nobody.
            attempts: How often in a row to ask.
        """
        self._own = registry_of(settings, logins, attempts=attempts)
        self._secure = registry_of(replace(settings, plain_http=False), logins, attempts=attempts)
        self._clients = {Repository.parse(settings.repository).registry: self._own}
        self._plain = settings.plain_http
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._own)
        await self._stack.enter_async_context(self._secure)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _of(self, repository: Repository) -> Registry:
        name = repository.registry
        if name not in self._clients:
            self._clients[name] = self._own if self._plain and not await speaks_https(name) else self._secure
        return self._clients[name]

    async def raw(self, reference: Reference) -> tuple[str, bytes] | None:
        """As `Registry.raw`."""
        return await (await self._of(reference.repository)).raw(reference)

    async def referrers(self, repository: Repository, digest: str) -> tuple[Listed, ...]:
        """As `Registry.referrers`."""
        return await (await self._of(repository)).referrers(repository, digest)

    async def stream_blob(
        self, repository: Repository, descriptor: Descriptor, offset: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """As `Registry.stream_blob`."""
        async with aclosing((await self._of(repository)).stream_blob(repository, descriptor, offset)) as pieces:
            async for piece in pieces:
                yield piece
