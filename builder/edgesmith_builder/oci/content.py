"""What registries hold: descriptors, manifests and indexes, as read and as written.

Field names and media types: the OCI image specification 1.1 (`descriptor.md`, `manifest.md`, `image-index.md`).
Docker's schema 2 is read too, since the two differ in media types only; what is written is always OCI.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_DOCKER_TO_OCI = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
    "application/vnd.docker.container.image.v1+json": CONFIG,
}

ACCEPT = f"{MANIFEST}, {INDEX}, {DOCKER_MANIFEST}, {DOCKER_INDEX}"
"""What we can read, for the Accept header."""


def digest_of(data: bytes) -> str:
    """`sha256:HEX` of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical(data: Mapping[str, Any]) -> bytes:
    """JSON with one possible spelling: sorted keys, no spaces. Digests of it are the same everywhere."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parsed(text: str | bytes) -> Any:
    """Read JSON that anybody may have written.

    Raises:
        ValueError: where it is none, or one inside another too often to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deep; a flat document was expected") from None


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Points at a blob."""

    media_type: str
    digest: str
    size: int
    """Bytes, as stored: compressed where the media type says so."""
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False)
    """What is said of the blob where it was read; not written again."""

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Descriptor:
        """Describe bytes at hand."""
        return cls(media_type, digest_of(data), len(data))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Descriptor:
        """Read one; Docker's media types become their OCI equals.

        Raises:
            KeyError, TypeError, ValueError: where it is not a descriptor.
        """
        media_type, digest, size = str(data["mediaType"]), str(data["digest"]), int(data["size"])
        if not digest.startswith("sha256:") or size < 0:
            raise ValueError(f"descriptor {digest} of {size} bytes")
        return cls(_DOCKER_TO_OCI.get(media_type, media_type), digest, size, _annotations(data))

    def to_json(self) -> dict[str, Any]:
        """The JSON object."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image for one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    """Of the bytes as they are in the registry; empty for one that was not read from there."""

    @classmethod
    def from_bytes(cls, raw: bytes) -> Manifest:
        """Read one.

        Raises:
            KeyError, TypeError, ValueError: where it is not a manifest.
        """
        data = parsed(raw)
        return cls(
            config=Descriptor.from_json(data["config"]),
            layers=tuple(Descriptor.from_json(layer) for layer in data["layers"]),
            annotations=_annotations(data),
            digest=digest_of(raw),
        )

    def to_bytes(self) -> bytes:
        """The bytes to put, canonical."""
        data: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.annotations:
            data["annotations"] = dict(self.annotations)
        return canonical(data)

    @property
    def size(self) -> int:
        """What a node pulls that has none of it: the layers' bytes as stored."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One platform's image in an index."""

    digest: str
    os: str
    architecture: str
    variant: str | None

    @property
    def platform(self) -> str:
        """`os/architecture[/variant]`."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Index:
    """An image for several platforms."""

    entries: tuple[IndexEntry, ...]
    digest: str

    @classmethod
    def from_bytes(cls, raw: bytes) -> Index:
        """Read one; entries without a platform (attestations, say) are left out.

        Raises:
            KeyError, TypeError, ValueError: where it is not an index.
        """
        entries = []
        for item in parsed(raw)["manifests"]:
            platform = item.get("platform")
            if platform:
                variant = platform.get("variant")
                entries.append(
                    IndexEntry(str(item["digest"]), str(platform["os"]), str(platform["architecture"]), variant)
                )
        return cls(tuple(entries), digest_of(raw))

    def select(self, os: str, architecture: str, variant: str | None = None) -> IndexEntry | None:
        """The entry for a platform; `arm64` and `arm64/v8` are the same, and no variant asked means the first."""
        wanted = _plain_variant(architecture, variant)
        for entry in self.entries:
            if (entry.os, entry.architecture) != (os, architecture):
                continue
            if wanted is None or _plain_variant(architecture, entry.variant) == wanted:
                return entry
        return None


def document_of(media_type: str, raw: bytes) -> Manifest | Index | None:
    """An image or an index; None where the media type is of neither.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: where it is malformed.
    """
    if media_type in (MANIFEST, DOCKER_MANIFEST):
        return Manifest.from_bytes(raw)
    return Index.from_bytes(raw) if media_type in (INDEX, DOCKER_INDEX) else None


def _annotations(data: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in (data.get("annotations") or {}).items()}


def _plain_variant(architecture: str, variant: str | None) -> str | None:
    return None if (architecture, variant) == ("arm64", "v8") else variant
