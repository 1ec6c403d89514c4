"""The tar that an archive is: written the same way each time, and read without trusting it.

Plain ustar (POSIX.1-1988) with regular files alone: no link, no extension, no other name than a layout has. So nothing
in it can lead out of a folder, and nothing is longer than its header says. Nothing is unpacked.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple

from edgesmith.archive.roots import ArchiveError

BLOCK = 512
MOST = 100_000
"""Entries of an archive, at most."""
LARGEST = 8 * 1024**3 - 1
"""Bytes of one file: what a header of this form can say."""
END = bytes(2 * BLOCK)

_BLOB = re.compile(r"blobs/sha256/[0-9a-f]{64}")
_FOLDERS = ("blobs", "blobs/sha256")
_FILES = ("oci-layout", "index.json")


class Place(NamedTuple):
    """Where a file's bytes are in an archive."""

    offset: int
    size: int


def blob_name(digest: str) -> str:
    """The name of a blob's file."""
    return f"blobs/{digest.replace(':', '/', 1)}"


def header(name: str, size: int) -> bytes:
    """The header of a file: of nobody, of no time, so that the same content is the same archive.

    Raises:
        ArchiveError: The file is larger than a header can say.
    """
    if size > LARGEST:
        raise ArchiveError(f"{name} has {size} bytes; at most {LARGEST} were expected")
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def padding(size: int) -> bytes:
    """What follows a file's bytes up to the next header."""
    return bytes(-size % BLOCK)


def entry(name: str, content: bytes) -> bytes:
    """A file with all that is around it.

    Raises:
        ArchiveError: The file is larger than a header can say.
    """
    return header(name, len(content)) + content + padding(len(content))


def places(file: BinaryIO) -> Mapping[str, Place]:
    """Where each file of an archive is, by its name. Only headers are read.

    Raises:
        ArchiveError: It is no such tar; something in it is neither a file nor a folder of a layout, is there twice, or
            is said to be larger than the archive.
    """
    end = file.seek(0, 2)
    found: dict[str, Place] = {}
    at = 0
    while True:
        file.seek(at)
        info = _header(file.read(BLOCK), at)
        if info is None:
            return found
        if len(found) >= MOST:
            raise ArchiveError(f"the archive has more than {MOST} entries")
        at += BLOCK
        if info.type == tarfile.DIRTYPE and info.size == 0 and info.name.rstrip("/") in _FOLDERS:
            continue
        name = _checked(info)
        if name in found:
            raise ArchiveError(f"the archive has {name} twice")
        if not 0 <= info.size <= end - at:
            raise ArchiveError(f"{name} is said to have {info.size} bytes, and the archive ends {end - at} bytes later")
        found[name] = Place(at, info.size)
        at += info.size + len(padding(info.size))


def _header(block: bytes, at: int) -> tarfile.TarInfo | None:
    """A header; None at the archive's end."""
    try:
        return tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except tarfile.HeaderError as error:
        if len(block) == BLOCK and not any(block):
            return None
        why = "it ends there" if len(block) < BLOCK else str(error)
        raise ArchiveError(f"the archive has no tar header at byte {at} ({why}); it is cut short or damaged") from None
    except ValueError:
        raise ArchiveError(f"the archive has a name at byte {at} that is not ASCII") from None


def _checked(info: tarfile.TarInfo) -> str:
    """The name of a file that a layout has."""
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise ArchiveError(f"the archive has {info.name!r:.160} of the type {info.type!r}; a plain file was expected")
    if info.name not in _FILES and not _BLOB.fullmatch(info.name):
        raise ArchiveError(f"the archive has {info.name!r:.160}, which is no file of an OCI image layout")
    return info.name
