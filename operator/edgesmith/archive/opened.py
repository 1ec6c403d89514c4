"""An archive that was opened: what it holds, checked before anything of it is used."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesmith.archive.roots import LAYOUT, ArchiveError, Root, roots_in
from edgesmith.archive.tar import Place, blob_name, places
from edgesmith_builder.oci import Descriptor
from edgesmith_builder.oci.blobs import PIECE
from edgesmith_builder.oci.content import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST

DOCUMENT = 4 * 1024 * 1024
"""Bytes of a manifest, at most: what registries are asked to take."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGES, _INDEXES = (MANIFEST, DOCKER_MANIFEST), (INDEX, DOCKER_INDEX)

Progress = Callable[[str, int], None]
"""Told what was done and how many bytes it was."""


@dataclass(frozen=True, slots=True)
class TarBlob:
    """A blob in an archive, on its way into a registry."""

    path: Path
    descriptor: Descriptor
    place: Place

    async def stream(self, offset: int) -> AsyncGenerator[bytes, None]:
        """Its bytes from `offset` on. Reading is from a local disk, and blocks."""
        for piece in self.pieces(offset):
            yield piece

    def pieces(self, offset: int = 0) -> Iterator[bytes]:
        """The same without waiting."""
        with self.path.open("rb") as file:
            file.seek(self.place.offset + offset)
            left = self.place.size - offset
            while left > 0 and (piece := file.read(min(PIECE, left))):
                left -= len(piece)
                yield piece


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index of an archive."""

    descriptor: Descriptor
    raw: bytes
    blobs: tuple[Descriptor, ...]
    """The config and the layers; of an index none."""
    children: tuple[str, ...]
    """Digests of an index's manifests."""
    subject: str | None
    """The digest of what it hangs on."""
    artifact_type: str
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive whose names, sizes and references were checked, and whose blobs' digests were not; see `check`."""

    path: Path
    roots: tuple[Root, ...]
    documents: Mapping[str, Document]
    """By digest."""
    blobs: Mapping[str, TarBlob]
    """Configs and layers, by digest."""

    @classmethod
    def open(cls, path: Path) -> Archive:
        """Open an archive.

        Raises:
            ArchiveError: It is not one that can be trusted.
            OSError: It cannot be read.
        """
        with path.open("rb") as file:
            found = places(file)

            def read(name: str) -> bytes:
                place = found.get(name)
                if place is None:
                    raise ArchiveError(f"the archive has no {name}")
                if place.size > DOCUMENT:
                    raise ArchiveError(f"{name} has {place.size} bytes; at most {DOCUMENT} were expected")
                file.seek(place.offset)
                return file.read(place.size)

            if read("oci-layout") != LAYOUT:
                raise ArchiveError(f"oci-layout is not {LAYOUT.decode()}")
            roots = roots_in(read("index.json"))
            documents = _Walk(read).documents_of(roots)
        blobs = {one.digest: _blob(path, one, found) for document in documents.values() for one in document.blobs}
        named = {"oci-layout", "index.json", *map(blob_name, (*documents, *blobs))}
        stray = next((name for name in found if name not in named), None)
        if stray:
            raise ArchiveError(f"the archive has {stray}, which nothing in it names")
        return cls(path, roots, documents, blobs)

    @property
    def size(self) -> int:
        """Bytes of configs and layers."""
        return sum(blob.descriptor.size for blob in self.blobs.values())

    def check(self, progress: Progress = lambda _what, _size: None) -> None:
        """Read every blob and hold it against its digest.

        Args:
            progress: Told of each.

        Raises:
            ArchiveError: One has other bytes.
        """
        for digest, blob in sorted(self.blobs.items()):
            found = hashlib.sha256()
            for piece in blob.pieces():
                found.update(piece)
            if f"sha256:{found.hexdigest()}" != digest:
                raise ArchiveError(
                    f"{blob_name(digest)} has the digest sha256:{found.hexdigest()}; its name is another"
                )
            progress("checked", blob.descriptor.size)

    def tree(self, digest: str) -> list[Document]:
        """A manifest or an index and what it names, children first."""
        document = self.documents[digest]
        return [*(self.documents[child] for child in document.children), document]


