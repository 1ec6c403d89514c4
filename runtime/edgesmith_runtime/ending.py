"""How a process ended, in words."""

from __future__ import annotations

import signal

__all__ = ["how_ended"]

_SIGNALS = {one.value: one.name for one in signal.Signals}


def how_ended(status: int) -> str:
    """Say how a process ended, as the end of a sentence: ``signal SIGSEGV``, ``exit status 3``.

    Args:
        status: As Python has it: the exit status, or less than 0 the number of a signal.
    """
    if status < 0:
        return f"signal {_SIGNALS.get(-status, -status)}"
    return f"exit status {status}"
