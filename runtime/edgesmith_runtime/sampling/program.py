"""A program of the owner's own: bytes in, bytes out, in bounded time, memory and size, whatever it does."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import subprocess
import time
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.ending import how_ended
from edgesmith_runtime.groups import end_group, ended_by

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LARGEST", "ProgramFailed", "ask"]

LARGEST: Final = 64 << 20
"""Bytes that a program may answer."""
_SECONDS: Final = 10.0
_MEMORY: Final = 256 << 20
_PIECE: Final = 1 << 16


class ProgramFailed(Exception):  # noqa: N818 - reads as what happened
    """It did not answer as it should; the message holds nothing of what it was given."""


def ask(command: Sequence[str], data: bytes) -> bytes:
    """What a program answers; what it says on standard error is dropped, since it may be about what it was given.

    Nothing of it is left behind: what it started ends with it.

    Args:
        command: The program and its arguments.
        data: What it is given on standard input.

    Raises:
        ProgramFailed: It cannot be started, failed, took too long or answered too much.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the owner's own program, from the pod's image
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramFailed(f"{command[0]} cannot be started: {error.strerror}") from None
    until = time.monotonic() + _SECONDS
    with process:
        try:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
            answered = _exchange(process, data, until)
            much = answered is not None and len(answered) > LARGEST
            late = answered is None or not (much or ended_by(process, until))
        finally:
            status = end_group(process)
    if answered is None or late:
        raise ProgramFailed(f"{command[0]} took more than {_SECONDS:g} seconds")
    if much:
        raise ProgramFailed(f"{command[0]} answered more than {LARGEST} bytes")
    if status:
        raise ProgramFailed(f"{command[0]} ended with {how_ended(status)}")
    return answered


def _exchange(process: subprocess.Popen[bytes], data: bytes, until: float) -> bytes | None:
    """Give it all bytes while those that it answers are read; little more than may be.

    None where that took too long: what it started may hold the other ends of the pipes, and outlive it.
    """
    given, answered = process.stdin, process.stdout
    if given is None or answered is None:
        return b""
    left, found = memoryview(data), bytearray()
    with selectors.DefaultSelector() as pipes:
        for pipe, event in ((given, selectors.EVENT_WRITE), (answered, selectors.EVENT_READ)):
            os.set_blocking(pipe.fileno(), False)
            pipes.register(pipe, event, pipe.close)
        while pipes.get_map() and len(found) <= LARGEST:
            seconds = until - time.monotonic()
            if seconds <= 0:
                return None
            for key, _ in pipes.select(seconds):
                if key.fileobj is answered:
                    part = os.read(key.fd, _PIECE)
                    found += part
                    over = not part
                else:
                    left = _give(key.fd, left)
                    over = not left
                if over:
                    pipes.unregister(key.fileobj)
                    key.data()
    return bytes(found)


def _give(pipe: int, data: memoryview) -> memoryview:
    """Give as much as the pipe takes; returns what is left."""
    try:
        return data[os.write(pipe, data[:_PIECE]) :]
    except BrokenPipeError:  # one that ends early has read what it wanted
        return data[:0]
