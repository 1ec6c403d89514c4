"""How many files and connections this process may have open at once."""

from __future__ import annotations

import resource
from contextlib import suppress

__all__ = ["raise_descriptor_limit"]


def raise_descriptor_limit() -> None:
    """Let this process open as many as it is allowed to.

    getrlimit(2): the soft limit is what counts, and any process may raise it up to the hard one. Where it is 1,024, as
    systemd hands it on, the connections that both ports take would use it up, and probes would be refused. Where the
    system allows no process as many as the hard limit says (`fs.nr_open`), it refuses, and the limit stays as it is.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
