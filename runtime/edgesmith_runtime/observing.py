"""What else sees the runs of the model: observers, on one thread beside those that answer.

An answer never waits for an observer. Runs wait in a queue that is bounded in runs and bytes; one that finds it full is
not observed, which is counted. The thread rests nine times as long as each run took it, so that it has a tenth of one
core at most, and lets go of the interpreter after each. While runs come, an answer wakes no thread: the queue is looked
at again and again. Once none came for a while the thread sleeps until one does, or an observer has something to do.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.metrics import Metrics

__all__ = ["Observer", "Observers", "Run"]

_log: Final = logging.getLogger(__name__)
_RUNS: Final = 256
"""Runs that may wait."""
_BYTES: Final = 16 * 2**20
"""Bytes of their inputs and outputs; a run that is larger than all of it is observed where nothing else waits."""
_REST: Final = 9.0
"""How many times as long as it took to observe a run the thread rests."""
_LONGEST_REST: Final = 0.5
_IDLE: Final = 0.1
"""Seconds between two looks at what observers do from time to time, and until a queue that became empty is looked at
again; what comes within that wakes no thread."""
_LONGEST_SLEEP: Final = 60.0
"""Observers go by clocks that are set, and by that of a machine that may have slept."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the model that was answered.

    Attributes:
        inputs: What the model was given, by input. Read only: the answer may still be on its way.
        outputs: What it answered, by output; those that the client asked for. Read only.
        at: When, in seconds since 1970.
        since_boot: When, in seconds since the machine's boot, sleep included.
    """

    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    at: float
    since_boot: float = field(default_factory=lambda: time.clock_gettime(time.CLOCK_BOOTTIME))


class Observer(Protocol):
    """Who sees runs. Every method is called on the observers' thread, and `tell` on any."""

    def observe(self, run: Run) -> None:
        """Take up one run; what is kept of it must be a copy."""

    def idle(self, now: float) -> float:
        """Do what is to be done from time to time; called some ten times a second while runs come.

        Args:
            now: Seconds since 1970.

        Returns:
            After how many seconds it is to be called again where no run comes; infinite where it need not be.
        """

    def tell(self, metrics: Metrics) -> None:
        """Write what is known as metrics."""

    def close(self) -> None:
        """Keep what is to be kept: the server ends."""


class Observers:
    """The queue and the thread. Safe to use from several threads.

    Args:
        observers: Who sees each run, in this order; one that raises is left out from then on, and the others go on.
        metrics: Where runs are counted.
        runs: How many may wait.
        size: Bytes of those.
    """

    def __init__(
        self, observers: Sequence[Observer], metrics: Metrics, *, runs: int = _RUNS, size: int = _BYTES
    ) -> None:
        self._observers = list(observers)
        self._metrics = metrics
        self._runs = runs
        self._size = size
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Run, int]] = deque()
        self._held = 0
        self._asleep = False
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="observers", daemon=True)

    def start(self) -> None:
        """Begin to observe."""
        self._thread.start()

    def offer(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Have a run observed, or count that it is not; returns at once."""
        run = Run(inputs, outputs, time.time())
        size = sum(map(_bytes_of, inputs.values())) + sum(map(_bytes_of, outputs.values()))
        with self._lock:
            fits = len(self._waiting) < self._runs and (self._held + size <= self._size or not self._waiting)
            if fits:
                self._waiting.append((run, size))
                self._held += size
            if self._asleep:
                self._asleep = False
                self._wake.set()
        if not fits:
            self._metrics.add("edgesmith_unobserved_runs_total")

    def tell(self) -> None:
        """Write what observers know as metrics."""
        for observer in tuple(self._observers):
            observer.tell(self._metrics)

    def close(self, seconds: float) -> None:
        """Observe no further, and let observers keep what they keep.

        Args:
            seconds: How long to wait for the run that is being observed, and for them.
        """
        self._ending.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _work(self) -> None:
        looked, pause, lately = -_IDLE, _IDLE, False
        while not self._ending.is_set():
            began = time.perf_counter()
            run = self._next()
            if run is not None:
                self._each(methodcaller("observe", run))
                self._metrics.add("edgesmith_observed_runs_total")
            if run is None or began - looked >= _IDLE:
                looked, pause = began, self._idle()
            if run is not None:
                lately = True
                self._ending.wait(min(_LONGEST_REST, (time.perf_counter() - began) * _REST))
            elif lately:
                lately = False
                self._ending.wait(_IDLE)
            elif self._slept(pause):
                self._ending.wait(_IDLE)  # the answer that woke it is still on its way
        for observer in self._observers:
            try:
                observer.close()
            except Exception:  # noqa: BLE001 - others are to end as well
                _log.exception("an observer did not end as it should")

    def _next(self) -> Run | None:
        with self._lock:
            if not self._waiting:
                return None
            run, size = self._waiting.popleft()
            self._held -= size
            return run

    def _slept(self, seconds: float) -> bool:
        """Sleep until a run waits, and no longer than so many seconds; returns whether one woke it."""
        with self._lock:
            if self._waiting:
                return False
            self._asleep = True
        woken = self._wake.wait(min(seconds, _LONGEST_SLEEP))
        with self._lock:
            self._asleep = False
            self._wake.clear()
        return woken

    def _idle(self) -> float:
        """Let observers do what they do from time to time; returns after how many seconds they are to again."""
        now = time.time()
        return max(_IDLE, min(self._each(methodcaller("idle", now)), default=math.inf))

    def _each(self, call: Callable[[Observer], Any]) -> list[Any]:
        """Call every observer; one that fails is left out from then on."""
        found = []
        for observer in tuple(self._observers):
            try:
                found.append(call(observer))
            except Exception:  # noqa: BLE001 - whatever it is, it is no matter of those who ask
                self._observers.remove(observer)
                _log.exception("%s failed and observes no further", type(observer).__name__)
        return found


def _bytes_of(array: NDArray[Any]) -> int:
    """Bytes that an array holds; of text, its characters."""
    return sum(map(len, array.flat)) if array.dtype.kind == "O" else array.nbytes
