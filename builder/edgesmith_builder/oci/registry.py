"""A registry client of one page: what building and looking up images needs, and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Literal, Self

import httpx

from edgesmith_builder.oci.auth import Credentials, Logins
from edgesmith_builder.oci.backoff import Backoff
from edgesmith_builder.oci.blobs import Blob
from edgesmith_builder.oci.content import (
    ACCEPT,
    INDEX,
    MANIFEST,
    Descriptor,
    Index,
    Manifest,
    digest_of,
    document_of,
)
from edgesmith_builder.oci.errors import RegistryError, RegistryForbidden, RegistryRefused
from edgesmith_builder.oci.reference import Reference, Repository
from edgesmith_builder.oci.referrers import EMPTY, Listed, Referrer, list_tag, listed, with_entries
from edgesmith_builder.oci.transport import ANSWER_LIMIT, Answer, Transport
from edgesmith_builder.oci.upload import CHUNK, Upload, holds

log = logging.getLogger(__name__)

Pushed = Literal["there", "mounted", "uploaded"]
"""How a blob got where it is: it was there, it was taken over from a neighbour repository, or its bytes were sent."""


class Registry:
    """Reads and writes images in any number of registries.

    Use it as an async context manager, and from one event loop.
    """

    def __init__(
        self,
        plain_http: bool = False,  # noqa: FBT001, FBT002 - one flag, always given by name or alone
        credentials: Logins | None = None,
        *,
        backoff: Backoff | None = None,
        authorities: str | None = None,
        chunk: int = CHUNK,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            plain_http: Speak HTTP, for registries inside the cluster.
            credentials: Logins by registry; without, anonymous.
            backoff: How patient to be.
            authorities: Certificates in PEM of authorities to trust besides the public ones.
            chunk: Bytes sent at a time where a blob goes in chunks.
            transport: Another way to send requests, for tests.

        Raises:
            ValueError: in one sentence, where `authorities` are none.
        """
        self._transport = Transport(
            plain_http=plain_http,
            credentials=credentials or Credentials(),
            backoff=backoff or Backoff(),
            authorities=authorities,
            transport=transport,
        )
        self._chunk = chunk

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._transport.__aexit__(*exc)

    async def manifest(self, reference: Reference) -> Manifest | None:
        """One image's manifest; None where there is none.

        Raises:
            RegistryRefused: also where the reference names an index, or bytes of another digest came.
            RegistryError: of the fitting kind.
        """
        document = await self.document(reference)
        if isinstance(document, Index):
            raise RegistryRefused(f"{reference} is an image index; one platform's image was expected")
        return document

    async def raw(self, reference: Reference) -> tuple[str, bytes] | None:
        """What a reference names, as it stands: its media type and its bytes; None where there is nothing.

        Raises:
            RegistryRefused: also where bytes of another digest came.
            RegistryError: of the fitting kind.
        """
        repository, what = reference.repository, f"reading the manifest {reference.target}"
        answer = await self._transport.call(
            "GET",
            self._transport.address(repository, f"manifests/{reference.target}"),
            repository,
            expect={200, 404},
            what=what,
            headers={"Accept": ACCEPT},
        )
        if answer.status == httpx.codes.NOT_FOUND:
            return None
        digest = digest_of(answer.body)
        for declared in (reference.digest, answer.headers.get("Docker-Content-Digest")):
            if declared and declared != digest:
                raise RegistryRefused(f"{repository} answered with {digest} when {what}; {declared} was expected")
        return answer.headers.get("Content-Type", "").partition(";")[0].strip(), answer.body

    async def document(self, reference: Reference) -> Manifest | Index | None:
        """What a reference names, an image or an index; None where there is nothing.

        Raises:
            RegistryError: of the fitting kind.
        """
        found = await self.raw(reference)
        if found is None:
            return None
        repository, what = reference.repository, f"reading the manifest {reference.target}"
        try:
            document = document_of(*found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RegistryRefused(
                f"{repository} answered with a malformed manifest when {what}: {type(error).__name__} {error}"
            ) from error
        if document is None:
            raise RegistryRefused(
                f"{repository} answered with the media type {found[0] or 'none'!r} when {what}; an image was expected"
            )
        return document

    async def digest_under(self, reference: Reference) -> str | None:
        """The digest of what a reference names, by one HEAD: nothing is read again whose digest is known.

        None where there is nothing, or a registry that does not say of a HEAD what it is about.

        Raises:
            RegistryError: of the fitting kind.
        """
        answer = await self._transport.call(
            "HEAD",
            self._transport.address(reference.repository, f"manifests/{reference.target}"),
            reference.repository,
            expect={200, 301, 302, 303, 307, 308, 404, 405},
            what=f"looking for the manifest {reference.target}",
            headers={"Accept": ACCEPT},
        )
        return answer.headers.get("Docker-Content-Digest") if answer.status == httpx.codes.OK else None

    async def has_blob(self, repository: Repository, digest: str) -> bool:
        """Whether a repository holds a blob.

        Raises:
            RegistryError: of the fitting kind.
        """
        return await holds(self._transport, repository, digest)

    async def read_blob(self, repository: Repository, descriptor: Descriptor) -> bytes:
        """A small blob, whole and checked: an image config.

        Raises:
            RegistryRefused: also for one over 4 MiB or of another digest.
            RegistryError: of the fitting kind.
        """
        if descriptor.size > ANSWER_LIMIT:
            raise RegistryRefused(
                f"{repository} has a {descriptor.media_type} of {descriptor.size} bytes; "
                f"at most {ANSWER_LIMIT} were expected"
            )

        async def read() -> bytes:
            body = bytearray()
            async with contextlib.aclosing(self.stream_blob(repository, descriptor)) as pieces:
                async for piece in pieces:
                    body += piece
            return bytes(body)

        return await self._transport.backoff.patiently(read)

    async def save_blob(self, repository: Repository, descriptor: Descriptor, target: Path) -> None:
        """Bring a blob of any size into a file, whole and checked.

        Raises:
            RegistryError: of the fitting kind; what the file holds then is not the blob.
        """

        async def save() -> None:
            with target.open("wb") as file:
                async with contextlib.aclosing(self.stream_blob(repository, descriptor)) as pieces:
                    async for piece in pieces:
                        file.write(piece)

        await self._transport.backoff.patiently(save)

    async def stream_blob(
        self, repository: Repository, descriptor: Descriptor, offset: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """A blob's bytes from `offset` on, in one attempt. Size is always checked, the digest where it is read whole.

        Raises:
            RegistryError: of the fitting kind, at the end at the latest.
        """
        what = f"reading {descriptor.digest}"
        url = self._transport.address(repository, f"blobs/{descriptor.digest}")
        seen, digest = offset, hashlib.sha256()
        async with self._transport.stream(url, repository, what=what, offset=offset) as pieces:
            async for piece in pieces:
                seen += len(piece)
                if seen > descriptor.size:
                    break
                digest.update(piece)
                yield piece
        if seen != descriptor.size:
            raise RegistryRefused(f"{repository} sent {seen} bytes when {what}; {descriptor.size} were expected")
        if offset == 0 and "sha256:" + digest.hexdigest() != descriptor.digest:
            raise RegistryRefused(
                f"{repository} sent sha256:{digest.hexdigest()} when {what}; the same digest was expected"
            )

    async def push_blob(self, repository: Repository, blob: Blob, *, mount_from: Repository | None = None) -> Pushed:
        """Bring a blob into a repository, by the cheapest way there is.

        Args:
            repository: Where to.
            blob: What.
            mount_from: A repository that holds it already; used where it is in the same registry.

        Raises:
            RegistryError: of the fitting kind.
        """
        digest = blob.descriptor.digest
        if await self.has_blob(repository, digest):
            return "there"
        opened = None
        if mount_from is not None and mount_from != repository and mount_from.registry == repository.registry:
            opened = await self._mount(repository, digest, mount_from)
            if opened is not None and opened.status == httpx.codes.CREATED:
                return "mounted"
        await Upload(self._transport, repository, blob, self._chunk).run(opened)
        return "uploaded"

    async def _mount(self, repository: Repository, digest: str, mount_from: Repository) -> Answer | None:
        """Ask for a mount: 201 mounted, 202 an upload was opened instead, None refused.

        A mount is a short cut. Who may not read the neighbour is answered 401, 403 or 404, a registry without mounts
        405, and each time the blob can be uploaded all the same; with a token for the target alone, since one that was
        asked for both repositories may open neither.
        """
        url = self._transport.address(repository, "blobs/uploads/")
        try:
            answer = await self._transport.call(
                "POST",
                url.copy_merge_params({"mount": digest, "from": mount_from.name}),
                repository,
                expect={201, 202},
                what=f"mounting {digest} from {mount_from.name}",
            )
        except (RegistryForbidden, RegistryRefused) as error:
            log.info("%s; it is uploaded instead", error)
            self._transport.forget_login(repository)
            return None
        return answer if answer.status == httpx.codes.CREATED or "Location" in answer.headers else None

    async def check_push(self, repository: Repository) -> None:
        """See that images can be pushed to a repository, by opening an upload and giving it up again.

        Raises:
            RegistryError: of the fitting kind.
        """
        url = self._transport.address(repository, "blobs/uploads/")
        opened = await self._transport.call("POST", url, repository, expect={202}, what="opening an upload")
        session = self._transport.location(repository, opened)
        # Not every registry can give an upload up; those that cannot forget it after a while.
        with contextlib.suppress(RegistryError):
            await self._transport.call(
                "DELETE", session, repository, expect={204}, what="giving an upload up", repeat=False
            )

    async def push_manifest(self, reference: Reference, raw: bytes, media_type: str = MANIFEST) -> str:
        """Put a manifest under a tag or digest, and return its digest.

        Raises:
            RegistryError: of the fitting kind.
        """
        await self._put_manifest(reference, raw, media_type)
        return digest_of(raw)

    async def _put_manifest(self, reference: Reference, raw: bytes, media_type: str) -> Answer:
        repository, digest = reference.repository, digest_of(raw)
        what = f"writing the manifest {reference.target}"
        answer = await self._transport.call(
            "PUT",
            self._transport.address(repository, f"manifests/{reference.target}"),
            repository,
            expect={201},
            what=what,
            headers={"Content-Type": media_type},
            content=raw,
        )
        declared = answer.headers.get("Docker-Content-Digest", digest)
        if declared != digest:
            raise RegistryRefused(f"{repository} stored {declared} when {what}; {digest} was expected")
        return answer

    async def attach(self, repository: Repository, subject: Descriptor, referrers: Sequence[Referrer]) -> None:
        """Hang something on an image. What hangs there already is neither lost nor hung there twice.

        Args:
            repository: The image's.
            subject: The image's manifest, which need not be there yet.
            referrers: What to hang there.

        Raises:
            RegistryError: of the fitting kind.
        """
        made = []
        for referrer in referrers:
            await self.push_blob(repository, EMPTY)
            await self.push_blob(repository, referrer.content)
            raw = referrer.to_bytes(subject)
            listed_as = Listed(Descriptor.of(raw, MANIFEST), referrer.artifact_type, referrer.annotations)
            made.append((listed_as, raw))
        await self.attach_manifests(repository, subject.digest, made)

    async def attach_manifests(
        self, repository: Repository, subject: str, manifests: Sequence[tuple[Listed, bytes]]
    ) -> None:
        """Hang manifests on an image that name it as their subject, and whose blobs are there.

        Args:
            repository: The image's.
            subject: The digest of the image's manifest, which need not be there yet.
            manifests: Each as the image's list is to have it, and its bytes.

        Raises:
            RegistryError: of the fitting kind.
        """
        unlisted = []
        for entry, raw in manifests:
            answer = await self._put_manifest(repository.pinned(entry.descriptor.digest), raw, MANIFEST)
            if answer.headers.get("OCI-Subject") != subject:
                unlisted.append(entry)
        if not unlisted:
            return
        tagged = repository.tagged(list_tag(subject))
        there = await self._list(repository, f"manifests/{tagged.target}")
        try:
            raw = with_entries(there, unlisted)
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryRefused(f"{tagged} is no list of what hangs on an image; an index was expected") from error
        if raw != there:
            await self.push_manifest(tagged, raw, INDEX)

    async def referrers(self, repository: Repository, digest: str) -> tuple[Listed, ...]:
        """What hangs on an image: the registry's own list, or else the one that is kept under a tag.

        Of a list that comes in pages, the first is read.

        Raises:
            RegistryError: of the fitting kind.
        """
        raw = await self._list(repository, f"referrers/{digest}")
        if raw is None:
            raw = await self._list(repository, f"manifests/{list_tag(digest)}")
        try:
            return listed(raw) if raw is not None else ()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RegistryRefused(
                f"{repository} answered with a malformed list of what hangs on {digest}; an index was expected"
            ) from error

    async def _list(self, repository: Repository, path: str) -> bytes | None:
        """An index, as it stands; None where there is none, or the registry knows no such address."""
        answer = await self._transport.call(
            "GET",
            self._transport.address(repository, path),
            repository,
            expect={200, 400, 404, 405, 406},
            what=f"reading {path}",
            headers={"Accept": INDEX},
        )
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return answer.body if answer.status == httpx.codes.OK and media_type == INDEX else None
