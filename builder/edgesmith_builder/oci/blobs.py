"""Where a blob's bytes come from when it is pushed: memory, a file, or another registry.

Each can be read from any offset, which is what lets an upload go on where it broke.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from edgesmith_builder.oci.content import Descriptor

PIECE = 1024 * 1024
"""Bytes read from a file at a time."""


class Blob(Protocol):
    """Bytes with a known digest."""

    @property
    def descriptor(self) -> Descriptor:
        """What it is."""

    def stream(self, offset: int) -> AsyncGenerator[bytes, None]:
        """Its bytes from `offset` on, in pieces of any size."""


class BytesBlob:
    """A small blob in memory: an image config."""

    def __init__(self, data: bytes, media_type: str) -> None:
        self.descriptor = Descriptor.of(data, media_type)
        self._data = data

    async def stream(self, offset: int) -> AsyncGenerator[bytes, None]:
        """Its bytes from `offset` on."""
        yield self._data[offset:]


class FileBlob:
    """A blob in a file whose digest is known already."""

    def __init__(self, path: Path, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self._path = path

    async def stream(self, offset: int) -> AsyncGenerator[bytes, None]:
        """Its bytes from `offset` on. Reading is from a local disk, and blocks."""
        with self._path.open("rb") as file:
            file.seek(offset)
            while piece := file.read(PIECE):
                yield piece


async def in_chunks(stream: AsyncGenerator[bytes, None], size: int) -> AsyncGenerator[bytes, None]:
    """The same bytes in chunks of exactly `size`, but for the last."""
    pending = bytearray()
    async with aclosing(stream):
        async for piece in stream:
            pending += piece
            while len(pending) >= size:
                yield bytes(pending[:size])
                del pending[:size]
    if pending:
        yield bytes(pending)
