"""``wait``: a process that does nothing, so that its image stays on the node until a server is started from it."""

from __future__ import annotations

import signal
import sys

__all__ = ["wait"]

_ENDS = {signal.SIGTERM, signal.SIGINT}


def wait() -> int:
    """Wait until somebody ends the process; 0 then."""
    # Blocked, they are kept for sigwait: what has no handler is dropped in the first process of a container.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    sys.stdout.write("The image is kept on this node until its server starts.\n")
    sys.stdout.flush()
    signal.sigwait(_ENDS)
    return 0
