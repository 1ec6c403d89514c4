"""What a web server's answer says of a file's bytes (RFC 9110, 8.8: Validator Fields)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_SETTLED = timedelta(seconds=60)
"""How long a file must have been as it is for its date to say which bytes it has: a date has whole seconds, and two
writes may fall into one. RFC 7232, 2.2.2, asks for a minute; RFC 9110 leaves the time open."""


def strong(etag: str | None) -> str | None:
    """An entity tag that means the same bytes (RFC 9110, 8.8.1); the weak ones do not."""
    return None if etag is None or etag.startswith("W/") else etag


def validator_of(headers: Mapping[str, str]) -> str | None:
    """What changes whenever the bytes do.

    A strong entity tag, or else a weak one together with a date of the last change that is a minute old: a tag alone
    that the server calls weak may stay while bytes change, and so may a date alone.
    """
    etag = headers.get("ETag")
    if etag is None or strong(etag):
        return etag
    changed, now = _time(headers.get("Last-Modified")), _time(headers.get("Date"))
    settled = changed is not None and now is not None and now - changed >= _SETTLED
    return f"{etag} {headers['Last-Modified']}" if settled else None


def _time(text: str | None) -> datetime | None:
    """An HTTP date (RFC 9110, 5.6.7), which is always in UTC; None where it is none."""
    try:
        return parsedate_to_datetime(text).replace(tzinfo=UTC) if text else None
    except (ValueError, OverflowError):
        return None
