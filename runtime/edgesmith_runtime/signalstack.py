"""The memory on which a thread takes signals, kept through what puts its own there.

sigaltstack(2). Python takes signals on that memory where a thread has some. OpenVINO's CPU plugin gives the thread that
loads it another piece, and takes it back when it is unloaded; of two plugins that are not unloaded in reverse order
the second leaves what the first has unmapped, and the next signal ends the process.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["kept_signal_stack"]


class _Stack(ctypes.Structure):
    """``stack_t``, whose order is that of glibc and musl on Linux."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("place", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    ]


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Give this thread back, at the end, the memory that it takes signals on now."""
    sigaltstack = ctypes.CDLL(None).sigaltstack
    own = _Stack()
    sigaltstack(None, ctypes.byref(own))
    try:
        yield
    finally:
        sigaltstack(ctypes.byref(own), None)
