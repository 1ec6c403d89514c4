"""Runs a build's coroutine in a process that a signal's handler may stop anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

WAY_OUT = 5.0
"""Seconds that what still runs has to end itself; a kubelet gives 30 to the whole process."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, but for the way out, on which tasks are not waited for for ever; threads are.

    A handler's exception may come while a library cancels what it began. Then it may ask for that again in every round
    of the loop, and be waited for by whoever waits for all tasks to end.

    Raises:
        BaseException: What the work raised, or the handler.
    """
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(work)
    finally:
        try:
            _end_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what still runs, and wait for it as long as `WAY_OUT`."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        ended, _ = loop.run_until_complete(asyncio.wait(tasks, timeout=WAY_OUT))
        for task in ended:
            if not task.cancelled():
                task.exception()  # asked for: else it is logged as one that nobody looked at
