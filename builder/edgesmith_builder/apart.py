"""Runs the builder in a process of its own, and says how that ended where it could not say so itself.

The process that waits imports nothing that a build needs until there is something to say.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from edgesmith_builder import lastwords

_CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP}
)
"""Signals that a program brings upon itself."""

_SHORTAGES = frozenset({-signal.SIGABRT, -signal.SIGBUS})
"""How C++ ends where memory or a disk is used up, which another try may find otherwise."""

_SIGNALLED = 128
"""What is added to a signal's number for an exit status."""

_PR_SET_PDEATHSIG = 1


def run_apart(program: Callable[[], int], termination_log: Path | None) -> int:
    """Run a program in a process that is forked, to its end.

    Args:
        program: What imports the rest and returns the exit status. It lets SIGTERM through once it can take it.
        termination_log: Where what it left unsaid goes.

    Returns:
        The exit status: in the process that was forked the program's own, in this one what became of the other.
    """
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = os.fork()
    if not child:
        _end_with(parent)
        status = program()
        lastwords.finished(status)
        return status
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the other too
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _, ended = os.waitpid(child, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is left to do takes no time
    return _outcome(os.waitstatus_to_exitcode(ended), termination_log)


def _outcome(ended: int, termination_log: Path | None) -> int:
    """The exit status, once what was left unsaid is said."""
    words = lastwords.read()
    if words.status is not None:
        return words.status
    if words.work is not None:
        shutil.rmtree(words.work, ignore_errors=True)
    if ended < 0 and -ended not in _CRASHES:
        return _SIGNALLED - ended  # killed from outside: by whom, the kubelet knows
    # Imported here: most builds end without.
    from edgesmith_builder.contract import BuildFailure  # noqa: PLC0415 - see above
    from edgesmith_builder.outcome import say_failure  # noqa: PLC0415 - see above
    from edgesmith_builder.progress import log_to_stderr  # noqa: PLC0415 - see above
    from edgesmith_runtime.ending import how_ended  # noqa: PLC0415 - see above

    log_to_stderr()
    how = how_ended(ended)
    found = words.sentence(how)
    if found is not None:
        return say_failure(termination_log, BuildFailure(reason="ModelInvalid", message=found, retry=False))
    message = f"the builder ended with {how} and without a word; the last line of its log says after which step"
    return say_failure(termination_log, BuildFailure(reason="Internal", message=message, retry=ended in _SHORTAGES))


def _end_with(parent: int) -> None:
    """Be killed when the process that waits is: nobody else would end what it waits for."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
