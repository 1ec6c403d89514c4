"""How a call ends over gRPC: its status and its sentence."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.errors import AnswerFailed, BadRequest, NotFound, TooLarge, Unavailable, Unsupported

if TYPE_CHECKING:
    from edgesmith_runtime.errors import RequestError

__all__ = ["Crowded", "Status", "code_of", "counted_as", "sentence_of"]

_LONGEST_SENTENCE: Final = 1000
"""Characters of an error; clients take no more than 8 KiB of trailing metadata."""


_TOO_LARGE: Final = "TOO_LARGE"
"""What a message over the limit is counted as; gRPC has one status for it and for a server that is full."""


class Status(enum.IntEnum):
    """How a call ends (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md)."""

    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class Crowded(Unavailable):
    """Every place is taken."""


_CODES: Final[dict[type[RequestError], Status]] = {
    BadRequest: Status.INVALID_ARGUMENT,
    NotFound: Status.NOT_FOUND,
    Unsupported: Status.UNIMPLEMENTED,
    TooLarge: Status.RESOURCE_EXHAUSTED,
    AnswerFailed: Status.INTERNAL,
    Unavailable: Status.UNAVAILABLE,
    Crowded: Status.RESOURCE_EXHAUSTED,
}


def code_of(error: RequestError) -> Status:
    """The status that an error is answered with."""
    return _CODES.get(type(error), Status.INTERNAL)


def counted_as(error: RequestError) -> str:
    """What an error is counted as: its status, and apart from load what is the client's own doing, as over HTTP."""
    return _TOO_LARGE if type(error) is TooLarge else code_of(error).name


def sentence_of(error: RequestError) -> str:
    """Its sentence, no longer than clients take."""
    return str(error)[:_LONGEST_SENTENCE]
