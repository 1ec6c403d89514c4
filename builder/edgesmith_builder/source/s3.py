"""Objects on their way from a bucket to a file: streamed, bounded, hashed, and taken up again where it broke."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error, ServerError

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import (
    BuildError,
    DigestMismatch,
    RequestInvalid,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.source.settings import StoreSettings

log = logging.getLogger(__name__)

PIECE = 256 * 1024
"""Bytes held in memory at a time, and at most what is fetched twice after a break."""

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ABSENT = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "MethodNotAllowed"})
_FORBIDDEN = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "AuthorizationHeaderMalformed",
        "RequestTimeTooSkewed",
    }
)


@dataclass(frozen=True, slots=True)
class Fetched:
    """An object, now a file."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Limit:
    """How large an object may be, and what it is when it is larger."""

    size: int
    """Bytes."""
    error: type[BuildError]


class Bucket:
    """An object store."""

    def __init__(self, settings: StoreSettings, *, attempts: int = 5, first_delay: float = 0.5) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            settings: Which store, and who we are.
            attempts: How often in a row nothing may come.
            first_delay: Seconds before the second attempt, doubled for each one after.
        """
        self._settings = settings
        self._attempts = attempts
        self._first_delay = first_delay
        self._client = Minio(
            endpoint=settings.host,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            secure=settings.secure,
            region=settings.region,
            # Retries are ours, so that an answer cut off half-way goes on from there.
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=5.0, read=60.0), retries=urllib3.Retry(total=0), maxsize=2
            ),
        )

    def fetch(self, field: str, artifact: Artifact, target: Path, limit: Limit) -> Fetched:
        """Bring an object into a file.

        Args:
            field: Where the request names it, for messages: `spec.source`.
            artifact: Which, with its sha256 where known.
            target: The file to write.
            limit: How large it may be.

        Raises:
            RequestInvalid: where the URI or the sha256 is none.
            SourceNotFound, SourceForbidden, SourceUnreachable: as the store answers.
            DigestMismatch: where the bytes are others.
        """
        wanted = _Object.parse(field, artifact, self._settings)
        with step(f"fetched {artifact.uri}") as current, target.open("wb") as file:
            download = _Download(self._client, wanted, limit, file)
            self._patiently(download)
            current.say(size_text(download.position))
        found = download.digest.hexdigest()
        if artifact.sha256 is not None and found != artifact.sha256.lower():
            raise DigestMismatch(
                f"{field}.sha256 is {artifact.sha256.lower()} but {artifact.uri} has {found}; "
                "the digest of that object was expected"
            )
        return Fetched(target, download.position, found)

    def _patiently(self, download: _Download) -> None:
        """Read until the end; give up when nothing came `attempts` times in a row."""
        failed = 0
        while True:
            before = download.position
            try:
                download.read()
            except SourceUnreachable as error:
                failed = 1 if download.position > before else failed + 1
                if failed >= self._attempts:
                    raise
                log.info("%s; going on from byte %d", error, download.position)
                time.sleep(min(8.0, self._first_delay * 2.0 ** (failed - 1)))
            else:
                return


@dataclass(frozen=True, slots=True)
class _Object:
    """An object, as the request names it and as the store knows it."""

    field: str
    uri: str
    bucket: str
    key: str
    settings: StoreSettings

    @classmethod
    def parse(cls, field: str, artifact: Artifact, settings: StoreSettings) -> _Object:
        found = _URI.fullmatch(artifact.uri)
        if found is None:
            raise RequestInvalid(f"{field}.uri is {artifact.uri!r}; s3://BUCKET/KEY was expected")
        if artifact.sha256 is not None and not _SHA256.fullmatch(artifact.sha256.lower()):
            raise RequestInvalid(f"{field}.sha256 is {artifact.sha256!r}; 64 hex digits were expected")
        return cls(field, artifact.uri, found[1], found[2], settings)

    def __str__(self) -> str:
        return f"{self.field}.uri {self.uri} at {self.settings.endpoint}"

    def refusal(self, code: str | None, status: int) -> BuildError:
        """What the store's answer means."""
        if code in _ABSENT or status == 404:  # noqa: PLR2004 - HTTP's own number
            missing = f"the bucket {self.bucket}" if code == "NoSuchBucket" else f"the object {self.key}"
            return SourceNotFound(f"{self} does not exist ({code}); {missing} was expected there")
        if code in _FORBIDDEN or status in (401, 403):
            anonymous = self.settings.access_key is None
            keys = "with keys" if anonymous else "with other keys"
            return SourceForbidden(
                f"{self} may not be read ({code}); a Secret {keys} that may was expected in spec.source.secretRef"
            )
        return SourceUnreachable(f"{self} cannot be read ({code or status}); the object was expected")

    def silence(self, error: Exception) -> SourceUnreachable:
        """What no answer means."""
        cause = getattr(error, "reason", None) or error
        words = re.sub(r"^<?[\w.]+\(.*?\)>?: |^<[^>]*>: ", "", str(cause))
        return SourceUnreachable(
            f"{self} gives no answer ({type(cause).__name__}: {words[:200]}); a running object store was expected"
        )


class _Download:
    """One object on its way to a file, over as many answers as it takes."""

    def __init__(self, client: Minio, wanted: _Object, limit: Limit, file: BinaryIO) -> None:
        self.position = 0
        self.digest = hashlib.sha256()
        self._client = client
        self._object = wanted
        self._limit = limit
        self._file = file
        self._etag: str | None = None

    def read(self) -> None:
        """One answer, written and hashed as it comes; returns when the object's end is reached."""
        wanted = self._object
        try:
            answer = self._client.get_object(bucket_name=wanted.bucket, object_name=wanted.key, offset=self.position)
        except S3Error as error:
            raise wanted.refusal(error.code, _status(error)) from error
        except ServerError as error:
            raise SourceUnreachable(f"{wanted} answered {error.status_code}; the object was expected") from error
        except ValueError as error:
            raise RequestInvalid(f"{wanted.field}.uri is {wanted.uri!r}: {error}") from error
        except (urllib3.exceptions.HTTPError, OSError, MinioException) as error:
            raise wanted.silence(error) from error
        try:
            self._check(answer.headers.get("ETag"), answer.headers.get("Content-Length"))
            for piece in answer.stream(PIECE):
                self._file.write(piece)
                self.digest.update(piece)
                self.position += len(piece)
                self._bound(self.position)
        except urllib3.exceptions.HTTPError as error:
            raise wanted.silence(error) from error
        finally:
            answer.close()
            answer.release_conn()

    def _check(self, etag: str | None, length: str | None) -> None:
        if self._etag is not None and etag != self._etag:
            raise SourceUnreachable(f"{self._object} was replaced while it was being fetched; one content was expected")
        self._etag = etag
        if length is not None and length.isdigit():
            self._bound(self.position + int(length))

    def _bound(self, size: int) -> None:
        if size > self._limit.size:
            raise self._limit.error(
                f"{self._object} is larger than {size_text(self._limit.size)}; at most that was expected"
            )


def _status(error: S3Error) -> int:
    return int(getattr(error.response, "status", 0) or 0)
