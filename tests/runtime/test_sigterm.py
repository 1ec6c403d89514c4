"""A self-test ends at SIGTERM, also as the first process of a container, where unhandled signals are dropped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from needs import lacking

from edgesmith_runtime.sigterm import STATUS
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle

HANGING = """
import ctypes, sys, threading
from edgesmith_runtime import selftest
place, libc, mutex = sys.argv.pop(), ctypes.CDLL(None), ctypes.create_string_buffer(64)
def in_python(*arguments, **options):
    sys.stderr.write("hangs\\n")
    threading.Event().wait()
def in_native_code(*arguments, **options):
    sys.stderr.write("hangs\\n")
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)
selftest.try_server = in_python if place == "server" else lambda *arguments, **options: (0, 1)
selftest.load = in_native_code
from edgesmith_runtime.cli import main
sys.exit(main())
"""
"""Its last argument is what never ends: the trial of a server, or an engine that compiles."""


@pytest.mark.parametrize("first", [False, True], ids=["any process", "the first one"])
@pytest.mark.parametrize("place", ["server", "engine"])
def test_a_self_test_that_is_told_to_end_ends(toy: Bundle, place: str, *, first: bool) -> None:
    if first and os.geteuid() != 0:
        lacking("a process namespace needs root")
    command = [sys.executable, "-c", HANGING, "selftest", "--bundle", str(toy.folder)]
    command += ["--termination-log", "/dev/null", place]
    prefix = ["unshare", "--pid", "--fork", "--kill-child"] if first else []
    process = subprocess.Popen([*prefix, *command], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        while "hangs" not in process.stderr.readline():
            assert process.poll() is None
        os.kill(_child(process.pid) if first else process.pid, signal.SIGTERM)
        assert process.wait(PATIENCE) == STATUS
    finally:
        process.kill()
        process.communicate()


def _child(parent: int) -> int:
    return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])
