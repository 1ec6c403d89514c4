"""Requests that come at once, run as one batch, and a lone one as it is.

Who comes while nothing runs is run at once. Who comes while a run is on waits for its end, and the first of them then
runs all that have come. It waits for more, for a bounded time, only where further ones are known to be on their way.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edgesmith_runtime.engine.feeds import check_wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.engine.interface import Engine

__all__ = ["BatchingEngine", "Coming", "joined", "parted"]

_log: Final = logging.getLogger(__name__)


class Coming(Protocol):
    """Knows what the engine will be asked."""

    def coming(self) -> int:
        """How many requests are in flight that the engine has not answered, those that wait in it among them."""

    def ran(self) -> None:
        """Take note that the engine has answered this thread's request."""


@dataclass(eq=False, slots=True)
class _Entry:
    """A request.

    Attributes:
        inputs: Its tensors.
        wanted: The outputs that it asks for.
        rows: Its batch.
        kind: What requests must have in common to be run together.
        turn: Is set when it has been answered, or is to run the next batch.
        leads: Whether it is to run the next batch.
        answers: What it is answered.
        error: Why it is not.
    """

    inputs: Mapping[str, NDArray[Any]]
    wanted: list[str]
    rows: int
    kind: tuple[Any, ...]
    turn: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    answers: dict[str, NDArray[Any]] | None = None
    error: Exception | None = None


class BatchingEngine:
    """An `Engine` that runs requests together. Its model's inputs and outputs all have an open first size, their batch.

    Args:
        engine: Runs the model.
        most: The largest batch of several requests together.
        wait: Seconds that a batch waits for requests that are on their way.
        queue: Knows how many these are.
    """

    def __init__(self, engine: Engine, *, most: int, wait: float, queue: Coming) -> None:
        self.inputs, self.outputs, self.warning = engine.inputs, engine.outputs, engine.warning
        self._engine = engine
        self._most = most
        self._wait = wait
        self._queue = queue
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._waiting: list[_Entry] = []
        self._running = False
        self._together = True

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, *, busy: bool = False
    ) -> dict[str, NDArray[Any]]:
        """Run the model once, maybe with others' requests; see `Engine.infer`."""
        entry = self._entry(inputs, outputs) if self._together else None
        if entry is None:
            return self._engine.infer(inputs, outputs, busy=busy)
        with self._lock:
            self._waiting.append(entry)
            leads, self._running = not self._running, True
            if not leads:
                self._more.notify()
        if not leads:
            entry.turn.wait()
        if leads or entry.leads:
            self._lead()
        self._queue.ran()
        if entry.error is not None:
            raise entry.error
        assert entry.answers is not None  # noqa: S101 - who led has answered or failed
        return entry.answers

    def settle(self) -> None:
        """Give back what large runs left behind; see `Engine.settle`."""
        self._engine.settle()

    def close(self) -> None:
        """Let go of the model's memory."""
        self._engine.close()

    def _entry(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None) -> _Entry | None:
        """What is to be run with others; None where it cannot be."""
        if set(inputs) != {spec.name for spec in self.inputs}:
            return None
        rows = {array.shape[0] if array.ndim else -1 for array in inputs.values()}
        if len(rows) != 1 or not 0 < min(rows) < self._most:
            return None
        kind = tuple((array.dtype.str, array.shape[1:]) for array in (inputs[spec.name] for spec in self.inputs))
        return _Entry(inputs, check_wanted(self.outputs, outputs), rows.pop(), kind)

    def _lead(self) -> None:
        """Run what has come, and have the first of the rest run that."""
        batch = self._gather()
        try:
            self._run(batch)
        finally:
            with self._lock:
                self._running = bool(self._waiting)
                if self._running:
                    self._waiting[0].leads = True
                    self._waiting[0].turn.set()
            for entry in batch:
                entry.turn.set()

    def _gather(self) -> list[_Entry]:
        """Take those out that are run with the first, when no more are waited for."""
        until = time.monotonic() + self._wait
        with self._lock:
            while True:
                batch, rows = self._fitting()
                left = until - time.monotonic()
                if rows >= self._most or left <= 0 or self._queue.coming() <= len(self._waiting):
                    break
                self._more.wait(left)
            self._waiting = [entry for entry in self._waiting if entry not in batch]
        return batch

    def _fitting(self) -> tuple[list[_Entry], int]:
        first = self._waiting[0]
        batch, rows = [first], first.rows
        for entry in self._waiting[1:]:
            if entry.kind == first.kind and rows + entry.rows <= self._most:
                batch.append(entry)
                rows += entry.rows
        return batch, rows

    def _run(self, batch: list[_Entry]) -> None:
        if len(batch) > 1 and self._together:
            wanted = [spec.name for spec in self.outputs if any(spec.name in entry.wanted for entry in batch)]
            try:
                answers = self._engine.infer(joined([entry.inputs for entry in batch]), wanted)
                parts = parted(answers, [entry.rows for entry in batch])
            except ValueError:
                self._together = False
                _log.warning("requests are run one by one from now on: an output of a batch has another first size")
            except Exception:  # noqa: BLE001 - whose request it is about shows when each is run alone
                _log.debug("a batch failed; its requests are run one by one")
            else:
                for entry, part in zip(batch, parts, strict=True):
                    entry.answers = {name: part[name] for name in entry.wanted}
                return
        for entry in batch:
            try:
                entry.answers = self._engine.infer(entry.inputs, entry.wanted)
            except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
                entry.error = error


def joined(feeds: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Put the tensors of several requests into one batch, in their order."""
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def parted(answers: Mapping[str, NDArray[Any]], rows: Sequence[int]) -> list[dict[str, NDArray[Any]]]:
    """Take the answers to several requests out of a batch's.

    Args:
        answers: The outputs of the batch.
        rows: The batch of each request.

    Raises:
        ValueError: An output has not as many rows as there are.
    """
    for name, array in answers.items():
        if array.shape[:1] != (sum(rows),):
            raise ValueError(f"output {name!r} has {array.shape[:1]} rows; expected {sum(rows)}")
    ends = np.cumsum(rows).tolist()
    return [
        {name: array[end - count : end] for name, array in answers.items()}
        for end, count in zip(ends, rows, strict=True)
    ]
