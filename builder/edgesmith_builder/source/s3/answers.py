"""What an object store's answer means, in the store's own words and with what to change."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from minio.error import S3Error

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import (
    BuildError,
    RequestInvalid,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)
from edgesmith_builder.oci import distrust
from edgesmith_builder.source.s3.identity import CURE
from edgesmith_builder.source.s3.settings import StoreSettings

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)")
_ABSENT = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "MethodNotAllowed"})
_ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "Redirect", "TemporaryRedirect",
                        "IllegalLocationConstraintException", "InvalidRegion"})  # fmt: skip
_FORBIDDEN = frozenset({"AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_CURES = {
    "RequestTimeTooSkewed": "a clock that is right was expected on the node that builds",
    "ExpiredToken": "an AWS_SESSION_TOKEN that has not ended was expected in spec.source.secretRef",
    "InvalidToken": "the AWS_SESSION_TOKEN that belongs to the keys was expected in spec.source.secretRef",
}
"""Refusals that other keys would not change."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object, as the request names it and as the store knows it."""

    field: str
    uri: str
    bucket: str
    key: str
    settings: StoreSettings

    @classmethod
    def parse(cls, field: str, artifact: Artifact, settings: StoreSettings) -> Wanted:
        """Read what a request names.

        Raises:
            RequestInvalid: where the URI is none.
        """
        found = _URI.fullmatch(artifact.uri)
        if found is None:
            raise RequestInvalid(f"{field}.uri is {artifact.uri!r}; s3://BUCKET/KEY was expected")
        return cls(field, artifact.uri, found[1], found[2], settings)

    def __str__(self) -> str:
        return f"{self.field}.uri {self.uri} at {self.settings.endpoint}"

    def refusal(self, error: S3Error) -> BuildError:
        """What the store's answer means."""
        code, status = error.code or "", int(getattr(error.response, "status", 0) or 0)
        if code in _ELSEWHERE:
            return self._elsewhere(error)
        if code in _ABSENT or status == 404:  # noqa: PLR2004 - HTTP's own number
            missing = f"the bucket {self.bucket}" if code == "NoSuchBucket" else f"the object {self.key}"
            return SourceNotFound(f"{self} does not exist ({code}); {missing} was expected there")
        if code in _CURES:
            return SourceForbidden(f"{self} may not be read ({_said(error)}); {_CURES[code]}")
        if code in _FORBIDDEN or status in (401, 403):
            anonymous = self.settings.access_key is None and self.settings.identity is None
            keys = "with keys" if anonymous else "with other keys"
            cure = f"a Secret {keys} that may was expected in spec.source.secretRef"
            if self.settings.identity is not None:
                cure = f"{self.settings.identity} with the right to read it were expected"
            return SourceForbidden(f"{self} may not be read ({_said(error)}); {cure}")
        return SourceUnreachable(f"{self} cannot be read ({_said(error) or status}); the object was expected")

    def _elsewhere(self, error: S3Error) -> BuildError:
        """Keys are right, and the region or the endpoint is not."""
        region, ours = _region(error), f" as one in {self.settings.region}" if self.settings.region else ""
        if self.settings.amazon:
            name = f"https://s3.{region}.amazonaws.com" if region else "of the bucket's region"
            wanted = f"the endpoint {name}"
        else:
            wanted = f"AWS_REGION {region}" if region else "the AWS_REGION of the bucket"
        where = "spec.source.secretRef" if self.settings.access_key else "bucket.endpoint of the chart"
        return SourceForbidden(
            f"{self} was asked for{ours} and lies elsewhere ({_said(error)}); {wanted} was expected in {where}"
        )

    def silence(self, error: Exception) -> BuildError:
        """What no answer means: final where the certificate is not trusted."""
        words = distrust(error, CURE)
        if words is not None:
            return RequestInvalid(f"{self} {words}")
        cause = getattr(error, "reason", None) or error
        text = re.sub(r"^<?[\w.]+\(.*?\)>?: |^<[^>]*>: ", "", str(cause))
        return SourceUnreachable(
            f"{self} gives no answer ({type(cause).__name__}: {text[:200]}); a running object store was expected"
        )


def _said(error: S3Error) -> str:
    """`CODE: the store's own words`."""
    words = " ".join((error.message or "").split()).rstrip(".")[:200]
    return ": ".join(part for part in (error.code or "", words) if part)


def _region(error: S3Error) -> str | None:
    """The region that the store says the bucket is in: a header of Amazon's, or an element of the answer."""
    named: str | None = error.response.headers.get("x-amz-bucket-region")
    if named:
        return named
    try:
        found = ET.fromstring(error.response.data).findtext("{*}Region")  # noqa: S314 - minio has parsed it before us
    except (ET.ParseError, TypeError):
        return None
    return found or None
