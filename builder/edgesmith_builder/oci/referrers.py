"""What hangs on an image: manifests that name it as their subject, and how a registry lists them.

A registry that keeps the list itself says so with `OCI-Subject` when such a manifest is put. For any other, whoever
puts it keeps the list: an index under a tag that is made of the image's digest.

Formats: the OCI image specification 1.1 (`manifest.md`, "Guidelines for Artifact Usage") and the distribution
specification 1.1 ("Pushing Manifests with Subject", "Listing Referrers", "Referrers Tag Schema").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgesmith_builder.oci.blobs import BytesBlob
from edgesmith_builder.oci.content import INDEX, MANIFEST, Descriptor, canonical, parsed

EMPTY = BytesBlob(b"{}", "application/vnd.oci.empty.v1+json")
"""The config of a manifest that needs none."""


@dataclass(frozen=True, slots=True)
class Referrer:
    """Something to hang on an image: one small blob and what it is."""

    artifact_type: str
    content: BytesBlob
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self, subject: Descriptor) -> bytes:
        """Its manifest's bytes, canonical.

        Args:
            subject: The manifest of the image that it hangs on.
        """
        data: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": self.artifact_type,
            "config": EMPTY.descriptor.to_json(),
            "layers": [self.content.descriptor.to_json()],
            "subject": subject.to_json(),
        }
        if self.annotations:
            data["annotations"] = dict(self.annotations)
        return canonical(data)


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of an image's list."""

    descriptor: Descriptor
    """Of its manifest."""
    artifact_type: str
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The entry as an index has it."""
        annotations = {"annotations": dict(self.annotations)} if self.annotations else {}
        return {**self.descriptor.to_json(), "artifactType": self.artifact_type, **annotations}


def list_tag(digest: str) -> str:
    """The tag that the list of an image hangs under where the registry keeps none: `sha256-HEX`."""
    return digest.replace(":", "-", 1)


def listed(raw: bytes) -> tuple[Listed, ...]:
    """The entries of a list.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: where it is none.
    """
    return tuple(
        Listed(
            Descriptor.from_json(item),
            str(item.get("artifactType", "")),
            {str(name): str(value) for name, value in (item.get("annotations") or {}).items()},
        )
        for item in parsed(raw)["manifests"]
    )


def with_entries(raw: bytes | None, entries: Iterable[Listed]) -> bytes:
    """A list with more entries. What others hung on the image stays as it is, in its place.

    Args:
        raw: The list as it stands; None where there is none.
        entries: Those to add; one that is there already is not added twice.

    Raises:
        KeyError, TypeError, ValueError: where `raw` is no list.
    """
    index: dict[str, Any] = (
        parsed(raw) if raw is not None else {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    )
    there = {item["digest"] for item in index["manifests"]}
    index["manifests"] += [entry.to_json() for entry in entries if entry.descriptor.digest not in there]
    return canonical(index)
