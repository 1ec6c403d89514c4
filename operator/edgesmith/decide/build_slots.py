"""How many builds may run at once, over all EdgeModels.

A new runtime image makes every variant of every EdgeModel be built anew. Without a bound all those pods would be
created at once, fill the scheduler's queue and keep everybody else's pods waiting behind them.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgesmith.decide.plan import StartBuild

RECHECK = 60.0
"""Seconds until a build without a slot looks again by itself; one that becomes free is offered at once."""


def admitted(starts: Sequence[StartBuild], running: int, limit: int) -> tuple[StartBuild, ...]:
    """The first of some builds that fit beside those that run already.

    Args:
        starts: What one EdgeModel wants to start, in the order in which it is to be started.
        running: Builds of all EdgeModels that run or are being started.
        limit: Most builds at once.
    """
    return tuple(starts[: max(limit - running, 0)])
