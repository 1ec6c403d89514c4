"""What is asked of a resolve Job, and what it answers: which bytes lie at URIs without a digest, and how many."""

from __future__ import annotations

from pydantic import Field

from edgesmith_builder.contract.wire import Wire

VALIDATOR_LIMIT = 64
"""Characters of a validator; a longer one is kept as its SHA-256. An answer must fit a termination message, and what is
compared is whether it is the same."""

ANSWER_LIMIT = 4000
"""Characters of an answer; Kubernetes keeps 4 KiB of a termination message, and the line ends in it."""


class FileToResolve(Wire):
    """A file without a digest, with what the last look found; or one whose digest is given, for its size alone."""

    field: str
    """Where the EdgeModel's spec names it, without `spec.`: `source`, `compiled[EdgeTPU]`."""
    uri: str
    sha256: str | None = None
    """What was found there last, 64 hex digits; it stands as long as the place still says `validator`."""
    validator: str | None = None
    """What the place said of the file then; see `edgesmith_builder.source.interface`."""
    given: bool = False
    """Whether `sha256` is the EdgeModel's own. Then the place is asked for the size of that file and for nothing more,
    and one that gives no answer fails nothing."""


class ResolveRequest(Wire):
    """Files to look at."""

    files: tuple[FileToResolve, ...]
    plain_registries: tuple[str, ...] = ()
    """Registries, `HOST[:PORT]`, that are asked without TLS: for registries inside the cluster only."""


class ResolvedFile(Wire):
    """What lies at a file's URI."""

    field: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """64 hex digits."""
    bytes: int | None = Field(None, ge=1)
    """How many the file has. Absent: the place does not say, and the file was not read."""
    validator: str | None = Field(None, max_length=VALIDATOR_LIMIT)
    """What the place says of the file. Absent: nothing that says when it changes."""


class ResolveResult(Wire):
    """The answer, in the order of the request: the last line of the termination message."""

    files: tuple[ResolvedFile, ...]
