"""A file on its way to a registry: what is written is hashed and counted as it goes."""

from __future__ import annotations

import hashlib
from typing import Protocol


class Writable(Protocol):
    """What a tar or a compressor asks of a file."""

    def write(self, data: bytes, /) -> int:
        """Write everything; how many bytes that was."""


class Hashing:
    """Writes on to another file."""

    def __init__(self, file: Writable) -> None:
        self.size = 0
        """Bytes so far."""
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        """Write everything, as a file of ours always can."""
        self._file.write(data)
        self._hash.update(data)
        size = memoryview(data).nbytes
        self.size += size
        return size

    @property
    def digest(self) -> str:
        """`sha256:HEX` of what was written so far."""
        return "sha256:" + self._hash.hexdigest()
