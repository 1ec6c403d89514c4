"""What goes wrong on the stage, as one sentence."""

from __future__ import annotations


class StageError(Exception):
    """Something that the stage needs is missing or did not happen in time; the message is for the terminal."""
