"""How many bytes a client may send, on a stream or its connection, and when it gets leave for more (RFC 9113 §5.2)."""

from __future__ import annotations

from typing import Final

__all__ = ["Leave"]

_WORTH_A_FRAME: Final = 2**20
"""Bytes that have come before leave for as many is given."""


class Leave:
    """Leave to send bytes.

    Args:
        size: How many the client may send at first, and at most ahead of what has come.
    """

    __slots__ = ("_came", "_left")

    def __init__(self, size: int) -> None:
        self._left = size
        self._came = 0

    def take(self, length: int) -> bool:
        """Take note of bytes that came; say whether there was leave for them."""
        self._left -= length
        self._came += length
        return self._left >= 0

    def more(self) -> int:
        """Give leave for as many bytes as came, to be told to the client; 0 where that is not worth a frame yet."""
        if self._came < _WORTH_A_FRAME:
            return 0
        more, self._came = self._came, 0
        self._left += more
        return more
