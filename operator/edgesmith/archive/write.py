"""Writes an archive: the same bytes each time for the same content, and the whole of it or nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

from edgesmith.archive.gather import Contents, Source
from edgesmith.archive.opened import DOCUMENT, Progress
from edgesmith.archive.roots import LAYOUT, ROLES, ArchiveError, Root, index_of
from edgesmith.archive.tar import END, blob_name, entry, header, padding
from edgesmith.archive.whole import whole
from edgesmith_builder.oci import Backoff, BytesBlob, Descriptor, RegistryUnreachable, Repository


async def write(
    contents: Contents,
    registry: Source,
    path: Path,
    *,
    progress: Progress = lambda _what, _size: None,
    backoff: Backoff | None = None,
) -> int:
    """Write an archive and return its bytes; nothing is at `path` before all of it is.

    Args:
        contents: What it is to have.
        registry: Where its blobs are; open.
        path: The file.
        progress: Told of each blob.
        backoff: How patient to be with a registry that goes away.

    Raises:
        ArchiveError: Something is too large for an archive.
        RegistryError: A registry does not give what it has.
        OSError: The file cannot be written.
    """
    small = {digest: document.raw for digest, document in contents.documents.items()}
    index = index_of(root.to_json() for root in sorted(contents.roots, key=_order))
    if len(index) > DOCUMENT:
        raise ArchiveError(f"the archive would list {len(contents.roots)} images; export fewer EdgeModels at a time")
    with whole(path) as file:
        file.write(entry("oci-layout", LAYOUT))
        file.write(entry("index.json", index))
        for digest in sorted({*small, *contents.sources}):
            if digest in small:
                file.write(entry(blob_name(digest), small[digest]))
            else:
                descriptor, source = contents.sources[digest]
                await _Copy(file, registry, backoff or Backoff()).run(descriptor, source)
                progress("written", descriptor.size)
        file.write(END)
        return file.tell()


def _order(root: Root) -> tuple[int, str, str, str]:
    return ROLES.index(root.role), root.path, root.tag or "", root.descriptor.digest


class _Copy:
    """One blob on its way from a registry into an archive."""

    def __init__(self, file: BinaryIO, registry: Source, backoff: Backoff) -> None:
        self._file, self._registry, self._backoff = file, registry, backoff
        self._done = 0
        self._digest = hashlib.sha256()

    async def run(self, descriptor: Descriptor, source: Repository | BytesBlob) -> None:
        """Write it, going on where the registry went away."""
        self._file.write(header(blob_name(descriptor.digest), descriptor.size))
        failed = 0
        while self._done < descriptor.size:
            before = self._done
            try:
                await self._on(descriptor, source)
            except RegistryUnreachable as error:
                failed = 1 if self._done > before else failed + 1
                if failed >= self._backoff.attempts:
                    raise
                await asyncio.sleep(self._backoff.delay(failed - 1, error.asked))
        found = f"sha256:{self._digest.hexdigest()}"
        if found != descriptor.digest:
            raise ArchiveError(f"{descriptor.digest} has the digest {found}; the same was expected")
        self._file.write(padding(descriptor.size))

    async def _on(self, descriptor: Descriptor, source: Repository | BytesBlob) -> None:
        async with aclosing(self._stream(descriptor, source)) as pieces:
            async for piece in pieces:
                self._file.write(piece)
                self._digest.update(piece)
                self._done += len(piece)

    def _stream(self, descriptor: Descriptor, source: Repository | BytesBlob) -> AsyncGenerator[bytes, None]:
        if isinstance(source, BytesBlob):
            return source.stream(self._done)
        return self._registry.stream_blob(source, descriptor, self._done)
