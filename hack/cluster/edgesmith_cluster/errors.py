"""What is raised when the cluster cannot do what it was asked."""

from pathlib import Path

_TAIL_LINES = 15


class ClusterError(Exception):
    """Something went wrong that one sentence explains.

    Attributes:
        detail: lines that help to find the cause, a log's tail say; may be empty.
    """

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.detail = detail


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a log, headed by its path; empty when there is none."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    kept = text.splitlines()[-lines:]
    return "\n".join([f"the end of {log}:", *(f"  {line[:400]}" for line in kept)]) if kept else ""
