"""kopf's connections to the API server: all of them are closed when its watches end.

kopf keeps one per login in its vault and closes what the vault holds at the end. One that it replaced meanwhile would
stay open, and so would one that a task of its own makes after that: not all of them end with those that it names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from kopf._cogs.structs.credentials import Vault


class Connections(Vault):
    """A vault that remembers every connection that was made from it."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[Any] = []
        self._ended = False

    def extended(self, factory: Callable[..., Any], purpose: str | None = None) -> AsyncIterator[Any]:
        """Give kopf its connections, one per login."""

        def made(info: Any) -> Any:
            if self._ended:
                raise asyncio.CancelledError
            self._made.append(factory(info))
            return self._made[-1]

        return super().extended(made, purpose if purpose is not None else repr(factory))

    async def close(self) -> None:
        """Close all of them, and let none be made any more; closing one twice is fine."""
        self._ended = True
        try:
            await super().close()
        finally:
            while self._made:
                await self._made.pop().close()
