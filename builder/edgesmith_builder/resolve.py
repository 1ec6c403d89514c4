"""Which bytes lie at URIs whose digest nobody gave: one look at each, and its bytes only where the place cannot say."""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path

from edgesmith_builder.contract import (
    ANSWER_LIMIT,
    VALIDATOR_LIMIT,
    Artifact,
    FileToResolve,
    ResolvedFile,
    ResolveRequest,
    ResolveResult,
)
from edgesmith_builder.errors import BuildError, DatasetInvalid, ModelInvalid
from edgesmith_builder.gather import largest_model
from edgesmith_builder.limits import DATASET, memory_limit
from edgesmith_builder.progress import step
from edgesmith_builder.source import Limit, Place

log = logging.getLogger(__name__)

_ANY_SIZE = Limit(sys.maxsize, ModelInvalid)
"""Of a file that is only measured: what it is too large for, the one who asks decides."""
_SETS = ("calibration", "evaluation")
_HASHED = 16
"""Characters of a validator in an answer that would be too long."""


def resolve(request: ResolveRequest, sources: Place, work: Path) -> ResolveResult:
    """Look at every file of a request.

    Args:
        request: The files.
        sources: Where they are.
        work: A folder with room for the largest of them.

    Raises:
        BuildError: of the fitting kind, of the first file that cannot be looked at.
    """
    return _fitting(ResolveResult(files=tuple(_resolved(file, sources, work / "file") for file in request.files)))


def _resolved(file: FileToResolve, sources: Place, target: Path) -> ResolvedFile:
    """One file. The validator is that of the answer that the digest comes from: nothing lies between the two."""
    field, artifact = f"spec.{file.field}", Artifact(uri=file.uri)
    if file.given and file.sha256:
        return _found(file, file.sha256, _size(field, file, sources), None)
    limit = Limit(DATASET, DatasetInvalid) if file.field in _SETS else largest_model(memory_limit())
    with step(field) as current:
        seen = sources.look(field, artifact, limit)
        validator = _bounded(seen.validator)
        if file.sha256 and validator and file.validator in (validator, _hashed(validator)):
            current.say("is what it was")
            return _found(file, file.sha256, seen.size, validator)
        if seen.sha256:
            current.say(f"has {seen.sha256}")
            return _found(file, seen.sha256, seen.size, validator)
        current.say("has to be read")
    fetched = sources.fetch(field, artifact, target, limit)
    target.unlink()
    return _found(file, fetched.sha256, fetched.size, _bounded(fetched.validator))


def _size(field: str, file: FileToResolve, sources: Place) -> int | None:
    """How many bytes a file has whose digest is given; None where its place does not say, or has another file.

    Why not is told by the build, which needs the file itself.
    """
    try:
        seen = sources.look(field, Artifact(uri=file.uri), _ANY_SIZE)
    except BuildError as error:
        log.info("%s: how large it is is not known: %s", field, error)
        return None
    return seen.size if seen.sha256 in (None, file.sha256) else None


def _found(file: FileToResolve, sha256: str, size: int | None, validator: str | None) -> ResolvedFile:
    """What is answered of a file. Some servers answer HEAD with a length of 0, which says nothing of the file."""
    return ResolvedFile(field=file.field, sha256=sha256, bytes=size or None, validator=validator)


def _fitting(found: ResolveResult) -> ResolveResult:
    """The answer as it fits a termination message: where it is too long, with hashes of what places say."""
    if len(found.to_json()) <= ANSWER_LIMIT:
        return found
    files = (one.model_copy(update={"validator": _hashed(one.validator)}) for one in found.files)
    return ResolveResult(files=tuple(files))


def _hashed(validator: str | None) -> str | None:
    return hashlib.sha256(validator.encode()).hexdigest()[:_HASHED] if validator else validator


def _bounded(validator: str | None) -> str | None:
    if validator is None or len(validator) <= VALIDATOR_LIMIT:
        return validator
    return hashlib.sha256(validator.encode()).hexdigest()
