"""Golden samples, asked for again from time to time by the model that serves: an accelerator can go bad in service.

One sample at a time, and only while no request waits or runs: a request waits for one run at most.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.errors import Unavailable
from edgesmith_runtime.golden import compare
from edgesmith_runtime.termination import Finding

if TYPE_CHECKING:
    from concurrent.futures import Future

    from edgesmith_runtime.dispatcher import Dispatcher
    from edgesmith_runtime.engine import Engine
    from edgesmith_runtime.golden import Golden
    from edgesmith_runtime.metrics import Metrics

__all__ = ["Replay"]

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one sample came to.

    Attributes:
        result: ``agrees``, ``differs`` or ``failed``.
        words: What was wrong.
    """

    result: str
    words: str = ""


class Replay:
    """Goes through the golden samples, then waits for the next time.

    Args:
        dispatcher: The queue in front of the engine.
        engine: The engine that serves.
        golden: What it has to answer.
        metrics: Where samples are counted.
        interval: Seconds between two rounds; 0: there are none.
        now: The time, on the clock that `look` is called with.
    """

    def __init__(
        self, dispatcher: Dispatcher, engine: Engine, golden: Golden, *, metrics: Metrics, interval: float, now: float
    ) -> None:
        self._dispatcher = dispatcher
        self._engine = engine
        self._golden = golden
        self._metrics = metrics
        self._interval = interval
        self._due = now + interval
        self._next = 0
        self._doubted = False
        self._running: Future[_Answer] | None = None

    def look(self, now: float) -> Finding | None:
        """Go on where it is time and nothing is asked; call it often.

        Args:
            now: The time in seconds, on a clock that does not go back.

        Returns:
            What is wrong, once the same sample has come out wrong twice in a row; None where nothing is.
        """
        if self._running is not None:
            return self._taken(now) if self._running.done() else None
        if self._interval and now >= self._due and not self._dispatcher.pending:
            try:
                self._running = self._dispatcher.submit(self._ask)
            except Unavailable:  # requests came first
                self._running = None
        return None

    def _ask(self, busy: bool) -> _Answer:  # noqa: FBT001 - the queue calls it
        feed = self._golden.samples(self._engine)[self._next]
        try:
            given = self._engine.infer(feed, tuple(self._golden.outputs), busy=busy)
        except EngineError as error:
            return _Answer("failed", error.message)
        share, words = compare(self._golden, self._next, given)
        return _Answer("differs", words) if share > 1 else _Answer("agrees")

    def _taken(self, now: float) -> Finding | None:
        future, self._running = self._running, None
        if future is None or future.cancelled():
            return None
        if (error := future.exception()) is not None:
            _log.error("golden sample %d could not be asked for", self._next, exc_info=error)
            answer = _Answer("failed", "the engine broke off")
        else:
            answer = future.result()
        self._metrics.add("edgesmith_golden_replays_total", answer.result)
        if answer.result == "agrees":
            self._doubted = False
            self._next = (self._next + 1) % len(self._golden)
            if not self._next:
                self._due = now + self._interval
            return None
        if not self._doubted:
            self._doubted = True
            _log.warning("golden sample %d is asked for again: %s", self._next, answer.words)
            return None
        if answer.result == "failed":
            return Finding("EngineFailed", f"golden sample {self._next} failed twice while serving: {answer.words}")
        return Finding("GoldenMismatch", f"while serving, twice in a row, {answer.words}")
