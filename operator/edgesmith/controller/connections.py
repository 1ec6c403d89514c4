"""kopf's connections to the API server: all of them are closed when its watches end.

kopf keeps one per login in its vault and closes what the vault holds at the end. One that it replaced meanwhile, or
that its tasks made while they were being cancelled, would stay open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from kopf._cogs.structs.credentials import Vault


class Connections(Vault):
    """A vault that remembers every connection that was made from it."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[Any] = []

    def extended(self, factory: Callable[..., Any], purpose: str | None = None) -> AsyncIterator[Any]:
        """Give kopf its connections, one per login."""

        def made(info: Any) -> Any:
            self._made.append(factory(info))
            return self._made[-1]

        return super().extended(made, purpose if purpose is not None else repr(factory))

    async def close(self) -> None:
        """Close all of them; closing one twice is fine."""
        await super().close()
        while self._made:
            await self._made.pop().close()
