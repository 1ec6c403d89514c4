"""SIGTERM ends a self-test, also as the first process of a container, where the kernel drops it without a handler."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Final

__all__ = ["STATUS", "end_at_sigterm", "end_within_native_code"]

STATUS: Final = 128 + signal.SIGTERM
"""The exit status, as a shell has it for a process that the signal ended."""


def end_at_sigterm() -> None:
    """From now on SIGTERM ends this process, between two instructions of Python. Called on the main thread."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(STATUS))


def end_within_native_code() -> None:
    """The same while the main thread is in an engine, which may compile for minutes: from a thread.

    What is written to the wakeup descriptor comes at once. A process that is forked later would share it.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)

    def wait() -> None:
        while signals := reading.recv(64):
            if signal.SIGTERM in signals:
                os._exit(STATUS)

    end_at_sigterm()
    signal.set_wakeup_fd(writing.detach(), warn_on_full_buffer=False)
    threading.Thread(target=wait, name="sigterm", daemon=True).start()
