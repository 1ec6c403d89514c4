"""How often and how far apart something is tried again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from edgesmith_builder.oci.errors import RegistryUnreachable

log = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often and how far apart."""

    attempts: int = 5
    first: float = 0.25
    """Seconds before the second attempt; doubled for each one after."""
    limit: float = 4.0
    """Seconds at most."""
    asked_limit: float = 60.0
    """Seconds at most where the server asks for a time of its own."""

    def delay(self, attempt: int, asked: float = 0.0) -> float:
        """Seconds to wait after attempt number `attempt`, counted from 0.

        Args:
            attempt: Which one failed.
            asked: Seconds that the server asked for; it is kept to, up to `asked_limit`.
        """
        return max(min(self.limit, self.first * 2.0**attempt), min(self.asked_limit, asked))

    async def patiently(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Try until the registry is reached.

        Args:
            attempt: What to try, from its beginning each time.

        Raises:
            RegistryUnreachable: It was not reached by the last attempt.
        """
        for number in range(self.attempts - 1):
            try:
                return await attempt()
            except RegistryUnreachable as error:
                log.info("%s; attempt %d of %d", error, number + 2, self.attempts)
                await asyncio.sleep(self.delay(number, error.asked))
        return await attempt()


def asked_for(headers: Mapping[str, str], now: datetime | None = None) -> float:
    """Seconds that an answer's `Retry-After` asks for (RFC 9110, 10.2.3: seconds or a date); 0 for none or nonsense."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
