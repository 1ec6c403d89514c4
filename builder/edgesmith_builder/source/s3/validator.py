"""What an object store says of an object's bytes (Amazon S3 API reference, HeadObject)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

CHECKSUMS = {"x-amz-checksum-mode": "ENABLED"}
"""What a request must say for the answer to have the checksums that the store kept."""

_BYTES = 32
"""Of a SHA-256."""


def validator_of(headers: Mapping[str, str]) -> str | None:
    """The entity tag, which every write changes that changes the bytes, with the version where there are versions."""
    etag, version = headers.get("ETag"), headers.get("x-amz-version-id")
    if not etag:
        return None
    return f"{etag} {version}" if version and version != "null" else etag


def checksum_of(headers: Mapping[str, str]) -> str | None:
    """The SHA-256 of the whole object in hex digits, where the store kept it when the object was uploaded.

    Of an object that was uploaded in parts it is one of the parts' checksums, with `-COUNT` behind it.
    """
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    try:
        found = base64.b64decode(headers.get("x-amz-checksum-sha256", ""), validate=True)
    except binascii.Error:
        return None
    return found.hex() if len(found) == _BYTES else None
