"""Objects of a bucket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error, ServerError
from urllib3.response import BaseHTTPResponse

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import RequestInvalid, SourceForbidden, SourceNotFound, SourceUnreachable
from edgesmith_builder.oci import Backoff, trusting
from edgesmith_builder.source.arriving import PATIENCE, PIECE, Arriving, Named, check_size, receive
from edgesmith_builder.source.interface import Fetched, Limit, Seen
from edgesmith_builder.source.s3.answers import Wanted
from edgesmith_builder.source.s3.identity import Lent
from edgesmith_builder.source.s3.settings import StoreSettings
from edgesmith_builder.source.s3.validator import CHECKSUMS, checksum_of, validator_of

_CONTENT_RANGE = re.compile(r"bytes (\d+)-")


class Bucket:
    """An object store."""

    form = "s3://BUCKET/KEY"

    def __init__(self, settings: StoreSettings, *, attempts: int = 5, first_delay: float = 0.5) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            settings: Which store, and who we are.
            attempts: How often in a row nothing may come.
            first_delay: Seconds before the second attempt, doubled for each one after.

        Raises:
            RequestInvalid: where the settings cannot be used together.
        """
        self._settings = settings
        self._patience = Backoff(attempts, first_delay, PATIENCE.limit)
        try:
            trust = trusting(settings.authorities)
            # Retries are ours, so that an answer cut off half-way goes on from there.
            http = urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=5.0, read=60.0),
                retries=urllib3.Retry(total=0, redirect=False, raise_on_redirect=False),
                maxsize=2,
                ssl_context=trust,
            )
            self._client = Minio(
                endpoint=settings.host,
                access_key=settings.access_key,
                secret_key=settings.secret_key,
                session_token=settings.session_token,
                secure=settings.secure,
                region=settings.region,
                http_client=http,
                credentials=Lent(settings.identity, http) if settings.identity is not None else None,
            )
        except ValueError as error:
            region = settings.region or "not set"
            raise RequestInvalid(
                f"AWS_ENDPOINT_URL {settings.endpoint} and AWS_REGION {region} cannot be used: {error}"
            ) from error

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
        wanted = Wanted.parse(field, artifact, self._settings)
        found, named = _Object(self._client, wanted), Named(field, artifact, artifact.uri, str(wanted))
        fetched = receive(named, target, limit, found.read, self._patience)
        return replace(fetched, validator=found.validator)

    def look(self, field: str, artifact: Artifact, limit: Limit) -> Seen:
        """Ask for an object's headers alone. A refusal of that has no words, so nothing is seen then.

        Args:
            field: Where the request names it, for messages: `spec.source`.
            artifact: Which.
            limit: How large it may be.

        Raises:
            RequestInvalid: where the URI is none, or the certificate is not trusted.
            BuildError: as the limit has it.
        """
        wanted = Wanted.parse(field, artifact, self._settings)
        try:
            with _told(wanted):
                found = self._client.stat_object(
                    bucket_name=wanted.bucket, object_name=wanted.key, extra_headers=dict(CHECKSUMS)
                )
        except (SourceNotFound, SourceForbidden, SourceUnreachable):
            return Seen()
        check_size(str(wanted), found.size or 0, limit)
        headers = found.metadata or {}
        return Seen(validator_of(headers), checksum_of(headers), found.size)


class _Object:
    """One object, over as many answers as it takes."""

    def __init__(self, client: Minio, wanted: Wanted) -> None:
        self._client = client
        self._object = wanted
        self._etag: str | None = None
        self.validator: str | None = None
        """What the store says of the object that came."""

    def read(self, arriving: Arriving) -> None:
        """One answer, its bytes as they are stored; returns when the object's end is reached."""
        wanted = self._object
        with _told(wanted):
            answer = self._client.get_object(
                bucket_name=wanted.bucket, object_name=wanted.key, offset=arriving.position
            )
        try:
            skip = self._check(answer, arriving)
            for piece in answer.stream(PIECE, decode_content=False):
                new, skip = piece[skip:], max(0, skip - len(piece))
                arriving.take(new)
        except urllib3.exceptions.HTTPError as error:
            raise wanted.silence(error) from error
        finally:
            answer.close()
            answer.release_conn()

    def _check(self, answer: BaseHTTPResponse, arriving: Arriving) -> int:
        """See that it is the same object, from where we are; returns how many bytes of it we have already.

        Not every store, nor every proxy before one, takes a Range: it is answered 200 then, with everything.
        """
        etag, length = answer.headers.get("ETag"), answer.headers.get("Content-Length")
        if self._etag is not None and etag != self._etag:
            raise SourceUnreachable(f"{self._object} was replaced while it was being fetched; one content was expected")
        self._etag, self.validator = etag, validator_of(answer.headers)
        first = 0
        if answer.status == HTTPStatus.PARTIAL_CONTENT:
            found = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
            first = int(found[1]) if found else arriving.position
        if first > arriving.position:
            raise SourceUnreachable(
                f"{self._object} was answered from byte {first} on; the bytes from {arriving.position} on were expected"
            )
        if length is not None and length.isdigit():
            arriving.bound(first + int(length))
        return arriving.position - first


@contextmanager
def _told(wanted: Wanted) -> Iterator[None]:
    """Say of a client's errors what they mean for a source."""
    try:
        yield
    except S3Error as error:
        raise wanted.refusal(error) from error
    except ServerError as error:
        raise SourceUnreachable(f"{wanted} answered {error.status_code}; the object was expected") from error
    except ValueError as error:
        raise RequestInvalid(f"{wanted.field}.uri is {wanted.uri!r}: {error}") from error
    except (urllib3.exceptions.HTTPError, OSError, MinioException) as error:
        raise wanted.silence(error) from error
