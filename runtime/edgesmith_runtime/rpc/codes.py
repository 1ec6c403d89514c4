"""How a failed request ends over gRPC: its status code and its sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc

from edgesmith_runtime.errors import AnswerFailed, BadRequest, NotFound, TooLarge, Unavailable, Unsupported
from edgesmith_runtime.rpc.watchers import Crowded

if TYPE_CHECKING:
    from edgesmith_runtime.errors import RequestError

__all__ = ["code_of", "sentence_of"]

_LONGEST_SENTENCE: Final = 1000
"""Characters of an error; clients take no more than 8 KiB of trailing metadata."""

_CODES: Final = {
    BadRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    AnswerFailed: grpc.StatusCode.INTERNAL,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Crowded: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def code_of(error: RequestError) -> grpc.StatusCode:
    """The status code of an error."""
    return _CODES.get(type(error), grpc.StatusCode.INTERNAL)


def sentence_of(error: RequestError) -> str:
    """Its sentence, no longer than clients take."""
    return str(error)[:_LONGEST_SENTENCE]
