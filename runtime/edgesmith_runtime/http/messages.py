"""Requests and responses, and the bytes of both."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.codec.jsontext import json_bytes
from edgesmith_runtime.errors import RequestError, Unavailable
from edgesmith_runtime.http.limits import MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["JSON_TYPE", "Body", "Request", "Response", "error_response", "json_response", "response_head"]

JSON_TYPE: Final = "application/json"
_ALIGNMENT: Final = 64  # a cache line, and what the engines' vector loads like best
_LONGEST_SENTENCE: Final = 1000
_HUGE_PAGE: Final = 2 * MEBIBYTE
_STEP: Final = 256 * 1024


@dataclass(slots=True)
class Request:
    """One request, its body received.

    Attributes:
        method: The method, in capitals.
        path: The path as sent, without the query.
        headers: The headers by lower-case name; of repeated ones the values joined by a comma.
        body: The body; empty where there is none.
        keep_alive: Whether the client wants the connection kept.
        old: Whether it speaks HTTP/1.0.
        reserved: How many bytes of the server's budget its body holds.
        received: When its last byte came, on `time.perf_counter`'s clock.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    keep_alive: bool
    old: bool
    body: memoryview = field(default_factory=lambda: memoryview(b""))
    reserved: int = 0
    received: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True)
class Response:
    """One response.

    Attributes:
        status: The status.
        parts: The body; sent one part after the other, without joining them.
        content_type: The body's type.
        headers: Further headers.
    """

    status: HTTPStatus
    parts: Sequence[bytes | memoryview]
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def length(self) -> int:
        """The length of the body in bytes."""
        return sum(len(part) for part in self.parts)


class Body:
    """A body being received.

    A body whose length is known has its place in memory laid out with its first byte, so that the network can write
    into it and the engine read from it without a copy between. The machine gives that memory as it is written to; what
    has not been written to is never handed out.

    Args:
        length: The length in bytes, or ``None`` where it comes in chunks.
        json_length: How many bytes of JSON precede the tensors: the first byte behind them is aligned.
    """

    def __init__(self, length: int | None, json_length: int) -> None:
        self.length = length
        self.ended = length == 0
        """Whether all of it has come."""
        self.received = 0
        """How many bytes have come."""
        self._grown = bytearray()
        self._json_length = json_length
        self._fixed = memoryview(b"")

    @property
    def step(self) -> int:
        """How many bytes of memory the next bytes may take: a page of the size that the machine deals out.

        NumPy asks for huge pages for arrays of 4 MiB and more (``NUMPY_MADVISE_HUGEPAGE``).
        """
        return _HUGE_PAGE if self.length is not None and self.length >= 2 * _HUGE_PAGE else _STEP

    def rest(self, end: int) -> memoryview:
        """The memory that further bytes belong in, up to a number of bytes in all."""
        if not self._fixed:
            self._lay_out(self.length or 0)
        return self._fixed[self.received : end]

    def advance(self, count: int) -> None:
        """Count bytes that were written into `rest`."""
        self.received += count
        self.ended = self.received == self.length

    def add(self, data: bytes) -> None:
        """Append bytes."""
        if self.length is None:
            self._grown += data
            self.received += len(data)
        else:
            self.rest(self.received + len(data))[:] = data
            self.advance(len(data))

    def view(self) -> memoryview:
        """What has come of the body."""
        return memoryview(self._grown) if self.length is None else self._fixed[: self.received]

    def _lay_out(self, length: int) -> None:
        storage = np.empty(length + _ALIGNMENT, np.uint8)
        address = storage.__array_interface__["data"][0]
        start = -(address + self._json_length) % _ALIGNMENT
        self._fixed = storage[start : start + length].data


def json_response(document: Any, status: HTTPStatus = HTTPStatus.OK, *headers: tuple[str, str]) -> Response:
    """Write a document as a response."""
    return Response(status, [json_bytes(document)], headers=headers)


def error_response(error: RequestError | HTTPStatus, message: str = "", *headers: tuple[str, str]) -> Response:
    """Write an error as a response, in the protocol's form.

    Args:
        error: The error, or a status of its own with a message.
        message: The sentence where `error` is a status.
        headers: Further headers.
    """
    status = error if isinstance(error, HTTPStatus) else error.status
    if isinstance(error, Unavailable):
        headers = (*headers, ("Retry-After", "1"))
    return json_response({"error": (message or str(error))[:_LONGEST_SENTENCE]}, status, *headers)


def response_head(response: Response, *, keep_alive: bool, old: bool, now: float) -> bytes:
    """Write a response's status line and headers.

    Args:
        response: The response.
        keep_alive: Whether the connection stays open.
        old: Whether the client speaks HTTP/1.0.
        now: The time, in seconds since 1970.
    """
    lines = [
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"Date: {_date(int(now))}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {response.length}",
    ]
    lines += [f"{name}: {value}" for name, value in response.headers]
    if not keep_alive:
        lines.append("Connection: close")
    elif old:
        lines.append("Connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_dates: dict[int, str] = {}


def _date(second: int) -> str:
    """An HTTP date (RFC 9110, section 5.6.7). `email.utils` has one, and takes 0.8 MB."""
    text = _dates.get(second)
    if text is None:
        _dates.clear()
        at = time.gmtime(second)
        day = f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04}"
        text = _dates[second] = f"{day} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
    return text
