"""Which object is sent next, and when: decided here, done elsewhere."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Reversible

    from edgesmith_runtime.spool.kept import Kept
    from edgesmith_runtime.uplink.answers import Outcome

__all__ = ["Sending"]

_FIRST: Final = 1.0
_LONGEST: Final = 300.0
_LONGEST_SILENCE: Final = 60.0
"""The same where nothing answers: that costs no bytes, and a link that is back is used soon."""
_MOST_REFUSED: Final = 1024
_CHANCES: Final = 3
"""How often one may be refused and yet go before others."""


@dataclass(slots=True)
class Sending:
    """What is known between two tries.

    After a refusal that may be of the object another one is tried: one that the bucket never takes keeps no other back.
    Once the bucket takes one, those that were refused before go first again: it may have been no matter of theirs. One
    that is refused again and again waits until all others were tried.

    Attributes:
        chance: Where the length of pauses comes from, so that nodes that were cut off together do not return together.
        failed: How many tries in a row were refused.
        refused: How often objects were refused since all were tried, the one that was refused last at the end.
        passed: Those of them that are not tried now.
    """

    chance: random.Random = field(default_factory=random.SystemRandom)
    failed: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)

    def next(self, kept: Reversible[Kept], most: float = math.inf) -> Kept | None:
        """The object to send: of those that are not passed over, the one that is worth most.

        Args:
            kept: All that wait, the one worth least in front.
            most: Bytes that it may have.
        """
        found = self._first(kept, most)
        if found is None and self.passed:
            self.refused.clear()
            self.passed.clear()
            found = self._first(kept, most)
        return found

    def _first(self, kept: Reversible[Kept], most: float) -> Kept | None:
        return next((one for one in reversed(kept) if one.size <= most and one.name not in self.passed), None)

    def after(self, one: Kept, outcome: Outcome) -> float:
        """Take up what became of a try; returns for how many seconds to pause."""
        if outcome.stored:
            self._stored(one)
            return 0.0
        if not outcome.of_all:
            self._refused(one)
        longest: float = min(_LONGEST_SILENCE if outcome.silent else _LONGEST, _FIRST * 2.0 ** min(self.failed, 16))
        self.failed += 1
        return max(outcome.wait, longest * self.chance.uniform(0.5, 1.0))

    def _stored(self, one: Kept) -> None:
        self.refused.pop(one.name, None)
        if self.failed:
            self.passed = {name for name, times in self.refused.items() if times >= _CHANCES}
        self.failed = 0

    def _refused(self, one: Kept) -> None:
        self.refused[one.name] = self.refused.pop(one.name, 0) + 1
        self.passed.add(one.name)
        if len(self.refused) > _MOST_REFUSED:
            oldest = next(iter(self.refused))
            del self.refused[oldest]
            self.passed.discard(oldest)
