"""Brings an archive into a registry. What is there already is not sent again, so a push that was cut goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgesmith.archive.opened import Archive, Document, Progress
from edgesmith.archive.roots import ROLES, Role, Root, placed
from edgesmith_builder.oci import Listed, Reference, Registry, Repository


@dataclass
class Sent:
    """What a push did."""

    uploaded: int = 0
    """Bytes that were sent."""
    there: int = 0
    """Bytes that the registry had, in the repository or in a neighbour of it."""
    images: dict[str, Role] = field(default_factory=dict)
    """Images by digest, as the registry has them now."""


class Push:
    """One archive on its way into a registry."""

    def __init__(self, archive: Archive, registry: Registry, target: str, progress: Progress | None = None) -> None:
        """Make it; nothing is sent yet.

        Args:
            archive: What to push.
            registry: Where to; open.
            target: `HOST[:PORT]`, or `HOST[:PORT]/PREFIX`; the archive's repositories come below it.
            progress: Told of each blob.
        """
        self._archive = archive
        self._registry = registry
        self._target = target
        self._progress = progress or (lambda _what, _size: None)
        self._where: dict[str, Repository] = {}
        self.sent = Sent()

    @property
    def size(self) -> int:
        """Bytes of the blobs of every image; one that several images have counts for each."""
        documents = (one for root in self._archive.roots for one in self._archive.tree(root.descriptor.digest))
        return sum(blob.size for document in documents for blob in document.blobs)

    async def run(self) -> Sent:
        """Push all of it. Tags come last: whoever asks for one finds all that its image names.

        Raises:
            RegistryError: The registry refuses something, or goes away; what it has got by then, it keeps.
            ArchiveError: The target is none.
        """
        roots = sorted(self._archive.roots, key=lambda root: ROLES.index(root.role))
        for root in roots:
            await self._content(root)
        for root in roots:
            if root.role == "referrer":
                await self._hang(root)
        for root in roots:
            if root.tag is not None:
                document = self._archive.documents[root.descriptor.digest]
                await self._put(self.repository(root).tagged(root.tag), document)
        return self.sent

    def repository(self, root: Root) -> Repository:
        """Where something belongs.

        Raises:
            ArchiveError: The target is none.
        """
        return placed(self._target, root.path)

    async def _content(self, root: Root) -> None:
        """Blobs, then manifests, then the index that names them."""
        repository = self.repository(root)
        for document in self._archive.tree(root.descriptor.digest):
            for descriptor in document.blobs:
                await self._blob(repository, descriptor.digest)
            if document.subject is None:
                await self._put(repository.pinned(document.descriptor.digest), document)
        if root.role != "referrer":
            self.sent.images[str(repository.pinned(root.descriptor.digest))] = root.role

    async def _blob(self, repository: Repository, digest: str) -> None:
        blob = self._archive.blobs[digest]
        how = await self._registry.push_blob(repository, blob, mount_from=self._where.get(digest))
        self._where.setdefault(digest, repository)
        if how == "uploaded":
            self.sent.uploaded += blob.descriptor.size
        else:
            self.sent.there += blob.descriptor.size
        self._progress(how, blob.descriptor.size)

    async def _hang(self, root: Root) -> None:
        document = self._archive.documents[root.descriptor.digest]
        entry = Listed(document.descriptor, document.artifact_type, document.annotations)
        subject = str(document.subject)
        await self._registry.attach_manifests(self.repository(root), subject, [(entry, document.raw)])

    async def _put(self, reference: Reference, document: Document) -> None:
        await self._registry.push_manifest(reference, document.raw, document.descriptor.media_type)
