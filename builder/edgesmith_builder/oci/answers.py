"""What an answer that was not wanted means, as one of our errors."""

from __future__ import annotations

import httpx

from edgesmith_builder.oci.backoff import asked_for
from edgesmith_builder.oci.content import parsed
from edgesmith_builder.oci.errors import RegistryError, RegistryForbidden, RegistryRefused, RegistryUnreachable
from edgesmith_builder.oci.reference import Repository
from edgesmith_builder.oci.trust import distrust

CURE = "registry.caBundle of the chart (--registry-ca of the builder)"
"""Where a private authority of a registry belongs."""

_AGAIN = frozenset({429, 500, 502, 503, 504})
"""Statuses to which the same request may be answered otherwise a little later."""


def refusal(
    repository: Repository, what: str, response: httpx.Response, body: bytes, *, hint: str = ""
) -> RegistryError:
    """What a status means that is no answer.

    Args:
        repository: Who gave it.
        what: What was being done.
        response: The answer.
        body: Its body; the registry's own words are taken from it.
        hint: More to say about a missing login, ` (…)`.
    """
    status = response.status_code
    words = f"{repository} answered {status} when {what}{_reason(body)}"
    if status in _AGAIN:
        return RegistryUnreachable(words, asked_for(response.headers))
    if status in (401, 403):
        return RegistryForbidden(f"{words}{hint}; a login that may do this was expected")
    return RegistryRefused(f"{words}; a registry that takes it was expected")


def no_answer(repository: Repository, what: str, error: httpx.RequestError) -> RegistryError:
    """What a connection means that brought none: final where the certificate is not trusted."""
    words = distrust(error, CURE)
    if words is not None:
        return RegistryRefused(f"{repository} {words}")
    detail = str(error) or type(error).__name__
    return RegistryUnreachable(f"{repository} gave no answer when {what} ({detail[:200]})")


def _reason(body: bytes) -> str:
    """The registry's own words, ` (CODE: message)`, where it gives them in the specified form."""
    try:
        first = parsed(body)["errors"][0]
        code, message = str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return ""
    words = ": ".join(part for part in (code, " ".join(message.split())) if part)
    return f" ({words[:200]})" if words else ""
