"""What every place can do that models and data sets come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import BuildError


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched, now a file."""

    path: Path
    size: int
    sha256: str
    validator: str | None = None
    """What the place said of the bytes that came; see `Seen`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a place says of a file without sending it."""

    validator: str | None = None
    """What changes whenever the bytes do; None: the place says nothing that does."""
    sha256: str | None = None
    """64 hex digits of all of its bytes, where the place knows them."""
    size: int | None = None
    """Bytes, where the place says so."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How large it may be, and what it is when it is larger."""

    size: int
    """Bytes."""
    error: type[BuildError]
    hint: str = ""
    """What bounds it, as the end of a sentence."""


class Source(Protocol):
    """A place, and who we are there."""

    @property
    def form(self) -> str:
        """How a URI of it looks, for messages: `s3://BUCKET/KEY`."""

    def fetch(self, field: str, artifact: Artifact, target: Path, limit: Limit) -> Fetched:
        """Bring what a URI names into a file.

        Args:
            field: Where the request names it, for messages: `spec.source`.
            artifact: Which, with its sha256 where known.
            target: The file to write.
            limit: How large it may be.

        Raises:
            BuildError: of the fitting kind.
        """


class Place(Source, Protocol):
    """A place that can be asked about a file, too, without sending it."""

    def look(self, field: str, artifact: Artifact, limit: Limit) -> Seen:
        """Ask what lies at a URI without fetching it.

        Where the place gives no useful answer to that, nothing is seen: fetching the file tells why.

        Args:
            field: Where the request names it, for messages: `spec.source`.
            artifact: Which.
            limit: How large it may be.

        Raises:
            BuildError: where fetching it would, in the same words.
        """
