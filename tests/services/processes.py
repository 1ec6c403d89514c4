"""Programs that run beside a test run and end with it, however it ends."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Put before a program: the kernel kills it when the process that started it dies, even by SIGKILL."""


@contextlib.contextmanager
def running_program(line: Sequence[str | Path], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the block runs; what it prints goes to `log`. It is killed: nobody reads what it keeps."""
    with log.open("wb") as output:
        process = subprocess.Popen([*ENDS_WITH_US, *line], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
