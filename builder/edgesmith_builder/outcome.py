"""How the builder says how it ended: the termination message, the log, the exit status."""

from __future__ import annotations

import logging
from pathlib import Path

from edgesmith_builder.contract import BuildFailure

log = logging.getLogger(__name__)

TERMINATED = 143
"""The exit status after SIGTERM."""

_FINAL, _RETRY = 1, 2


def say_failure(path: Path | None, failure: BuildFailure, error: Exception | None = None) -> int:
    """Say that there is no image.

    Args:
        path: Where the termination message goes.
        failure: Why.
        error: What to leave a trace of in the log.

    Returns:
        The exit status.
    """
    log.error("%s: %s", failure.reason, failure.message, exc_info=error)
    say(path, failure.to_json())
    return _RETRY if failure.retry else _FINAL


def say(path: Path | None, line: str) -> None:
    """Write the termination message, where there is a place for one."""
    if path is None:
        return
    try:
        path.write_text(line + "\n", encoding="utf-8")
    except OSError as error:
        log.warning("--termination-log %s cannot be written (%s)", path, error.strerror)
