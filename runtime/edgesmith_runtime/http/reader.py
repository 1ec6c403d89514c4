"""Requests out of bytes: the parser, the limits on what it takes in, and bodies received without a copy."""

from __future__ import annotations

import enum
import re
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import httptools

from edgesmith_runtime.errors import BadRequest, TooLarge, Unavailable
from edgesmith_runtime.http.limits import CROWDED
from edgesmith_runtime.http.messages import Body, Request, Response, error_response

if TYPE_CHECKING:
    from edgesmith_runtime.http.limits import Budget, Limits

__all__ = ["Phase", "RequestReader"]

_HEADER_LENGTH: Final = "inference-header-content-length"
_LONGEST_NUMBER: Final = 19
"""Digits of a length; more would be no length on any machine."""


_CHUNK: Final = 24
"""Bytes around a chunk that are no burden: its size with zeros before it, a few words on it, and two ends of lines."""
_HOST: Final = re.compile(r"[\w.~%!$&'()*+,;=:\[\]-]*", re.ASCII)
"""A host with its port (RFC 3986, 3.2), as far as its characters tell."""
_HEADS: Final = 1024
"""The most bytes read at once while headers are awaited; some 40 requests fit in."""


class Phase(enum.Enum):
    """What a reader waits for."""

    IDLE = "the start of a request"
    HEAD = "the rest of the headers"
    BODY = "the rest of the body"


