"""Waiting for a condition, with a deadline and a sentence about what did not come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from edgesmith_stage.errors import StageError

T = TypeVar("T")


def until(
    condition: Callable[[], T | None],
    *,
    seconds: float,
    what: str,
    detail: Callable[[], str] | None = None,
    every: float = 0.25,
) -> T:
    """Call `condition` until it returns something true, and return that.

    Args:
        condition: Returns a true value once it holds; a `StageError` it raises counts as "not yet".
        seconds: The deadline.
        what: What is waited for, for the sentence.
        detail: Called once on failure, for what was there instead.
        every: Seconds between two looks.

    Raises:
        StageError: The deadline passed.
    """
    deadline = time.monotonic() + seconds
    last: StageError | None = None
    while True:
        try:
            found = condition()
        except StageError as error:
            found, last = None, error
        if found:
            return found
        if time.monotonic() > deadline:
            more = detail() if detail else str(last or "")
            raise StageError(f"waited {seconds:.0f} s for {what}{': ' + more if more else ''}")
        time.sleep(every)
