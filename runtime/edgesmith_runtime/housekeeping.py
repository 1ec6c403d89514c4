"""Memory that large requests leave behind, given back when nothing is asked."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.device import resident_memory, trim_heap
from edgesmith_runtime.engine import EngineError

if TYPE_CHECKING:
    from edgesmith_runtime.dispatcher import Dispatcher
    from edgesmith_runtime.engine import Engine

__all__ = ["Housekeeping"]

_log: Final = logging.getLogger(__name__)
_SLACK: Final = 32 * 2**20
"""Bytes above rest that are not worth a run of the model."""
_TRIES: Final = 3
"""Looks after a request; gRPC lets go of its buffers some time after the last call."""
_PAUSE: Final = 2.0
"""Seconds between two tries."""


class Housekeeping:
    """Tidies up after requests.

    Args:
        dispatcher: The queue in front of the engine.
        engine: The engine, at rest now.
    """

    def __init__(self, dispatcher: Dispatcher, engine: Engine) -> None:
        self._dispatcher = dispatcher
        self._engine = engine
        self._enough = resident_memory() + _SLACK
        self._seen = dispatcher.finished
        self._tries = 0
        self._not_before = 0.0

    def look(self) -> None:
        """Give memory back where requests have ended, none is there, and much is held; call it often."""
        finished, now = self._dispatcher.finished, time.monotonic()
        if finished != self._seen:
            self._seen, self._tries = finished, _TRIES
        if not self._tries or self._dispatcher.pending or now < self._not_before:
            return
        self._tries -= 1
        if resident_memory() > self._enough:
            # What cannot be given back is not tried again with each request.
            self._not_before = now + _PAUSE
            self._seen += 1
            self._dispatcher.submit(self._settle)

    def _settle(self, busy: bool) -> None:  # noqa: FBT001 - the queue calls it
        del busy
        try:
            self._engine.settle()
        except EngineError as error:
            _log.warning("memory cannot be given back: %s", error.message)
        trim_heap()
