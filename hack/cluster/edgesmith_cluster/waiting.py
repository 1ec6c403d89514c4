"""Waiting for a condition, with a deadline and a sentence about what is waited for."""

import time
from collections.abc import Callable

from edgesmith_cluster.errors import ClusterError

START_SECONDS = 60.0
"""How long a program may take to start: a machine that compiles and tests beside it is slow."""

_INTERVAL = 0.1


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    seconds: float,
    check: Callable[[], None] | None = None,
    why: Callable[[], str] | None = None,
) -> None:
    """Return once the condition holds.

    Args:
        condition: asked ten times a second.
        what: completes the sentence "waited 30 s for …".
        seconds: the deadline.
        check: called in between; raises when waiting has become pointless, because a program died say.
        why: tells what the condition saw last, for the error.

    Raises:
        ClusterError: the deadline passed.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if check:
            check()
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {seconds:.0f} s for {what}, in vain", why() if why else "")
        time.sleep(_INTERVAL)