class RequestReader:
    """Reads one connection.

    The parser sees headers and chunked bodies. A body of known length is received straight into memory of its own, and
    a new parser starts behind it. Whole requests only are passed on.

    Args:
        limits: What a request may be.
        budget: The memory that all bodies share.
        peer: Who sends.
        scratch: Memory for what the parser reads; may be shared, because nothing stays in it.
    """

    def __init__(self, limits: Limits, budget: Budget, peer: bytes, scratch: memoryview) -> None:
        self.requests: deque[Request] = deque()
        """Whole requests, first come first."""
        self.refusal: Response | None = None
        """Why the connection is read no further, to be sent after everything else."""
        self.ended = False
        """Whether the client said that no further request comes."""
        self.wants_continue = False
        """Whether the client waits for leave to send its body."""
        self.phase = Phase.IDLE
        """What the reader waits for."""
        self.deadline = time.monotonic() + limits.idle
        """Until when what it waits for may take, on `time.monotonic`'s clock. Bytes alone do not put it off."""
        self._limits = limits
        self._budget = budget
        self._peer = peer
        self._scratch = scratch
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_size = self._head_count = 0
        self._request: Request | None = None
        self._body: Body | None = None
        self._mark = 0
        self._direct = False
        self._resuming = False
        self._silent = self._told = 0
        self._fresh = False

    def buffer(self) -> memoryview:
        """The memory that the next bytes belong in."""
        request, body = self._request, self._body
        if self._direct and request is not None and body is not None and self._afford(request, body, 1):
            return body.rest(request.reserved)
        # All requests that one read brings wait in memory: few fit in where no body is expected.
        return self._scratch if self.phase is Phase.BODY else self._scratch[:_HEADS]

    def received(self, count: int) -> None:
        """Take up `count` bytes that were written into `buffer`."""
        body = self._body
        if self._direct and body is not None:
            self.wants_continue = False
            body.advance(count)
            self._note(body)
            if body.ended:
                self._direct = False
                self._parser = httptools.HttpRequestParser(self)
                self.on_message_complete()
        elif self.refusal is None and not self.ended:
            self._parse(self._scratch[:count])

    def renew(self) -> None:
        """Start the wait anew, because it was the server that read no further."""
        match self.phase:
            case Phase.HEAD:
                patience = self._limits.head_time
            case Phase.BODY:
                patience = self._limits.stall
            case _:
                patience = self._limits.idle
        self.deadline = time.monotonic() + patience

    def refuse(self, response: Response) -> None:
        """Read no further; requests already read stay."""
        self.refusal = self.refusal or response
        self.drop()

    def drop(self) -> None:
        """Forget a request that is not whole."""
        if self._request is not None:
            self._budget.release(self._peer, self._request.reserved)
        self._request = self._body = None
        self._direct = self.wants_continue = False
        self.phase = Phase.IDLE

    def _parse(self, data: memoryview) -> None:
        self._told, self._fresh = 0, False
        count = len(data)
        while len(data) and self.refusal is None and not self.ended:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                # It may be ignored (RFC 9110 §7.8). The parser believes that what follows is of the other protocol.
                data = data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
                self._resume()
            except httptools.HttpParserCallbackError as error:
                raise error.__context__ or error from None
            except httptools.HttpParserError as error:
                if not self.ended:
                    self.refuse(error_response(BadRequest(f"the request is not HTTP/1.1: {error}")))
                return
        # What is neither of a header nor of a body is counted: the parser keeps an unfinished header for itself, and
        # drops what stands beside a chunk's size (RFC 9112, 7.1.1).
        self._silent = 0 if self._fresh else max(0, self._silent + count - self._told)
        if self._silent > self._limits.head:
            self._refuse_head()
        self._direct = self._body is not None and self._body.length is not None and self.refusal is None

    def _resume(self) -> None:
        """Give a new parser headers after which it reads the body that has begun."""
        if self._body is None:
            return
        length = self._body.length
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        self._resuming = True
        self._parser.feed_data(f"POST / HTTP/1.1\r\n{framing}\r\n\r\n".encode("ascii"))
        self._resuming = False

    def _afford(self, request: Request, body: Body, count: int) -> bool:
        """Reserve memory for further bytes as they come, or refuse the request."""
        more = body.received + count - request.reserved
        if more <= 0:
            return True
        more = -(-more // body.step) * body.step
        if body.length is not None:
            more = min(more, body.length - request.reserved)
        if not self._budget.reserve(self._peer, more):
            self.refuse(error_response(Unavailable(CROWDED)))
            return False
        request.reserved += more
        return True

    def _note(self, body: Body) -> None:
        """Put the deadline off where enough of a body has come since it was set."""
        if body.received - self._mark >= self._limits.rate * self._limits.stall:
            self._mark = body.received
            self.renew()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Start a request."""
        if self._resuming:
            return
        self._url, self._headers = b"", {}
        self._head_size = self._head_count = 0
        self._fresh = True
        self.phase = Phase.HEAD
        self.renew()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line's target."""
        if not self._resuming:
            self._url += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Take a header, or a trailer, which is counted and dropped."""
        if self._resuming:
            return
        value = value or b""
        self._told += len(name) + len(value)
        self._head_size += len(name) + len(value)
        self._head_count += 1
        if self._head_size + len(self._url) > self._limits.head or self._head_count > self._limits.headers:
            self._refuse_head()
        elif self.phase is Phase.HEAD:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
            self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Decide whether the request is taken."""
        if self._resuming:
            return
        self._fresh = True
        self.phase = Phase.BODY
        self._mark = 0
        self.renew()
        if self.refusal is not None or self.ended:
            return
        version = self._parser.get_http_version()
        refusal = self._check_head(version) or self._take(version)
        if refusal is not None:
            self.refuse(refusal)

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        self._told += len(data)
        request, body = self._request, self._body
        if request is None or body is None:
            return
        self.wants_continue = False
        if body.received + len(data) > self._limits.body:
            self.refuse(self._too_large("more than that"))
        elif self._afford(request, body, len(data)):
            body.add(data)
            self._note(body)

    def on_chunk_header(self) -> None:
        """Note that a chunked body goes on."""
        self._told += _CHUNK

    def on_message_complete(self) -> None:
        """Pass a whole request on.

        Raises:
            RuntimeError: The parser ended it before its body did.
        """
        request, body = self._request, self._body
        if body is not None and not body.ended:
            if self._parser.should_upgrade():
                return  # the next parser reads it
            if body.length is not None:
                raise RuntimeError(f"a request ended after {body.received} of {body.length} bytes of its body")
            body.ended = True
        self._request = self._body = None
        self.phase = Phase.IDLE
        self.renew()
        if request is None or body is None:
            return
        if len(self.requests) >= self._limits.waiting:
            self._budget.release(self._peer, request.reserved)
            message = f"more than {self._limits.waiting} requests wait on this connection; expected fewer at once"
            self.refuse(error_response(Unavailable(message)))
            return
        request.body = body.view()
        request.received = time.perf_counter()
        self.requests.append(request)
        self.wants_continue = False
        self.ended = not request.keep_alive

    def _check_head(self, version: str) -> Response | None:  # noqa: PLR0911 - one for each thing that can be wrong
        """Say what is wrong with the headers."""
        headers = self._headers
        if version not in {"1.0", "1.1"}:
            return error_response(
                HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{version} is not spoken here; use HTTP/1.1"
            )
        if self._parser.get_method() == b"CONNECT":
            return error_response(HTTPStatus.NOT_IMPLEMENTED, "CONNECT is not spoken here; expected GET, HEAD or POST")
        # A comma and a blank join repeated headers, and no host may have them.
        if (version == "1.1" and "host" not in headers) or ", " in headers.get("host", ""):
            found = "several Host headers" if "host" in headers else "no Host header"
            return error_response(BadRequest(f"the request has {found}; expected one"))
        if _HOST.fullmatch(headers.get("host", "")) is None:
            return error_response(BadRequest("the Host header is no host; expected a name or an address"))
        expect = headers.get("expect", "").lower()
        if expect not in {"", "100-continue"}:
            return error_response(HTTPStatus.EXPECTATION_FAILED, "Expect is not 100-continue; expected that or none")
        coding = headers.get("transfer-encoding")
        if coding is not None and version == "1.0":
            return error_response(BadRequest("HTTP/1.0 has no Transfer-Encoding; expected a Content-Length"))
        if coding is not None and coding.lower() != "chunked":
            return error_response(HTTPStatus.NOT_IMPLEMENTED, "Transfer-Encoding is not chunked; expected that or none")
        return None

    def _take(self, version: str) -> Response | None:
        """Take the request up, or say why not."""
        headers = self._headers
        try:
            path = (httptools.parse_url(self._url).path or b"/").decode("ascii")
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
            path = ""
        if not path or b"#" in self._url:  # a fragment is the client's own (RFC 9112, 3.2)
            return error_response(BadRequest("the request's target is no URL; expected a path"))
        length = None if "transfer-encoding" in headers else int(headers.get("content-length", "0"))
        if length is not None and length > self._limits.body:
            return self._too_large(f"{length} bytes")
        before = headers.get(_HEADER_LENGTH, "0")
        json_length = int(before) if before.isascii() and before.isdigit() and len(before) <= _LONGEST_NUMBER else 0
        self._request = Request(
            method=self._parser.get_method().decode("ascii"),
            path=path,
            headers=headers,
            keep_alive=self._parser.should_keep_alive(),
            old=version == "1.0",
        )
        self._body = Body(length, json_length)
        self.wants_continue = "expect" in headers and length != 0 and version == "1.1"
        return None

    def _refuse_head(self) -> None:
        found = f"over {self._limits.head} bytes or {self._limits.headers} in number"
        message = f"the headers, or the words on a body's chunks, are {found}; expected less"
        self.refuse(error_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message))

    def _too_large(self, found: str) -> Response:
        return error_response(TooLarge(f"the body has {found}; expected at most {self._limits.body} bytes"))
