"""Tells a person what is being done; everything goes to stderr, stdout belongs to results."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

START = time.monotonic()


class ImageError(Exception):
    """Something a person can act on, said in one sentence."""


def say(sentence: str) -> None:
    """Prints a line with the seconds since the start.

    Args:
        sentence: What is being done.
    """
    print(f"[{time.monotonic() - START:6.1f} s] {sentence}", file=sys.stderr, flush=True)


@contextmanager
def step(sentence: str) -> Iterator[None]:
    """Announces a step and, when it ends well, how long it took.

    Args:
        sentence: What is being done.

    Yields:
        Nothing.
    """
    say(f"{sentence} …")
    start = time.monotonic()
    yield
    say(f"{sentence}: done in {time.monotonic() - start:.1f} s")


def human(size: int) -> str:
    """Writes a size for people.

    Args:
        size: Bytes.

    Returns:
        Such as ``38.6 MB`` (millions of bytes).
    """
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
