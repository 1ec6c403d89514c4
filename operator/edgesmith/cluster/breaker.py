"""Which registries are not asked for a while, since they did not answer.

Times are seconds on any clock that only grows.

A registry that drops packets costs each request the whole time limit. So after a failure nobody asks for a pause,
which doubles with every failure in a row; then one asks, and the others go on without an answer until that one has it.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class _State:
    failures: int
    until: float
    asking: bool


class Breaker:
    """Remembers which registries failed."""

    def __init__(self) -> None:
        self._failing: dict[str, _State] = {}

    def may_ask(self, registry: str, now: float) -> bool:
        """Whether the caller may ask a registry; who may says afterwards what came of it: `answered` or `failed`."""
        state = self._failing.get(registry)
        if state is None:
            return True
        if now < state.until or state.asking:
            return False
        state.asking = True
        return True

    def answered(self, registry: str) -> None:
        """Say that a registry gave an answer, whichever."""
        self._failing.pop(registry, None)

    def failed(self, registry: str, now: float) -> None:
        """Say that a registry gave no answer."""
        state = self._failing.get(registry)
        if state and not state.asking:
            # Asked before the first failure was known: it is the same one.
            return
        failures = state.failures if state else 0
        pause = min(FIRST_PAUSE * 2.0 ** min(failures, 20), LONGEST_PAUSE)
        self._failing[registry] = _State(failures + 1, now + pause, asking=False)