def _blob(path: Path, descriptor: Descriptor, found: Mapping[str, Place]) -> TarBlob:
    place = found.get(blob_name(descriptor.digest))
    if place is None:
        raise ArchiveError(f"the archive has no {blob_name(descriptor.digest)}, which a manifest in it names")
    if place.size != descriptor.size:
        raise ArchiveError(
            f"{blob_name(descriptor.digest)} has {place.size} bytes; a manifest in the archive says {descriptor.size}"
        )
    return TarBlob(path, descriptor, place)


class _Walk:
    """Reads the documents of an archive, each against its digest."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._documents: dict[str, Document] = {}

    def documents_of(self, roots: tuple[Root, ...]) -> dict[str, Document]:
        for root in roots:
            self._take(root.descriptor, nested=False)
        for root in roots:
            subject = self._documents[root.descriptor.digest].subject
            if (root.role == "referrer") != (subject is not None):
                said = f"hangs on {subject}" if subject else "hangs on nothing"
                raise ArchiveError(f"{root.descriptor.digest} {said}, and index.json calls it {root.role}")
        return self._documents

    def _take(self, descriptor: Descriptor, *, nested: bool) -> None:
        digest = descriptor.digest
        if not _DIGEST.fullmatch(digest):
            raise ArchiveError(f"{digest!r:.160} is no digest; sha256: and 64 hex digits were expected")
        if digest in self._documents:
            return
        raw = self._read(blob_name(digest))
        actual = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if actual != digest or len(raw) != descriptor.size:
            raise ArchiveError(f"{blob_name(digest)} has the digest {actual} and {len(raw)} bytes; its name is another")
        document = document_of(descriptor, raw)
        if nested and document.children:
            raise ArchiveError(f"{digest} is an index within an index; a manifest was expected")
        self._documents[digest] = document
        if document.descriptor.media_type in _INDEXES:
            for child in _entries(raw):
                self._take(child, nested=True)


def document_of(descriptor: Descriptor, raw: bytes) -> Document:
    """Read a manifest or an index.

    Raises:
        ArchiveError: It is of another kind, or malformed.
    """
    if descriptor.media_type not in (*_IMAGES, *_INDEXES):
        raise ArchiveError(f"{descriptor.digest} has the media type {descriptor.media_type!r:.80}, which is not known")
    try:
        data = json.loads(raw)
        said = data.get("mediaType", descriptor.media_type)
        blobs = () if descriptor.media_type in _INDEXES else _blobs(data)
        children = tuple(one.digest for one in _entries(raw)) if descriptor.media_type in _INDEXES else ()
        subject = str(data["subject"]["digest"]) if data.get("subject") else None
        notes = {str(name): str(value) for name, value in (data.get("annotations") or {}).items()}
        kind = str(data.get("artifactType") or data.get("config", {}).get("mediaType") or "")
    except ArchiveError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ArchiveError(f"{descriptor.digest} is a malformed manifest ({type(error).__name__})") from None
    if said != descriptor.media_type:
        raise ArchiveError(f"{descriptor.digest} says of itself that it is {said!r:.80}")
    return Document(descriptor, raw, blobs, children, subject, kind, notes)


def _blobs(data: Mapping[str, Any]) -> tuple[Descriptor, ...]:
    found = []
    for one in (data["config"], *data["layers"]):
        descriptor = Descriptor.from_json(one)
        if not _DIGEST.fullmatch(descriptor.digest):
            raise ArchiveError(f"{descriptor.digest!r:.160} is no digest; sha256: and 64 hex digits were expected")
        if one.get("urls"):
            raise ArchiveError(f"{descriptor.digest} lies at addresses of its own; a blob of the archive was expected")
        found.append(descriptor)
    return tuple(found)


def _entries(raw: bytes) -> tuple[Descriptor, ...]:
    return tuple(Descriptor.from_json(one) for one in json.loads(raw)["manifests"])
