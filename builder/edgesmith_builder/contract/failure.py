"""What the builder answers where there is no image."""

from __future__ import annotations

from typing import Literal

from edgesmith_builder.contract.report import Candidate
from edgesmith_builder.contract.wire import Wire

FailureReason = Literal[
    "SourceNotFound",
    "SourceUnreachable",
    "SourceForbidden",
    "DigestMismatch",
    "ModelInvalid",
    "ModelHasNaN",
    "ModelTooLarge",
    "InterfaceMismatch",
    "DatasetInvalid",
    "DatasetMismatch",
    "NoCandidate",
    "GatesFailed",
    "RegistryUnreachable",
    "RegistryForbidden",
    "RegistryRefused",
    "RequestInvalid",
    "Internal",
]


class BuildFailure(Wire):
    """Why there is no image: the last line of the builder's termination message."""

    reason: FailureReason
    message: str
    """One sentence: the field, its value, what was expected."""
    retry: bool
    """Whether the same request can succeed later without anybody changing it."""
    candidates: tuple[Candidate, ...] = ()
