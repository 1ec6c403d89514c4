"""The bucket that models are published to."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minio import Minio
from minio.error import S3Error


@dataclass(frozen=True)
class Bucket:
    """An S3 endpoint and the keys to it."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"

    def put(self, uri: str, content: bytes | Path) -> str:
        """Upload to `s3://BUCKET/KEY`, making the bucket where needed, and return the content's SHA-256 in hex."""
        parts = urlsplit(uri)
        data = content.read_bytes() if isinstance(content, Path) else content
        client = self._client()
        if not client.bucket_exists(parts.netloc):
            client.make_bucket(parts.netloc)
        client.put_object(parts.netloc, parts.path.lstrip("/"), io.BytesIO(data), len(data))
        return hashlib.sha256(data).hexdigest()

    def sha256(self, uri: str) -> str | None:
        """The SHA-256, in hex, of what is at `s3://BUCKET/KEY`; None where nothing is."""
        parts = urlsplit(uri)
        try:
            with self._client().get_object(parts.netloc, parts.path.lstrip("/")) as answer:
                return hashlib.sha256(answer.read()).hexdigest()
        except S3Error as error:
            if error.code in {"NoSuchBucket", "NoSuchKey"}:
                return None
            raise

    def put_model(self, uri: str, content: bytes) -> dict[str, Any]:
        """Upload a model and return what a spec says of it; with its size, nobody has to look it up."""
        return {"uri": uri, "sha256": self.put(uri, content), "bytes": len(content)}

    def secret(self, name: str) -> dict[str, object]:
        """The Secret that an EdgeModel names in `spec.source.secretRef`."""
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": {
                "AWS_ENDPOINT_URL": self.endpoint,
                "AWS_ACCESS_KEY_ID": self.access_key,
                "AWS_SECRET_ACCESS_KEY": self.secret_key,
                "AWS_REGION": self.region,
            },
        }

    def _client(self) -> Minio:
        parts = urlsplit(self.endpoint)
        return Minio(
            parts.netloc,
            access_key=self.access_key,
            secret_key=self.secret_key,
            region=self.region,
            secure=parts.scheme == "https",
        )
