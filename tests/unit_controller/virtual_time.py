"""An event loop whose clock jumps to the next timer: hours pass in no time, and no test depends on the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that never waits: where nothing is ready, its clock is set to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 1000.0

    def time(self) -> float:
        return self._virtual

    def _run_once(self) -> None:
        due = [timer.when() for timer in self._scheduled if not timer.cancelled()]
        if not self._ready and due:
            self._virtual = max(self._virtual, min(due))
        super()._run_once()  # type: ignore[misc]  # a part of BaseEventLoop that its types leave out

    _ready: Any
    _scheduled: Any


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    """The running loop's time, seconds."""
    return asyncio.get_running_loop().time()
