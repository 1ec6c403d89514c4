"""Whose mistake a failed run is."""

from __future__ import annotations

import re
from typing import Final

from edgesmith_runtime.engine.feeds import REFUSED
from edgesmith_runtime.engine.interface import EngineError, EngineInputError

__all__ = ["run_failure"]

_ABOUT_SIZES: Final = re.compile(
    r"dimension|dims|shape|broadcast|\baxis\b|\brank\b|\bsizes?\b|bounds|\bindex|indices", re.IGNORECASE
)


def run_failure(
    error: Exception, text: str, where: str, *, about_memory: re.Pattern[str], theirs: bool = False
) -> EngineError:
    """Tell the client's mistake from the model's.

    A model that has answered its golden samples fails on other inputs because of them where their sizes do not go
    together, or an index lies outside.

    Args:
        error: What the library raised.
        text: What it says, in one sentence without its source code; the error's name where that is empty.
        where: The node it happened in, as the end of a sentence; may be empty.
        about_memory: Finds what this library says where memory is short.
        theirs: Whether the error's type already says that the inputs are to blame.
    """
    text = text or type(error).__name__
    if isinstance(error, MemoryError) or about_memory.search(text):
        return EngineError(f"the model needs more memory than there is{where}", text)
    if theirs or _ABOUT_SIZES.search(text):
        return EngineInputError(f"{REFUSED}{where}", text)
    return EngineError(f"the model failed{where}", text)
