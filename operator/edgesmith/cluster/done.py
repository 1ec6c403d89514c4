"""What a pass does to the cluster: how its calls are made, and what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from edgesmith.cluster.errors import ClusterError
from edgesmith.cluster.refusals import Refusal

T = TypeVar("T")

AT_ONCE = 16
"""Nodes that are written to at the same time."""


@dataclass
class Done:
    """What a pass changed; counted, for the log and the metrics."""

    builds: int = 0
    looks: int = 0
    trials: int = 0
    retraining: int = 0
    applied: int = 0
    moves: int = 0
    records: int = 0
    deleted: int = 0
    status: bool = False
    events: int = 0
    left: bool = False
    """Whether the plan holds more writes to nodes than one pass does, and this one got some done."""
    names: list[str] = field(default_factory=list)
    """What was changed, in words."""
    refusals: list[Refusal] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(
            self.builds
            or self.looks
            or self.trials
            or self.retraining
            or self.applied
            or self.moves
            or self.deleted
            or self.status
            or self.left
        )


async def collected(work: Awaitable[None], done: Done, profile: str = "") -> Refusal | None:
    """Do something; what the API server says against it is kept and returned, and the rest goes on."""
    try:
        await work
    except ClusterError as error:
        # Kept until the next pass: without the frames, which hold the whole snapshot.
        refusal = Refusal(error.with_traceback(None), profile)
        done.refusals.append(refusal)
        return refusal
    return None


async def each(items: Sequence[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do something about every item, `AT_ONCE` at the same time, begun in their order."""
    left = iter(items)

    async def some() -> None:
        for item in left:
            await work(item)

    await asyncio.gather(*(some() for _ in range(min(AT_ONCE, len(items)))))
