"""What goes wrong while a candidate is made, told apart: what the model cannot, and what the machine could not."""

from __future__ import annotations

import re

from google.protobuf.message import DecodeError

_MACHINE = re.compile(
    r"bad_alloc|No space left|system error number \d+|[Ff]ailed to allocate|Cannot allocate memory"
    r"|[Pp]rotobuf (serialization|parsing) failed"
)
"""How tools that have no error of their own for it say that memory or the disk is used up. What is parsed here was
written a moment before, so a file that does not parse was not written whole."""


class CompileFailed(Exception):  # noqa: N818 - an outcome of the ladder, turned into a sentence there
    """A candidate cannot be made of the model; the message says why, in the model's own terms."""


def machine_failed(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says nothing of the model: a full disk, no memory.

    The same build can succeed elsewhere or later, so it must not decide which candidate wins.
    """
    while error is not None:
        if isinstance(error, OSError | MemoryError | DecodeError) or _MACHINE.search(str(error)):
            return True
        error = error.__cause__
    return False
