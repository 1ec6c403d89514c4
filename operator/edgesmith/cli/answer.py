"""What a command has to say."""

from __future__ import annotations

from typing import NamedTuple


class Answer(NamedTuple):
    """Text for standard output, and the exit status."""

    text: str
    status: int = 0
