"""What can go wrong in a build, and what is said about it.

    BuildError
    ├── RequestInvalid       the request contradicts itself or names what cannot be
    ├── SourceNotFound       nothing is at the URI
    ├── SourceUnreachable    the bucket, server or registry gives no usable answer    (a retry can help)
    ├── SourceForbidden      it does not accept the credentials
    ├── DigestMismatch       the file is not the one whose sha256 was given
    ├── ModelInvalid         not a model, or none that the engine runs
    │   ├── ModelHasNaN      a weight is not a number
    │   ├── ModelTooLarge    larger than the memory of the device that it is for
    │   └── InterfaceMismatch  an alternative takes or answers otherwise than the source that it may stand in for
    ├── DatasetInvalid       not a data set that may be read
    ├── DatasetMismatch      a data set that does not fit the model
    ├── NoCandidate          no candidate can be made, or none of them works
    └── GatesFailed          no candidate keeps the gates of the request

and, from `edgesmith_builder.oci`, `RegistryError` with its three kinds. `failure_of` turns each into the `BuildFailure`
that leaves the builder; the class name is the reason. Every message is one sentence that names the field, its value
and what was expected, and never holds a secret.
"""

from __future__ import annotations

from typing import get_args

from edgesmith_builder.contract import BuildFailure, Candidate, FailureReason
from edgesmith_builder.oci import RegistryError, RegistryForbidden, RegistryRefused, RegistryUnreachable

MESSAGE_LIMIT = 1000
"""Characters of a message in a `BuildFailure`; Kubernetes keeps 4 KiB of a termination message in all."""

REJECTION_LIMIT = 300
"""Characters of one candidate's rejection in a `BuildFailure`."""

_INTERNAL_RETRY = True  # a full disk or a killed process looks like this


class BuildError(Exception):
    """The root of this package's errors; raise one of its children."""

    retry: bool = False
    """Whether the same request can succeed later without anybody changing it."""
    candidates: tuple[Candidate, ...] = ()


class RequestInvalid(BuildError):  # noqa: N818 - the name is the reason that users see, as with all below
    """The request cannot be carried out as it stands."""


class SourceNotFound(BuildError):  # noqa: N818
    """Nothing is at the URI: no such bucket, object, page, tag or file."""


class SourceUnreachable(BuildError):  # noqa: N818
    """The bucket, server or registry gave no usable answer."""

    retry = True

    def __init__(self, message: str, asked: float = 0.0) -> None:
        super().__init__(message)
        self.asked = asked
        """Seconds that it asked to be left alone for; 0 where it did not."""


class SourceForbidden(BuildError):  # noqa: N818
    """The bucket, server or registry does not accept the credentials, or wants some."""


class DigestMismatch(BuildError):  # noqa: N818
    """A file's bytes are not those whose sha256 the request gives."""


class ModelInvalid(BuildError):  # noqa: N818
    """The source is not a model, or not one that the engine can run."""


class ModelHasNaN(ModelInvalid):
    """A weight of the model is not a finite number."""


class ModelTooLarge(ModelInvalid):
    """The source is larger than the memory of the device that it is to run on."""


class InterfaceMismatch(ModelInvalid):
    """An alternative takes other inputs or answers other outputs than the source that it may stand in for."""


class DatasetInvalid(BuildError):  # noqa: N818
    """A data set is neither an `.npz` that may be read nor a zip of pictures, or its values are not numbers."""


class DatasetMismatch(BuildError):  # noqa: N818
    """A data set's arrays do not fit the model's inputs or outputs."""


class NoCandidate(BuildError):  # noqa: N818
    """No candidate of the ladder can be made and works."""

    def __init__(self, message: str, candidates: tuple[Candidate, ...]) -> None:
        super().__init__(message)
        self.candidates = candidates


class GatesFailed(NoCandidate):
    """There are candidates, and none keeps the gates of the request; their images are in the registry."""


_REASONS: dict[type[Exception], FailureReason] = {
    RequestInvalid: "RequestInvalid",
    SourceNotFound: "SourceNotFound",
    SourceUnreachable: "SourceUnreachable",
    SourceForbidden: "SourceForbidden",
    DigestMismatch: "DigestMismatch",
    ModelHasNaN: "ModelHasNaN",
    ModelTooLarge: "ModelTooLarge",
    InterfaceMismatch: "InterfaceMismatch",
    ModelInvalid: "ModelInvalid",
    DatasetInvalid: "DatasetInvalid",
    DatasetMismatch: "DatasetMismatch",
    GatesFailed: "GatesFailed",
    NoCandidate: "NoCandidate",
    RegistryUnreachable: "RegistryUnreachable",
    RegistryForbidden: "RegistryForbidden",
    RegistryRefused: "RegistryRefused",
}
"""The first that fits decides, so children stand before their parents."""

REASONS: tuple[FailureReason, ...] = get_args(FailureReason)
"""Every reason there is."""


def failure_of(error: Exception) -> BuildFailure:
    """What leaves the builder for an error; one that is none of ours is `Internal`."""
    for kind, reason in _REASONS.items():
        if isinstance(error, kind):
            retry = error.retry if isinstance(error, BuildError | RegistryError) else False
            candidates = error.candidates if isinstance(error, BuildError) else ()
            return BuildFailure(
                reason=reason,
                message=shortened(str(error), MESSAGE_LIMIT),
                retry=retry,
                candidates=tuple(_shortened(candidate) for candidate in candidates),
            )
    words = f"the builder failed with {type(error).__name__}: {error}" if str(error) else repr(error)
    return BuildFailure(reason="Internal", message=shortened(words, MESSAGE_LIMIT), retry=_INTERNAL_RETRY)


def shortened(text: str, limit: int) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _shortened(candidate: Candidate) -> Candidate:
    if candidate.rejected is None:
        return candidate
    return candidate.model_copy(update={"rejected": shortened(candidate.rejected, REJECTION_LIMIT)})
