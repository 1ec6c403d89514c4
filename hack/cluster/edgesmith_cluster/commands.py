"""Running other programs and saying what they said when they fail."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgesmith_cluster.errors import ClusterError


def run(
    command: Sequence[str | Path],
    *,
    text: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> str:
    """Run a program to its end and return what it printed.

    Args:
        command: the program and its arguments.
        text: what it reads from standard input.
        environment: variables added to this process's own.
        timeout: seconds after which it is killed.

    Raises:
        ClusterError: it is not installed, failed, or took too long.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError as error:
        raise ClusterError(f"the program {words[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{shlex.join(words)}` did not end within {timeout:.0f} s") from error
    if done.returncode:
        raise ClusterError(
            f"`{shlex.join(words)}` ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout


def succeeds(command: Sequence[str | Path]) -> bool:
    """Run a program and tell whether it ended well; what it prints is dropped."""
    words = [str(word) for word in command]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
