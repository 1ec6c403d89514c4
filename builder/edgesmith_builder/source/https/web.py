"""Files over HTTPS: from the server that the URI names, or from where it redirects to."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import httpx

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import RequestInvalid, SourceUnreachable
from edgesmith_builder.oci import Backoff, trusting
from edgesmith_builder.source.arriving import PATIENCE, Arriving, Named, check_size, receive
from edgesmith_builder.source.https.answers import Asked, shown
from edgesmith_builder.source.https.login import WebLogin
from edgesmith_builder.source.https.validator import strong, validator_of
from edgesmith_builder.source.interface import Fetched, Limit, Seen

REDIRECTS = 5
"""Most that are followed for one answer."""

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_NO_SUCH_RANGE = frozenset({HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE})


class Web:
    """Web servers, over TLS alone."""

    form = "https://HOST/PATH"

    def __init__(
        self,
        login: WebLogin | None = None,
        authorities: str | None = None,
        *,
        patience: Backoff = PATIENCE,
        silence: float = 60.0,
    ) -> None:
        """Say who we are and what we trust; nothing is sent yet.

        Args:
            login: A login for one server, sent to no other.
            authorities: Certificates in PEM of authorities to trust besides the public ones.
            patience: How often next to nothing may come in a row.
            silence: Seconds that may pass without a byte.
        """
        self._login = login
        self._authorities = authorities
        self._patience = patience
        self._timeout = httpx.Timeout(silence, connect=5.0)

    def fetch(self, field: str, artifact: Artifact, target: Path, limit: Limit) -> Fetched:
        """Bring what a URI names into a file.

        Proxies are those of the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), as httpx reads them.

        Args:
            field: Where the request names it, for messages: `spec.source`.
            artifact: Which, with its sha256 where known.
            target: The file to write.
            limit: How large it may be.

        Raises:
            RequestInvalid: where the URI or the sha256 is none, the certificate is not trusted, it leads on
                without TLS, or what comes is no file as it is.
            SourceNotFound, SourceForbidden, SourceUnreachable: as the server answers.
            DigestMismatch: where the bytes are others.
        """
        asked = Asked.parse(field, artifact, self._login)
        with self._client() as client:
            page = _Page(client, asked)
            named = Named(field, artifact, asked.shown, str(asked))
            fetched = receive(named, target, limit, page.read, self._patience)
            return replace(fetched, validator=page.validator)

    def look(self, field: str, artifact: Artifact, limit: Limit) -> Seen:
        """Ask for a file's headers alone.

        A server need not answer HEAD as it answers GET: an address that is signed for GET refuses it, say.

        Args:
            field: Where the request names it, for messages: `spec.source`.
            artifact: Which.
            limit: How large it may be.

        Raises:
            RequestInvalid: where the URI is none, or leads on without TLS.
            BuildError: as the limit has it.
        """
        asked = Asked.parse(field, artifact, self._login)
        with self._client() as client:
            try:
                found = _Page(client, asked).seen()
            except (httpx.RequestError, SourceUnreachable):
                return Seen()
        if found is None:
            return Seen()
        validator, size = found
        if size is not None:
            check_size(str(asked), size, limit)
        return Seen(validator, size=size)

    def _client(self) -> httpx.Client:
        return httpx.Client(
            verify=trusting(self._authorities), timeout=self._timeout, headers={"User-Agent": "edgesmith-builder"}
        )


class _Page:
    """One file, over as many answers as it takes."""

    def __init__(self, client: httpx.Client, asked: Asked) -> None:
        self._client = client
        self._asked = asked
        self._etag: str | None = None
        """What says that two answers are the same content, bit by bit; None where nothing does."""
        self.validator: str | None = None
        """What the last whole answer says of the file; see `validator_of`."""

    def seen(self) -> tuple[str | None, int | None] | None:
        """The validator, and the size where it is said; None where HEAD is not answered."""
        with self._answer({"Accept-Encoding": "identity"}, "HEAD") as response:
            if response.status_code != HTTPStatus.OK:
                return None
            return validator_of(response.headers), _span(response)[1]

    def read(self, arriving: Arriving) -> None:
        """One answer; returns when the file's end is reached."""
        if self._etag is None and arriving.position:
            arriving.again()
        # What is bounded and hashed is what was sent: nothing is unpacked on the way.
        headers = {"Accept-Encoding": "identity"}
        if self._etag is not None and arriving.position:
            headers |= {"Range": f"bytes={arriving.position}-", "If-Range": self._etag}
        try:
            with self._answer(headers) as response:
                skip, end = self._check(response, arriving)
                for piece in response.iter_raw():
                    new, skip = piece[skip:], max(0, skip - len(piece))
                    arriving.take(new)
        except httpx.RequestError as error:
            raise self._asked.silence(error) from error
        if end is not None and arriving.position != end:
            raise SourceUnreachable(f"{self._asked} ended after {arriving.position} bytes; {end} were expected")

    @contextlib.contextmanager
    def _answer(self, headers: dict[str, str], method: str = "GET") -> Iterator[httpx.Response]:
        """The answer that is no redirect. The login goes to its own server, whoever sends us where."""
        url, login = self._asked.url, self._asked.login
        for _ in range(REDIRECTS + 1):
            sent = dict(headers)
            if login is not None and login.is_for(self._asked.url) and login.is_for(url):
                sent["Authorization"] = login.authorization
            response = self._client.send(self._client.build_request(method, url, headers=sent), stream=True)
            try:
                if response.next_request is None:
                    yield response
                    return
                url = self._next(response.next_request.url)
            finally:
                response.close()
        raise SourceUnreachable(f"{self._asked} leads on more than {REDIRECTS} times; a file was expected in the end")

    def _next(self, url: httpx.URL) -> httpx.URL:
        """Where a redirect leads; a login that it names is not used."""
        if url.scheme != "https" or not url.host:
            raise RequestInvalid(f"{self._asked} leads to {shown(url)[:200]!r}; an https address was expected")
        return url.copy_with(username="", password="", fragment=None)

    def _check(self, response: httpx.Response, arriving: Arriving) -> tuple[int, int | None]:
        """See what comes: how many bytes of it are here already, and where the file ends, where that is said."""
        status, headers = response.status_code, response.headers
        if status in _NO_SUCH_RANGE and arriving.position:
            raise self._replaced(arriving)
        if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise self._asked.refusal(response)
        encoding = headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise RequestInvalid(
                f"{self._asked} comes packed (Content-Encoding {encoding[:50]!r}); the file as it is was expected"
            )
        etag = strong(headers.get("ETag"))
        first, end = _span(response)
        if status == HTTPStatus.PARTIAL_CONTENT:
            if etag not in (None, self._etag):
                raise self._replaced(arriving)
            if first is None or first > arriving.position:
                raise SourceUnreachable(
                    f"{self._asked} was answered with other bytes; those from {arriving.position} on were expected"
                )
        elif arriving.position and etag != self._etag:
            arriving.again()
        self._etag = etag or (self._etag if status == HTTPStatus.PARTIAL_CONTENT else None)
        if status == HTTPStatus.OK:
            self.validator = validator_of(headers)
        if end is not None:
            arriving.bound(end)
        return arriving.position - (first or 0), end

    def _replaced(self, arriving: Arriving) -> SourceUnreachable:
        """Another content came half-way: the next answer is read from its start."""
        arriving.again()
        return SourceUnreachable(f"{self._asked} was replaced while it was being fetched; one content was expected")


def _span(response: httpx.Response) -> tuple[int | None, int | None]:
    """Where an answer begins in the file, and where the file ends; None where it does not say."""
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        if found is None:
            return None, None
        return int(found[1]), int(found[2]) if found[2] != "*" else None
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None
