"""What would be said of this process if it ended now, kept where the process that waits for it can read it.

What a build reads is the user's. A pickle may end the process that reads it, and an engine written in C++ may crash on
a file: then nothing of Python runs any more, so what was in hand has to stand somewhere before.
"""

from __future__ import annotations

import json
import mmap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

_SIZE = 1 << 18
_LONGEST = 1000
"""Characters of a note's part: a URI may be long, and the page is not."""
_MOST = 3
"""Notes that are kept; there are never so many, and the page must not overflow."""

Blame = Literal["ModelInvalid", "DatasetInvalid"]
"""What a build fails with where a file ended it."""

MADE, SCORED, REPLAYED = "it was made", "it was scored", "its golden samples were replayed"
"""What is done with a candidate, as `doing` takes it."""

_page = mmap.mmap(-1, _SIZE)
"""Shared with the processes that are forked from here on."""

_left_out: dict[str, str] = {}
"""Why candidates are not to be tried, by their form: processes that are forked find what stood here then."""


@dataclass(frozen=True, slots=True)
class Note:
    """A file that somebody gave, in the hands of code that may end the process."""

    what: str
    """What messages call it: `spec.source.uri s3://…`."""
    doing: str
    """What is done with it, as the end of a sentence: `litert ran it`."""
    expected: str
    reason: Blame


@dataclass(frozen=True, slots=True)
class Trying:
    """A candidate that is being made and scored by code that may end the process."""

    form: str
    """Which one: `int8`."""
    doing: str
    """What is done with it, as the end of a sentence: `it was scored`."""
    since: float
    """When that began, by a clock that all processes have in common."""


@dataclass(frozen=True, slots=True)
class LastWords:
    """What a process left on the page."""

    status: int | None = None
    """Its exit status, once it has said all that it has to say."""
    work: str | None = None
    """Its folder for temporary files."""
    notes: tuple[Note, ...] = ()
    """What it has in hand, the last one last."""
    trying: Trying | None = None
    """The candidate that it works on."""

    def sentence(self, how: str) -> str | None:
        """What is to be said where it ended; None where no file was in hand.

        Args:
            how: How it ended: `signal SIGSEGV`.
        """
        if not self.notes:
            return None
        last = self.notes[-1]
        files = " or ".join(dict.fromkeys(note.what for note in self.notes))
        return f"{files} ended the builder with {how} while {last.doing}; {last.expected} was expected"


def read() -> LastWords:
    """What stands on the page; nothing where it is being written."""
    text = _page[: max(0, _page.find(b"\0"))]
    try:
        found: dict[str, Any] = json.loads(text) if text else {}
    except ValueError:
        return LastWords()
    notes, trying = tuple(Note(**one) for one in found.get("notes", ())), found.get("trying")
    return LastWords(found.get("status"), found.get("work"), notes, Trying(**trying) if trying else None)


def forget() -> None:
    """Clear the page for another process."""
    _write(LastWords())


def finished(status: int) -> None:
    """All is said: whatever happens to the process on its way out changes nothing.

    Args:
        status: Its exit status.
    """
    _write(LastWords(status))


@contextmanager
def littering(folder: Path) -> Iterator[None]:
    """Name a folder that is to go with this process, however it ends."""
    _write(replace(read(), work=str(folder)))
    yield
    _write(replace(read(), work=None))


@contextmanager
def in_hand(what: str, doing: str, expected: str, reason: Blame = "ModelInvalid") -> Iterator[None]:
    """Name a file for as long as the block may end the process.

    What leaves the block as no Exception (`SystemExit`, say) is on its way to end the process, so the note stays.

    Args:
        what: What messages call the file.
        doing: What is done with it, as the end of a sentence.
        expected: What was expected in its place.
        reason: What the build fails with.
    """
    before = read()
    note = Note(what[:_LONGEST], doing[:_LONGEST], expected[:_LONGEST], reason)
    _write(replace(before, notes=(*before.notes, note)[-_MOST:]))
    try:
        yield
    except Exception:
        _write(before)
        raise
    _write(before)


@contextmanager
def trying(form: str) -> Iterator[None]:
    """Name a candidate for as long as the block may end the process; what leaves it as no Exception does.

    Args:
        form: Which one: a rung, or the image that a build is re-based from.
    """
    _write(replace(read(), trying=Trying(form, MADE, time.monotonic())))
    try:
        yield
    except Exception:
        _write(replace(read(), trying=None))
        raise
    _write(replace(read(), trying=None))


def doing(what: str) -> None:
    """Say what is done with the candidate from here on.

    Args:
        what: The end of a sentence: `it was scored`.
    """
    words = read()
    if words.trying is not None:
        _write(replace(words, trying=replace(words.trying, doing=what)))


def leave_out(form: str, why: str) -> None:
    """Have the processes that are forked from here on leave a candidate out.

    Args:
        form: Which one.
        why: In one sentence, as its rejection.
    """
    _left_out[form] = why


def left_out(form: str) -> str | None:
    """Why a candidate is not to be tried; None where it is."""
    return _left_out.get(form)


def _write(words: LastWords) -> None:
    # Not the whole page: each picture of a set is written here. JSON has no byte 0 in it.
    text = json.dumps(asdict(words)).encode() + b"\0"
    _page[: len(text)] = text
