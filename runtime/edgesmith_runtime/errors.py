"""How a request fails.

::

    RequestError              answered with a status and one sentence
    ├── BadRequest       400  the request itself is wrong
    ├── NotFound         404  no such model, version or page
    ├── Unsupported      404  an extension of the protocol that is not served
    ├── TooLarge         413  the request is over a limit
    ├── AnswerFailed     500  the model failed, or its answer has no such form
    └── Unavailable      503  not ready, or too many requests wait; a retry can help
"""

from __future__ import annotations

import reprlib
from http import HTTPStatus
from typing import ClassVar, Final

__all__ = ["AnswerFailed", "BadRequest", "NotFound", "RequestError", "TooLarge", "Unavailable", "Unsupported", "shown"]

_SHORT: Final = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = 8
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 100


def shown(value: object) -> str:
    """Write whatever a client sent as a sentence shows it: short, however long or deep it is."""
    return _SHORT.repr(value)


class RequestError(Exception):
    """A request that cannot be answered; the message is one sentence for its sender."""

    status: ClassVar[HTTPStatus]


class BadRequest(RequestError):  # noqa: N818 - named as its status is
    """The request itself is wrong."""

    status = HTTPStatus.BAD_REQUEST


class NotFound(RequestError):  # noqa: N818 - named as its status is
    """There is no such model, version or page."""

    status = HTTPStatus.NOT_FOUND


class Unsupported(RequestError):  # noqa: N818 - reads as what it is
    """The request belongs to an extension of the protocol that is not served here."""

    status = HTTPStatus.NOT_FOUND


class TooLarge(RequestError):  # noqa: N818 - named as its status is
    """The request is over a limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class AnswerFailed(RequestError):  # noqa: N818 - reads as what happened
    """The model failed, or its answer cannot be written in the form asked for."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


class Unavailable(RequestError):  # noqa: N818 - named as its status is
    """The server is not ready, or too many requests wait; a retry can help."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
