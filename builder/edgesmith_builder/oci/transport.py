"""Requests to registries: scheme, login, bounded retries, and httpx's exceptions turned into ours, all in one place.

Only connection failures, time-outs, 429 and 5xx are tried again, and only for requests that may be repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Self

import httpx

from edgesmith_builder.oci.access import Access
from edgesmith_builder.oci.answers import no_answer, refusal
from edgesmith_builder.oci.auth import Logins
from edgesmith_builder.oci.backoff import Backoff
from edgesmith_builder.oci.errors import RegistryError, RegistryRefused, RegistryUnreachable
from edgesmith_builder.oci.reference import Repository
from edgesmith_builder.oci.trust import trusting

log = logging.getLogger(__name__)

# httpcore imports sniffio at each of its locks, several times a request, and Python searches all of sys.path each time
# for a module that is not there. None says that it is not (https://docs.python.org/3/reference/import.html#the-module-cache).
if importlib.util.find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # typeshed knows modules only

ANSWER_LIMIT = 4 * 1024 * 1024
"""Bytes of an answer that is read whole: the size up to which registries are asked to take manifests."""

STORE_SECONDS = 300.0
"""How long a registry may take to answer once it has all of a blob: it hashes it, and moves it in its own store."""

_API_HOSTS = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}

Body = Callable[[], AsyncGenerator[bytes, None]]
"""Gives the bytes of a large body from its start, as often as it is asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole, small answer."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: httpx.URL


@dataclass(frozen=True, slots=True)
class _Request:
    """What is to be sent, but for who we are."""

    method: str
    url: httpx.URL
    repository: Repository
    what: str
    headers: Mapping[str, str]
    content: bytes | Body | None = None


