"""Finds the nodes that cannot be quantised, so that one of them does not cost the others their int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Tried = Callable[[Sequence[str]], Exception | None]
"""Quantises these nodes, and returns why that does not work, or None."""

TRIES = 64
"""How often to try at most, each some seconds for a large model: enough for half a dozen bad nodes among hundreds."""


def workable(names: Sequence[str], tried: Tried, tries: int = TRIES) -> tuple[list[str], dict[str, Exception]]:
    """Keep as many nodes as work together.

    The nodes are halved where they do not work, as in a search, and those that work are kept while the rest is tried:
    nodes that fail only together lose the later one. One bad node among n costs about 2 log2(n) tries.

    Args:
        names: The nodes, in a fixed order: it decides which of two that fail together is kept.
        tried: Tries some of them.
        tries: After so many the rest is left out untried.

    Returns:
        The nodes that work together, and for each of the others why it does not.
    """
    good: list[str] = []
    bad: dict[str, Exception] = {}
    waiting = [list(names)]
    while waiting:
        part = waiting.pop()
        if not part:
            continue
        tries -= 1
        error = tried([*good, *part])
        if error is None:
            good.extend(part)
        elif len(part) == 1 or tries <= 0:
            bad.update(dict.fromkeys(part, error))
        else:
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]
    return good, bad
