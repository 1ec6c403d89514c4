"""Calls whose clients leave before their answer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future

    import grpc

__all__ = ["Leaving"]


class Leaving:
    """Takes what a call waits for out of the queue when its client leaves.

    A request that waits goes; one that runs keeps its place to the end.

    Args:
        context: The call.
    """

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._lock = threading.Lock()
        self._future: Future[bytes] | None = None
        self._left = False
        if not context.add_callback(self._leave):
            self._leave()

    def wait(self, future: Future[bytes]) -> bytes:
        """Wait for a result, or for its client to leave."""
        with self._lock:
            self._future, left = future, self._left
        if left:
            future.cancel()
        try:
            return future.result()
        finally:
            # An error holds the frames that it passed, and so the call: were the future among what they hold, the call
            # would keep its place on its connection until the collector of cyclic garbage came.
            self._future = None
            del future

    def _leave(self) -> None:
        with self._lock:
            self._left, future = True, self._future
        if future is not None:
            future.cancel()
