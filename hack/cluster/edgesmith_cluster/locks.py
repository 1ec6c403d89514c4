"""Locks between runs of this program."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(file: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a file's lock; the kernel gives it back when this process ends, however it ends.

    Args:
        file: the lock file. It is removed at the end, with its folder when that is empty.
        waiting: called once when another run holds the lock.
    """
    handle = _acquire(file, waiting)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(handle)
        with suppress(OSError):  # other locks are in it
            file.parent.rmdir()


def _acquire(file: Path, waiting: Callable[[], None] | None) -> int:
    while True:
        with suppress(FileExistsError):  # not exist_ok=True: that looks a second time, and another run may remove it
            file.parent.mkdir(parents=True)
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # its folder was removed in between
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting()
                waiting = None
            fcntl.flock(handle, fcntl.LOCK_EX)
        # The run before may have removed the file this lock is on; the lock that counts is on the file that is there.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), file.stat()):
                return handle
        os.close(handle)
