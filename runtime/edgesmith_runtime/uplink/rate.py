"""No more than so many bytes a second, over one object after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Body", "Rate"]

_PIECE: Final = 16_384


class Rate:
    """The link's share.

    Args:
        rate: Bytes a second at most.
        pause: Waits so many seconds.
        now: Seconds on a clock that does not go back.
    """

    def __init__(
        self, rate: int, pause: Callable[[float], object] = time.sleep, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.piece = max(1, min(_PIECE, rate))
        self._rate = rate
        self._pause = pause
        self._now = now
        self._free = 0.0

    def wait(self, size: int) -> None:
        """Return once so many bytes may go."""
        now = self._now()
        ahead = self._free - now
        self._free = max(now, self._free) + size / self._rate
        if ahead > 0:
            self._pause(ahead)


class Body:
    """An object's bytes in pieces, as `http.client` takes them.

    Args:
        data: The bytes.
        rate: What bounds them.
    """

    def __init__(self, data: bytes, rate: Rate) -> None:
        self._data = data
        self._rate = rate
        self.sent = 0
        """Bytes that went."""

    def __iter__(self) -> Iterator[bytes]:
        for first in range(0, len(self._data), self._rate.piece):
            part = self._data[first : first + self._rate.piece]
            self._rate.wait(len(part))
            yield part
            self.sent += len(part)
