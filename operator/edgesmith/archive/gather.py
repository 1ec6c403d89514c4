"""What goes into an archive: images with everything that hangs on them, asked of their registries."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgesmith.archive.opened import Document, document_of
from edgesmith.archive.roots import ArchiveError, Role, Root
from edgesmith_builder.oci import BytesBlob, Descriptor, Listed, Reference, Repository
from edgesmith_builder.oci.content import INDEX, MANIFEST, digest_of

DEPTH = 3
"""How far what hangs on something that hangs on an image is followed: a signature of its bill, say."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image that an archive is to have."""

    role: Role
    reference: Reference
    tag: str | None = None
    """Its tag in the archive; None: it has none."""


@dataclass
class Contents:
    """Everything that an archive is to have."""

    roots: list[Root] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)
    """Manifests and indexes, by digest."""
    sources: dict[str, tuple[Descriptor, Repository | BytesBlob]] = field(default_factory=dict)
    """Configs and layers by digest, each with where its bytes are."""

    @property
    def size(self) -> int:
        """Bytes of manifests, configs and layers."""
        small = sum(len(document.raw) for document in self.documents.values())
        return small + sum(descriptor.size for descriptor, _ in self.sources.values())


class Source(Protocol):
    """Where images come from: a `Registry`, or several."""

    async def raw(self, reference: Reference) -> tuple[str, bytes] | None:
        """What a reference names: its media type and its bytes; None where there is nothing."""

    async def referrers(self, repository: Repository, digest: str) -> tuple[Listed, ...]:
        """What hangs on an image."""

    def stream_blob(
        self, repository: Repository, descriptor: Descriptor, offset: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """A blob's bytes from `offset` on."""


class Gathering:
    """Asks registries for images."""

    def __init__(self, registry: Source) -> None:
        """Make it.

        Args:
            registry: Where to ask; open.
        """
        self._registry = registry
        self.contents = Contents()

    async def add(self, wanted: Wanted) -> Document:
        """Take an image in, with what hangs on it and on its parts.

        Raises:
            ArchiveError: It is not there, or malformed.
            RegistryError: The registry cannot be asked.
        """
        repository = wanted.reference.repository
        document = await self._document(repository, wanted.reference)
        self._list(Root(document.descriptor, wanted.role, repository.name, wanted.tag))
        for digest in (document.descriptor.digest, *document.children):
            await self._hanging(repository, digest, DEPTH)
        return document

    def add_artifact(self, role: Role, path: str, tag: str | None, manifest: bytes, blobs: Sequence[BytesBlob]) -> None:
        """Take in something that is in no registry.

        Args:
            role: What it is.
            path: The repository that it belongs in, below its registry.
            tag: Its tag.
            manifest: Its manifest.
            blobs: The config and the layers that the manifest names.
        """
        descriptor = Descriptor.of(manifest, MANIFEST)
        self.contents.documents[descriptor.digest] = document_of(descriptor, manifest)
        self.contents.sources |= {one.descriptor.digest: (one.descriptor, one) for one in blobs}
        self._list(Root(descriptor, role, path, tag))

    def _list(self, root: Root) -> None:
        if root not in self.contents.roots:
            self.contents.roots.append(root)

    async def _document(self, repository: Repository, reference: Reference) -> Document:
        """A manifest or index with everything that it names."""
        return await self._take(repository, reference, await self._read(reference))

    async def _read(self, reference: Reference) -> Document:
        found = await self._registry.raw(reference)
        if found is None:
            raise ArchiveError(f"{reference} is not there; an image was expected")
        media_type, raw = found
        return document_of(Descriptor(media_type, digest_of(raw), len(raw)), raw)

    async def _take(self, repository: Repository, reference: Reference, document: Document) -> Document:
        self.contents.documents[document.descriptor.digest] = document
        for blob in document.blobs:
            self.contents.sources.setdefault(blob.digest, (blob, repository))
        for child in document.children:
            if child not in self.contents.documents:
                nested = await self._document(repository, repository.pinned(child))
                if nested.descriptor.media_type == INDEX:
                    raise ArchiveError(f"{reference} is an index of indexes; an index of images was expected")
        return document

    async def _hanging(self, repository: Repository, subject: str, depth: int) -> None:
        """What hangs on a manifest."""
        if depth == 0:
            return
        for entry in await self._registry.referrers(repository, subject):
            digest = entry.descriptor.digest
            reference = repository.pinned(digest)
            document = await self._read(reference)
            if document.subject != subject:
                continue  # whoever keeps such a list under a tag may be wrong, and nothing else leads to it
            await self._take(repository, reference, document)
            self._list(Root(document.descriptor, "referrer", repository.name))
            await self._hanging(repository, digest, depth - 1)
