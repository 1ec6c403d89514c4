"""A program with all that it starts: the group of processes that it leads."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import subprocess

__all__ = ["end_group", "ended_by"]

_FIRST: Final = 0.0005
_LONGEST: Final = 0.05


def ended_by(process: subprocess.Popen[bytes], until: float) -> bool:
    """Wait until a program has ended, and leave it to be reaped: until then its group's number is nobody else's.

    Args:
        process: The program.
        until: When to give up, by `time.monotonic`.

    Returns:
        Whether it has ended.
    """
    pause = _FIRST
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST)
    return True


def end_group(process: subprocess.Popen[bytes]) -> int:
    """End a program, whether or not it has ended, with what it started and left behind.

    Args:
        process: The program, which leads a session of its own.

    Returns:
        How it ended, as `Popen.returncode` has it.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    status = process.wait()
    with suppress(ChildProcessError):  # the first process of a container has nobody who reaps them for it
        while True:
            os.waitpid(-process.pid, 0)
    return status
