"""Which registries are not asked for a while, since they did not answer.

Times are seconds on any clock that only grows.

A registry that drops packets costs each request the whole time limit. So after a failure nobody asks for a pause,
which doubles with every failure in a row; then one asks, and the others go on without an answer until that one has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class Turn:
    """One caller's turn to ask a registry."""

    answered: bool = False
    """Whether the registry gave an answer, whichever. A turn that ends without one is a failure."""


@dataclass(slots=True)
class _State:
    failures: int
    until: float
    asking: bool = False


class Breaker:
    """Remembers which registries failed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Remember nothing yet.

        Args:
            clock: Seconds that only grow.
        """
        self._clock = clock
        self._failing: dict[str, _State] = {}

    @contextmanager
    def turn(self, registry: str) -> Iterator[Turn | None]:
        """Ask a registry within a `with` block, whose end says what came of it, however it is left.

        Yields:
            The caller's turn; None: the registry is not to be asked now.
        """
        state = self._failing.get(registry)
        if state is not None and (self._clock() < state.until or state.asking):
            yield None
            return
        if state is not None:
            state.asking = True
        turn = Turn()
        try:
            yield turn
        finally:
            if turn.answered:
                self._failing.pop(registry, None)
            elif state is not None or registry not in self._failing:
                self._failed(registry, state)
            # Else it was asked before the first failure was known: it is the same one.

    def _failed(self, registry: str, state: _State | None) -> None:
        failures = state.failures if state else 0
        pause = min(FIRST_PAUSE * 2.0 ** min(failures, 20), LONGEST_PAUSE)
        self._failing[registry] = _State(failures + 1, self._clock() + pause)
