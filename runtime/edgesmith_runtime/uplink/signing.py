"""Signs one PUT of S3: Signature Version 4.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html has the steps and an example.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Keys", "path_of", "signed"]

_ALGORITHM: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """Who writes.

    Attributes:
        access: The access key.
        secret: The secret key.
        token: The session token of keys that end by themselves; empty for others.
        region: The bucket's region.
    """

    access: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    region: str = "us-east-1"


def path_of(bucket: str, key: str) -> str:
    """An object's path in addresses, encoded as S3 signs it."""
    return quote(f"/{bucket}/{key}", safe="/-_.~")


def signed(keys: Keys, path: str, headers: Mapping[str, str], digest: str, seconds: float) -> dict[str, str]:
    """The headers of a PUT with its signature.

    Args:
        keys: Who writes.
        path: The object's path, encoded.
        headers: What is sent besides; `Host` must be among them.
        digest: The SHA-256 of the body, in hex.
        seconds: The bucket's time, in seconds since 1970.
    """
    at = datetime.fromtimestamp(seconds, UTC)
    stamp, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    sent = {**headers, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    if keys.token:
        sent["x-amz-security-token"] = keys.token
    lower = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
    names = ";".join(sorted(lower))
    lines = "".join(f"{name}:{lower[name]}\n" for name in sorted(lower))
    request = f"PUT\n{path}\n\n{lines}\n{names}\n{digest}"
    scope = f"{day}/{keys.region}/s3/aws4_request"
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{keys.secret}".encode()
    for part in (day, keys.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    said = f"{_ALGORITHM} Credential={keys.access}/{scope},SignedHeaders={names},Signature={signature}"
    return {**sent, "Authorization": said}
