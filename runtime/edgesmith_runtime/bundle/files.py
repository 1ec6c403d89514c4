"""The files of a bundle: plain ones in one folder, told apart by their digests."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.bundle.description import BundleError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MODE", "copy_file", "file_digest", "open_plain", "plain_files"]

MODE: Final = 0o644
"""What the files' permissions are, whatever the builder's umask."""

_CHUNK: Final = 2**20


def plain_files(folder: Path) -> set[str]:
    """Name the files of a folder.

    Raises:
        BundleError: The folder cannot be read, or holds something else.
    """
    names = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_file(follow_symlinks=False):
                    raise BundleError(f"bundle holds {entry.name!r}, which is a link, folder or device; expected files")
                names.add(entry.name)
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror}") from error
    return names


def open_plain(path: Path) -> Any:
    """Open a plain file for reading; never follow a link out of the folder, never wait on a pipe.

    Raises:
        BundleError: It is something else.
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    stream = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        stream.close()
        raise BundleError(f"bundle holds {path.name!r}, which is a link, folder or device; expected files")
    return stream


def file_digest(path: Path) -> str:
    """Compute ``sha256:<hex>`` of a file.

    Raises:
        BundleError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open_plain(path) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read: {error.strerror}") from error
    return f"sha256:{digest.hexdigest()}"


def copy_file(source: Path, target: Path) -> str:
    """Copy a file to a new one that anybody may read, and give its digest.

    Raises:
        OSError: One cannot be read, or the other not be written.
    """
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
    target.chmod(MODE)
    return f"sha256:{digest.hexdigest()}"
