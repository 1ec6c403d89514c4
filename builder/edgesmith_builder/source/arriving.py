"""A file on its way here: streamed, bounded, hashed, and taken up again where it broke."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import DigestMismatch, RequestInvalid, SourceUnreachable
from edgesmith_builder.oci import Backoff
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.source.interface import Fetched, Limit

log = logging.getLogger(__name__)

PATIENCE = Backoff(attempts=5, first=0.5, limit=8.0)
"""How often in a row next to nothing may come, and the waits between."""

PIECE = 256 * 1024
"""Bytes that an answer must bring for the next failure to count as the first again: a byte at a time is none."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Arriving:
    """What has come of one file, over as many answers as it takes."""

    def __init__(self, what: str, limit: Limit, file: BinaryIO) -> None:
        """Begin with nothing.

        Args:
            what: What messages call it.
            limit: How large it may be.
            file: Where it is written; it can be read again from its start.
        """
        self.position = 0
        """Bytes that are there."""
        self._what = what
        self._limit = limit
        self._file = file
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """64 hex digits of what is there."""
        return self._digest.hexdigest()

    def take(self, piece: bytes) -> None:
        """Add the next bytes.

        Raises:
            BuildError: where they are more than may come, as the limit has it.
        """
        self.bound(self.position + len(piece))
        self._file.write(piece)
        self._digest.update(piece)
        self.position += len(piece)

    def bound(self, size: int) -> None:
        """See that a size, known or announced, is within the limit.

        Raises:
            BuildError: as the limit has it.
        """
        check_size(self._what, size, self._limit)

    def again(self) -> None:
        """Drop what is there: what comes next is another content, or all of it."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.position = 0


@dataclass(frozen=True, slots=True)
class Named:
    """A file, and what it is called."""

    field: str
    """Where the request names it: `spec.source`."""
    artifact: Artifact
    shown: str
    """Its URI, as it may be shown."""
    what: str
    """What messages call it, with the field."""

    def check_digest(self, found: str) -> None:
        """Hold a file's digest against the one that the request gives, if any.

        Raises:
            DigestMismatch: where it is another.
        """
        wanted = self.artifact.sha256
        if wanted is not None and found != wanted.lower():
            raise DigestMismatch(
                f"{self.field}.sha256 is {wanted.lower()} but {self.shown} has {found}; "
                "the digest of that file was expected"
            )


def receive(
    named: Named, target: Path, limit: Limit, read: Callable[[Arriving], None], patience: Backoff = PATIENCE
) -> Fetched:
    """Bring a file here, over as many answers as it takes, and check its digest.

    Args:
        named: Which.
        target: The file to write.
        limit: How large it may be.
        read: Adds what one answer brings, and returns when the end is reached.
        patience: How often next to nothing may come in a row.

    Raises:
        RequestInvalid: where the sha256 is none.
        DigestMismatch: where the bytes are others.
        BuildError: as `read` and the limit have it.
    """
    given = named.artifact.sha256
    if given is not None and not _SHA256.fullmatch(given.lower()):
        raise RequestInvalid(f"{named.field}.sha256 is {given!r}; 64 hex digits were expected")
    with step(f"fetched {named.shown}") as current, target.open("wb") as file:
        arriving = Arriving(named.what, limit, file)
        _patiently(arriving, read, patience)
        current.say(size_text(arriving.position))
    named.check_digest(arriving.sha256)
    return Fetched(target, arriving.position, arriving.sha256)


def check_size(what: str, size: int, limit: Limit) -> None:
    """Hold a size, known or announced, against the limit.

    Raises:
        BuildError: as the limit has it, where it is larger.
    """
    if size > limit.size:
        raise limit.error(f"{what} is larger than {size_text(limit.size)}; at most that was expected{limit.hint}")


def _patiently(arriving: Arriving, read: Callable[[Arriving], None], patience: Backoff) -> None:
    failed, furthest = 0, 0
    while True:
        try:
            read(arriving)
        except SourceUnreachable as error:
            if arriving.position >= furthest + PIECE:
                failed, furthest = 0, arriving.position
            failed += 1
            if failed >= patience.attempts:
                raise
            log.info("%s; going on from byte %d", error, arriving.position)
            time.sleep(patience.delay(failed - 1, error.asked))
        else:
            return
