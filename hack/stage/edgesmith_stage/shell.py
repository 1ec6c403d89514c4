"""Running other programs, with their own words when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgesmith_stage.errors import StageError

ROOT = Path(__file__).resolve().parents[3]
"""The repository."""


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    show: bool = False,
    timeout: float = 600,
) -> str:
    """Run a program and return its standard output.

    Args:
        command: The program and its arguments.
        env: Variables added to this process's own.
        stdin: What it reads.
        show: Let its standard error reach the terminal as it comes, for programs that report progress there.
        timeout: Seconds it may take.

    Raises:
        StageError: It is not installed, failed or took too long; with the end of what it printed.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise StageError(f"{words[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise StageError(f"`{' '.join(words)}` took more than {timeout:.0f} s") from error
    if done.returncode != 0:
        said = "\n".join(((done.stderr or "") + done.stdout).strip().splitlines()[-15:])
        if show and not said:
            raise StageError(f"`{' '.join(words[:4])} …` failed; it says why above")
        raise StageError(f"`{' '.join(words)}` ended with {done.returncode}: {said}")
    return done.stdout
