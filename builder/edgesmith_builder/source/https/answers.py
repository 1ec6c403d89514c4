"""What a web server's answer means, with what to change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import (
    BuildError,
    RequestInvalid,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)
from edgesmith_builder.oci import asked_for, distrust
from edgesmith_builder.source.https.login import WebLogin

CURE = "bucket.caBundle of the chart (--bucket-ca of the builder)"
"""Where a private authority of a server belongs."""

_URI = re.compile(r"https://[A-Za-z0-9.:\[\]-]+/[^\s#]+")
_AGAIN = frozenset({408, 425, 429})
"""Statuses below 500 to which the same request may be answered otherwise a little later."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A file on a web server, as the request names it."""

    field: str
    url: httpx.URL
    login: WebLogin | None

    @classmethod
    def parse(cls, field: str, artifact: Artifact, login: WebLogin | None) -> Asked:
        """Read what a request names.

        Raises:
            RequestInvalid: where the URI is none.
        """
        try:
            url = httpx.URL(artifact.uri) if _URI.fullmatch(artifact.uri) else None
        except httpx.InvalidURL:
            url = None
        if url is None or not url.host:
            raise RequestInvalid(f"{field}.uri is {artifact.shown!r}; https://HOST/PATH was expected")
        return cls(field, url, login)

    @property
    def shown(self) -> str:
        """The URI without its query, which may hold what opens it."""
        return shown(self.url)

    def __str__(self) -> str:
        return f"{self.field}.uri {self.shown}"

    def refusal(self, response: httpx.Response) -> BuildError:
        """What a status means that brings no file."""
        status, there = response.status_code, response.url
        words = f"{status} {_phrase(status)}".strip()
        where = "" if there.host == self.url.host else f" by {there.host}, where it leads"
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            return SourceNotFound(f"{self} does not exist ({words}{where}); a file was expected there")
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return SourceForbidden(f"{self} may not be read ({words}{where}); {self._wanted()}")
        if status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return SourceUnreachable(
                f"{self} cannot be read ({words}{where}); the file was expected", asked_for(response.headers)
            )
        return RequestInvalid(f"{self} is answered {words}{where}; 200 with the file was expected")

    def _wanted(self) -> str:
        """Which credentials would help."""
        login = "HTTPS_TOKEN, or HTTPS_USERNAME and HTTPS_PASSWORD"
        host = self.url.netloc.decode()
        if self.login is None:
            return f"HTTPS_HOST {host} with {login} was expected in the Secret of spec.source.secretRef"
        if not self.login.is_for(self.url):
            return f"HTTPS_HOST {host} was expected in the Secret of spec.source.secretRef, not {self.login.host}"
        return f"another {login} was expected in the Secret of spec.source.secretRef"

    def silence(self, error: Exception) -> BuildError:
        """What no answer means: final where the certificate is not trusted."""
        words = distrust(error, CURE)
        if words is not None:
            return RequestInvalid(f"{self} {words}")
        text = str(error) or "no more words"
        return SourceUnreachable(
            f"{self} gives no whole answer ({type(error).__name__}: {text[:200]}); a server that sends it was expected"
        )


def shown(url: httpx.URL) -> str:
    """An address without its query."""
    return str(url.copy_with(query=None)) + ("?…" if url.query else "")


def _phrase(status: int) -> str:
    """HTTP's own words; the server's may be anything."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
