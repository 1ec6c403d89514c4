"""Words that several sentences share."""

from __future__ import annotations

from collections.abc import Sequence

NAMED = 4
"""Most names in one sentence: with the pending nodes, the status names 20 for one variant."""


def some(names: Sequence[str], most: int = NAMED) -> str:
    """Names as part of a sentence, the first few of them where there are more: `a, b and 7 more`.

    Args:
        names: At least one.
        most: Most that are named.
    """
    more = len(names) - most
    *before, last = (*names[:most], f"{more} more") if more > 0 else names
    return f"{', '.join(before)} and {last}" if before else last