class Transport:
    """One connection pool for any number of registries."""

    def __init__(
        self,
        *,
        plain_http: bool,
        credentials: Logins,
        backoff: Backoff,
        authorities: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Raises:
            ValueError: where `authorities`, certificates in PEM, are none.
        """
        self.backoff = backoff
        self._scheme = "http" if plain_http else "https"
        timeout = httpx.Timeout(60.0, connect=5.0)
        self._patient = httpx.Timeout(60.0, connect=5.0, read=STORE_SECONDS)
        self._client = httpx.AsyncClient(
            timeout=timeout,
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=4),
            headers={"User-Agent": "edgesmith-builder"},
            verify=trusting(authorities),
            transport=transport,
        )
        self._access = Access(self._client, credentials, secure=not plain_http)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    def address(self, repository: Repository, path: str) -> httpx.URL:
        """The address of `path` in a repository, `manifests/latest` say."""
        host = _API_HOSTS.get(repository.registry, repository.registry)
        return httpx.URL(f"{self._scheme}://{host}/v2/{repository.name}/{path}")

    def forget_login(self, repository: Repository) -> None:
        """Let the registry say anew what it wants for a repository."""
        self._access.forget(repository)

    def location(self, repository: Repository, answer: Answer) -> httpx.URL:
        """Where an upload goes on; relative, absolute, and absolute with the wrong scheme all occur.

        Raises:
            RegistryRefused: without a Location, or with one that is no address.
        """
        location = answer.headers.get("Location")
        if not location:
            raise RegistryRefused(f"{repository} answered {answer.status} to an upload without saying where it goes on")
        try:
            url = answer.url.join(location)
        except httpx.InvalidURL:
            raise RegistryRefused(f"{repository} sends an upload on to what is no address; one was expected") from None
        if self._scheme == "https" and url.scheme == "http" and url.host == answer.url.host:
            url = url.copy_with(scheme="https")  # a registry behind a TLS proxy that does not know it
        return url

    async def call(
        self,
        method: str,
        url: httpx.URL,
        repository: Repository,
        *,
        expect: Collection[int],
        what: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | Body | None = None,
        repeat: bool = True,
    ) -> Answer:
        """Send a request and read the whole answer. What is read may be answered from elsewhere (a redirect).

        Args:
            method: The HTTP method.
            url: Where to.
            repository: Whose login to use and whose name to use in messages.
            expect: The statuses that are an answer; all others raise.
            what: What is being done, for messages: `reading the manifest 1.2`.
            headers: Further headers.
            content: The body; a large one needs its Content-Length among the headers.
            repeat: Whether the request may be sent again when nobody answered.

        Raises:
            RegistryError: of the fitting kind.
        """
        request = _Request(method, url, repository, what, headers or {}, content)
        attempts = self.backoff.attempts if repeat else 1
        for attempt in range(attempts):
            try:
                return await self._once(request, expect)
            except RegistryUnreachable as error:
                failure = error
            if attempt + 1 < attempts:
                log.info("%s; attempt %d of %d", failure, attempt + 2, attempts)
                await asyncio.sleep(self.backoff.delay(attempt, failure.asked))
        raise failure

    async def _once(self, request: _Request, expect: Collection[int]) -> Answer:
        try:
            async with self._open(request) as response:
                body = await _bounded(response, request)
        except httpx.RequestError as error:
            raise no_answer(request.repository, request.what, error) from error
        if response.status_code not in expect:
            raise self._refused(request, response, body)
        return Answer(response.status_code, response.headers, body, response.url)

    def _refused(self, request: _Request, response: httpx.Response, body: bytes) -> RegistryError:
        hint = self._access.hint(request.repository)
        return refusal(request.repository, request.what, response, body, hint=hint)

    @contextlib.asynccontextmanager
    async def stream(
        self, url: httpx.URL, repository: Repository, *, what: str, offset: int = 0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """GET a blob from a byte offset on; the answer is read as it is consumed. One attempt.

        Raises:
            RegistryError: of the fitting kind, also while it is being consumed.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        request = _Request("GET", url, repository, what, {**headers, "Accept-Encoding": "identity"})
        try:
            async with self._open(request) as response:
                if response.status_code not in (200, 206):
                    raise self._refused(request, response, await _bounded(response, request))
                skip = offset if response.status_code == httpx.codes.OK else 0
                yield _pieces(response, skip)
        except httpx.RequestError as error:
            raise no_answer(repository, what, error) from error

    @contextlib.asynccontextmanager
    async def _open(self, request: _Request) -> AsyncIterator[httpx.Response]:
        """One answer, after the registry's challenge was answered: with a token, then where that fails with the login.

        The login goes to the registry itself and nowhere else: not to the store that it redirects to or lets us upload
        to, whatever that answers, and not to another port of the same host.
        """
        repository = request.repository
        for turn in range(3):
            response = await self._send(request)
            try:
                challenged = response.status_code == httpx.codes.UNAUTHORIZED and self._is_home(
                    repository, response.url
                )
                if challenged and turn < 2:  # noqa: PLR2004 - the last turn's answer stands
                    offered = response.headers.get_list("WWW-Authenticate")
                    if await self._access.answer(repository, offered, tokens=turn == 0):
                        continue
                yield response
                return
            finally:
                await response.aclose()

    async def _send(self, request: _Request) -> httpx.Response:
        """Send it once. What is read may lie elsewhere; httpx keeps the login from where a redirect leads."""
        method, content = request.method, request.content
        sent = dict(request.headers)
        authorization = self._access.header(request.repository)
        if authorization is not None and self._is_home(request.repository, request.url):
            sent["Authorization"] = authorization
        timeout = self._patient if method == "PUT" else self._client.timeout
        if content is None or isinstance(content, bytes):
            built = self._client.build_request(method, request.url, headers=sent, content=content, timeout=timeout)
            return await self._client.send(built, stream=True, follow_redirects=method == "GET")
        async with contextlib.aclosing(content()) as body:
            built = self._client.build_request(method, request.url, headers=sent, content=body, timeout=timeout)
            return await self._client.send(built, stream=True)

    def _is_home(self, repository: Repository, url: httpx.URL) -> bool:
        """Whether an address is the registry's own: scheme, host and port."""
        home = self.address(repository, "")
        return (home.scheme, home.host, home.port) == (url.scheme, url.host, url.port)


async def _bounded(response: httpx.Response, request: _Request) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > ANSWER_LIMIT:
            raise RegistryRefused(
                f"{request.repository} answered with more than {ANSWER_LIMIT} bytes when {request.what}"
            )
    return bytes(body)


async def _pieces(response: httpx.Response, skip: int) -> AsyncIterator[bytes]:
    async for piece in response.aiter_raw():
        if skip >= len(piece):
            skip -= len(piece)
            continue
        yield piece[skip:] if skip else piece
        skip = 0
