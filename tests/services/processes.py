"""Programs that run beside a test run and end with it, however it ends."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Put before a program: the kernel kills it when the process that started it dies, even by SIGKILL."""


@contextlib.contextmanager
def running_program(
    line: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the block runs; what it prints goes to `log`. It is killed: nobody reads what it keeps.

    Args:
        line: The program and its arguments.
        log: Where what it prints goes.
        environment: Variables added to this process's own.
    """
    variables = {**os.environ, **(environment or {})}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*ENDS_WITH_US, *line], stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=variables
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
