"""One writer at a time in the cache, across processes; the kernel lets go when a process dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .console import say


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Holds a file's lock.

    Args:
        path: The lock file, created when absent and never removed.
        shared: Whether other readers may hold it too.

    Yields:
        Nothing; the lock is held inside.
    """
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with path.open("a") as file:
        try:
            fcntl.flock(file, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run that is using the image cache …")
            fcntl.flock(file, mode)
        yield
