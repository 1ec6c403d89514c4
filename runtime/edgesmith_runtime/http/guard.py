"""What stands around everything that the event loop calls of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["LastResort"]


class LastResort:
    """A block in which an error ends the connection, and nothing else.

    Args:
        fail: Ends the connection; called while the error is being handled.
    """

    def __init__(self, fail: Callable[[], None]) -> None:
        self._fail = fail

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        """Let nothing but the interpreter's own ends through."""
        if not isinstance(error, Exception):
            return False
        self._fail()
        return True
