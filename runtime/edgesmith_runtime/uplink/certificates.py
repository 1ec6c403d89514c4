"""Whether a bucket's certificate is trusted, and from when to when it is good."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OUT_OF_TIME", "Good", "good_of", "leave_out_time", "trusting"]

OUT_OF_TIME: Final = frozenset({9, 10})
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_NO_CHECK_TIME: Final = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which `ssl` has no name."""


@dataclass(frozen=True, slots=True)
class Good:
    """When all certificates of a chain are good at once.

    Attributes:
        since: In seconds since 1970.
        until: The same.
    """

    since: float
    until: float

    def at(self, seconds: float) -> bool:
        """Whether they are at that time."""
        return self.since <= seconds <= self.until


def trusting(authority: Path | None) -> ssl.SSLContext:
    """What a certificate is held against: its chain, its name and its time.

    Args:
        authority: A file of certificates in PEM to trust besides the public ones.
    """
    found = ssl.create_default_context()
    if authority is not None:
        found.load_verify_locations(cafile=authority)
    return found


def leave_out_time(trust: ssl.SSLContext) -> None:
    """Hold certificates against no time from now on: it is the caller's to judge, by `good_of`."""
    trust.verify_flags |= _NO_CHECK_TIME


def good_of(connection: object) -> Good | None:
    """From when to when the other end's chain is good; None where that cannot be told.

    Args:
        connection: A connection whose chain was verified.
    """
    try:
        # Public from Python 3.13 on, and there as DER, which the standard library does not read.
        inner: Any = connection._sslobj  # type: ignore[attr-defined]  # noqa: SLF001
        chain = [one.get_info() for one in inner.get_verified_chain()]
        return Good(
            max(ssl.cert_time_to_seconds(one["notBefore"]) for one in chain),
            min(ssl.cert_time_to_seconds(one["notAfter"]) for one in chain),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
