"""Runs the builder in a process of its own, and says how that ended where it could not say so itself.

A candidate that ends the process is left out, and the build begins anew without it. The process that waits imports
nothing that a build needs until there is something to say.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesmith_builder import lastwords
from edgesmith_builder.lastwords import LastWords

_CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP}
)
"""Signals that a program brings upon itself."""

_SHORTAGES = frozenset({-signal.SIGABRT, -signal.SIGBUS})
"""How C++ ends where memory or a disk is used up, which another try may find otherwise."""

_SIGNALLED = 128
"""What is added to a signal's number for an exit status."""

_GLANCE = 1.0
"""Seconds between two looks at how long a candidate takes."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_HANDLED = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended."""

    status: int
    """As Python has it: the exit status, or less than 0 the number of a signal."""
    hung: float | None = None
    """Seconds that its candidate was given, where it was ended for taking longer."""
    stopped: bool = False
    """Whether it was told to end."""


def run_apart(program: Callable[[], int], termination_log: Path | None, candidate_seconds: float | None = None) -> int:
    """Run a program in a process that is forked, to its end; anew where a candidate ended it.

    Args:
        program: What imports the rest and returns the exit status. It lets SIGTERM through once it can take it.
        termination_log: Where what it left unsaid goes.
        candidate_seconds: How long one candidate may take; None: as long as it likes.

    Returns:
        The exit status: in the process that was forked the program's own, in this one what became of the other.
    """
    parent, handlers = os.getpid(), [signal.getsignal(one) for one in _HANDLED]
    short: set[str] = set()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    while True:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
        child = os.fork()
        if not child:
            _end_with(parent)
            for one, handler in zip(_HANDLED, handlers, strict=True):
                signal.signal(one, handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            status = program()
            lastwords.finished(status)
            return status
        ended = _wait_for(child, candidate_seconds)
        words = lastwords.read()
        if words.work is not None:
            shutil.rmtree(words.work, ignore_errors=True)
        if not _goes_on(ended, words, short):
            return _outcome(ended, words, termination_log)
        lastwords.forget()


def why_out(ended: Ended, words: LastWords, *, again: bool) -> str | None:
    """Why the candidate that a process worked on is to be left out, in one sentence; None where nothing is said of one.

    Args:
        ended: How the process ended.
        words: What it left.
        again: Whether the candidate ended a process before, as a lack of memory does.
    """
    trying = words.trying
    ours = ended.status >= 0 or -ended.status in _CRASHES or _may_be_short(ended)
    if trying is None or words.status is not None or ended.stopped or not ours:
        return None
    if ended.hung is not None:
        bound = f"{ended.hung:g} s (builder.deadlineSeconds of the chart)"
        return f"it was not done within {bound}, and was ended while {trying.doing}"
    from edgesmith_runtime.ending import how_ended  # noqa: PLC0415 - most builds end without

    hint = " a second time; more memory may be needed (builder.resources of the chart)" if again else ""
    return f"it ended the builder with {how_ended(ended.status)} while {trying.doing}{hint}"


def _goes_on(ended: Ended, words: LastWords, short: set[str]) -> bool:
    """Whether a candidate alone ended the process; another process then leaves it out, or tries it once more.

    Args:
        ended: How the process ended.
        words: What it left.
        short: Candidates that ended one as a lack of memory does; one may be added.
    """
    why = why_out(ended, words, again=words.trying is not None and words.trying.form in short)
    if why is None or words.trying is None:
        return False
    form = words.trying.form
    if _may_be_short(ended) and ended.hung is None and form not in short:
        short.add(form)
        then = "it is tried once more"
    else:
        lastwords.leave_out(form, why)
        then = "the build begins anew without it"
    from edgesmith_builder.progress import log, log_to_stderr  # noqa: PLC0415 - most builds end without

    log_to_stderr()
    log.warning("%s: %s; %s", form, why, then)
    return True


def _may_be_short(ended: Ended) -> bool:
    """Whether memory or a disk may have been used up: the kernel kills then, and C++ ends."""
    return ended.status in _SHORTAGES or ended.status == -signal.SIGKILL


def _wait_for(child: int, candidate_seconds: float | None) -> Ended:
    """Wait until a process has ended; SIGTERM and SIGCHLD are blocked, and are again afterwards."""
    told: list[bool] = []
    hung = None

    def stop(*_: Any) -> None:
        told.append(True)
        os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the other too
    signal.signal(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    # It stays a zombie until its number is no longer signalled.
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        signal.sigtimedwait({signal.SIGCHLD}, _GLANCE)
        trying = lastwords.read().trying
        if candidate_seconds is not None and trying and time.monotonic() - trying.since > candidate_seconds:
            hung = candidate_seconds
            os.kill(child, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    _, ended = os.waitpid(child, 0)
    _end_rest()
    status = os.waitstatus_to_exitcode(ended)
    return Ended(status, hung if status == -signal.SIGKILL else None, bool(told))


def _end_rest() -> None:
    """End what a process left behind, a compiler that hangs for one: it has become this one's child."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    with suppress(OSError):  # a kernel that lists none
        while rest := listed.read_text().split():
            for one in map(int, rest):
                os.kill(one, signal.SIGKILL)
                os.waitpid(one, 0)


def _outcome(ended: Ended, words: LastWords, termination_log: Path | None) -> int:
    """The exit status, once what was left unsaid is said."""
    if words.status is not None:
        return words.status
    if ended.stopped:
        return _SIGNALLED + signal.SIGTERM
    if ended.status < 0 and -ended.status not in _CRASHES:
        return _SIGNALLED - ended.status  # killed from outside: by whom, the kubelet knows
    # Imported here: most builds end without.
    from edgesmith_builder.contract import BuildFailure  # noqa: PLC0415 - see above
    from edgesmith_builder.outcome import say_failure  # noqa: PLC0415 - see above
    from edgesmith_builder.progress import log_to_stderr  # noqa: PLC0415 - see above
    from edgesmith_runtime.ending import how_ended  # noqa: PLC0415 - see above

    log_to_stderr()
    how = how_ended(ended.status)
    found = words.sentence(how)
    if found is not None:
        return say_failure(termination_log, BuildFailure(reason=words.notes[-1].reason, message=found, retry=False))
    message = f"the builder ended with {how} and without a word; the last line of its log says after which step"
    failure = BuildFailure(reason="Internal", message=message, retry=ended.status in _SHORTAGES)
    return say_failure(termination_log, failure)


def _end_with(parent: int) -> None:
    """Be killed when the process that waits is: nobody else would end what it waits for."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
