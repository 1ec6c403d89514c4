"""Work beside the event loop that may never end, and does not keep the process."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_background"]

T = TypeVar("T")


def in_background(work: Callable[[], T]) -> asyncio.Future[T]:
    """Do work on a thread of its own. An event loop waits at its end for the threads of its executor, not for this.

    Args:
        work: Called on the thread.

    Returns:
        What it returns or raises.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    awaited = asyncio.wrap_future(outcome)
    threading.Thread(target=run, name="background", daemon=True).start()
    return awaited
