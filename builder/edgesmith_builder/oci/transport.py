"""Requests to registries: scheme, login, bounded retries, and httpx's exceptions turned into ours, all in one place.

Only connection failures, time-outs, 429 and 5xx are tried again, and only for requests that may be repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Self

import httpx

from edgesmith_builder.oci.auth import Challenge, Login, Logins
from edgesmith_builder.oci.errors import RegistryForbidden, RegistryRefused, RegistryUnreachable
from edgesmith_builder.oci.reference import Repository

log = logging.getLogger(__name__)

ANSWER_LIMIT = 4 * 1024 * 1024
"""Bytes of an answer that is read whole: the size up to which registries are asked to take manifests."""

_API_HOSTS = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
_AGAIN = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often and how far apart."""

    attempts: int = 5
    first: float = 0.25
    """Seconds before the second attempt; doubled for each one after."""
    limit: float = 4.0
    """Seconds at most."""

    def delay(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt`, counted from 0."""
        return min(self.limit, self.first * 2.0**attempt)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole, small answer."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: httpx.URL


class Transport:
    """One connection pool for any number of registries."""

    def __init__(
        self,
        *,
        plain_http: bool,
        credentials: Logins,
        backoff: Backoff,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.backoff = backoff
        self._scheme = "http" if plain_http else "https"
        self._credentials = credentials
        self._authorization: dict[Repository, str] = {}
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(60.0, connect=5.0),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=4),
            headers={"User-Agent": "edgesmith-builder"},
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    def address(self, repository: Repository, path: str) -> httpx.URL:
        """The address of `path` in a repository, `manifests/latest` say."""
        host = _API_HOSTS.get(repository.registry, repository.registry)
        return httpx.URL(f"{self._scheme}://{host}/v2/{repository.name}/{path}")

    def location(self, repository: Repository, answer: Answer) -> httpx.URL:
        """Where an upload goes on; relative, absolute, and absolute with the wrong scheme all occur.

        Raises:
            RegistryRefused: without a Location.
        """
        location = answer.headers.get("Location")
        if not location:
            raise RegistryRefused(f"{repository} answered {answer.status} to an upload without saying where it goes on")
        url = answer.url.join(location)
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
        content: bytes | None = None,
        repeat: bool = True,
    ) -> Answer:
        """Send a request and read the whole answer.

        Args:
            method: The HTTP method.
            url: Where to.
            repository: Whose login to use and whose name to use in messages.
            expect: The statuses that are an answer; all others raise.
            what: What is being done, for messages: `reading the manifest 1.2`.
            headers: Further headers.
            content: The body.
            repeat: Whether the request may be sent again when nobody answered.

        Raises:
            RegistryError: of the fitting kind.
        """
        attempts = self.backoff.attempts if repeat else 1
        for attempt in range(attempts):
            try:
                async with self._open(method, url, repository, headers, content, follow=False) as response:
                    body = await _bounded(response, repository, what)
                answer = Answer(response.status_code, response.headers, body, response.url)
            except httpx.TransportError as error:
                failure = _unreachable(repository, what, error)
            else:
                if answer.status in expect:
                    return answer
                if answer.status not in _AGAIN:
                    raise _refusal(repository, what, answer.status, answer.body)
                failure = RegistryUnreachable(
                    f"{repository} answered {answer.status} when {what}{_reason(answer.body)}"
                )
            if attempt + 1 < attempts:
                log.info("%s; attempt %d of %d", failure, attempt + 2, attempts)
                await asyncio.sleep(self.backoff.delay(attempt))
        raise failure

    @contextlib.asynccontextmanager
    async def stream(
        self, url: httpx.URL, repository: Repository, *, what: str, offset: int = 0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """GET a blob from a byte offset on; the answer is read as it is consumed. One attempt.

        Raises:
            RegistryError: of the fitting kind, also while it is being consumed.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        headers["Accept-Encoding"] = "identity"
        try:
            # Registries send blobs from elsewhere; httpx drops the login when a redirect leaves the host.
            async with self._open("GET", url, repository, headers, None, follow=True) as response:
                if response.status_code not in (200, 206):
                    body = await _bounded(response, repository, what)
                    if response.status_code in _AGAIN:
                        raise RegistryUnreachable(f"{repository} answered {response.status_code} when {what}")
                    raise _refusal(repository, what, response.status_code, body)
                skip = offset if response.status_code == httpx.codes.OK else 0
                yield _pieces(response, skip)
        except httpx.TransportError as error:
            raise _unreachable(repository, what, error) from error

    @contextlib.asynccontextmanager
    async def _open(
        self,
        method: str,
        url: httpx.URL,
        repository: Repository,
        headers: Mapping[str, str] | None,
        content: bytes | None,
        *,
        follow: bool,
    ) -> AsyncIterator[httpx.Response]:
        """One answer, after at most one round of answering the registry's challenge."""
        home = self.address(repository, "").host == url.host
        for first in (True, False):
            sent = dict(headers or {})
            if home and repository in self._authorization:
                sent["Authorization"] = self._authorization[repository]
            request = self._client.build_request(method, url, headers=sent, content=content)
            response = await self._client.send(request, stream=True, follow_redirects=follow)
            try:
                if response.status_code == httpx.codes.UNAUTHORIZED and first and home:
                    challenge = Challenge.parse(response.headers.get("WWW-Authenticate", ""))
                    if await self._answer(repository, challenge):
                        continue
                yield response
                return
            finally:
                await response.aclose()

    async def _answer(self, repository: Repository, challenge: Challenge) -> bool:
        """Fetch what the registry asks for; False where we have nothing to give."""
        login = self._credentials.login(repository)
        if challenge.scheme == "basic":
            if login is None or self._authorization.get(repository) == login.basic():
                return False
            self._authorization[repository] = login.basic()
            return True
        if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
            self._authorization[repository] = "Bearer " + await self._token(repository, challenge, login)
            return True
        return False

    async def _token(self, repository: Repository, challenge: Challenge, login: Login | None) -> str:
        realm = httpx.URL(challenge.parameters["realm"])
        if realm.scheme != "https" and self._scheme == "https":
            raise RegistryRefused(
                f"{repository} wants its login sent to {realm.host} without TLS; an https realm was expected"
            )
        query = {name: challenge.parameters.get(name, "").split() for name in ("service", "scope")}
        what = f"asking {realm.host} for a token"
        headers = {"Authorization": login.basic()} if login else {}
        try:
            response = await self._client.get(realm.copy_merge_params(query), headers=headers)
        except httpx.TransportError as error:
            raise _unreachable(repository, what, error) from error
        if response.status_code in _AGAIN:
            raise RegistryUnreachable(f"{repository} answered {response.status_code} when {what}")
        if response.status_code != httpx.codes.OK:
            raise _refusal(repository, what, response.status_code, response.content)
        try:
            data = response.json()
            token = data.get("token") or data.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str) or not token:
            raise RegistryRefused(f"{repository}: {realm.host} answered without a token when {what}")
        return token


async def _bounded(response: httpx.Response, repository: Repository, what: str) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > ANSWER_LIMIT:
            raise RegistryRefused(f"{repository} answered with more than {ANSWER_LIMIT} bytes when {what}")
    return bytes(body)


async def _pieces(response: httpx.Response, skip: int) -> AsyncIterator[bytes]:
    async for piece in response.aiter_raw():
        if skip >= len(piece):
            skip -= len(piece)
            continue
        yield piece[skip:] if skip else piece
        skip = 0


def _reason(body: bytes) -> str:
    """The registry's own words, ` (CODE: message)`, where it gives them in the specified form."""
    try:
        first = json.loads(body)["errors"][0]
        code, message = str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return ""
    words = ": ".join(part for part in (code, " ".join(message.split())) if part)
    return f" ({words[:200]})" if words else ""


def _refusal(repository: Repository, what: str, status: int, body: bytes) -> RegistryForbidden | RegistryRefused:
    if status in (401, 403):
        return RegistryForbidden(
            f"{repository} answered {status} when {what}{_reason(body)}; a login that may do this was expected"
        )
    return RegistryRefused(
        f"{repository} answered {status} when {what}{_reason(body)}; a registry that takes it was expected"
    )


def _unreachable(repository: Repository, what: str, error: httpx.TransportError) -> RegistryUnreachable:
    kind = type(error).__name__
    detail = str(error) or kind
    return RegistryUnreachable(f"{repository} gave no answer when {what} ({detail[:200]})")
