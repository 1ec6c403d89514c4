"""The model layer: one uncompressed tar with the same bytes for the same files.

Uncompressed, since weights hardly shrink and a compressor's output depends on its version; and because a node then
unpacks at the speed of its disk.
"""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import IO

from edgesmith_builder.oci import Descriptor
from edgesmith_builder.oci.content import LAYER

FOLDER = "model"
"""Where the bundle lies in the image, from the root."""

_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._file = file

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)


def write_layer(bundle: Path, target: Path) -> Descriptor:
    """Write a bundle's files as a layer, streaming.

    Names are sorted, times are 0, owner is root, modes are fixed.

    Args:
        bundle: The folder; plain files only, as `write_bundle` leaves it.
        target: The tar to write.

    Returns:
        The layer's descriptor. As it is not compressed, its digest is its diff id too.
    """
    with target.open("wb") as file:
        hashing = _Hashing(file)
        with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.USTAR_FORMAT) as archive:  # type: ignore[call-overload]  # tarfile asks for write alone
            archive.addfile(_entry(FOLDER, tarfile.DIRTYPE, 0, _DIRECTORY_MODE))
            for path in sorted(bundle.iterdir()):
                with path.open("rb") as content:
                    size = path.stat().st_size
                    archive.addfile(_entry(f"{FOLDER}/{path.name}", tarfile.REGTYPE, size, _FILE_MODE), content)
    return Descriptor(LAYER, "sha256:" + hashing.digest.hexdigest(), hashing.size)


def _entry(name: str, kind: bytes, size: int, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mode, entry.mtime = kind, size, mode, 0
    return entry
