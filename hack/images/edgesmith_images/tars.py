"""Tar archives that depend on their contents alone: sorted, without times, owners' names or tool's quirks."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from edgesmith_builder.pack.hashing import Hashing

LEVEL = 9
"""gzip's level: layers are compressed once, kept by content, and then travel to every node."""

CHUNK = 1 << 20


@dataclass(frozen=True)
class Layer:
    """A compressed layer in a file.

    Attributes:
        path: Where it lies.
        digest: ``sha256:…`` of the compressed bytes.
        size: Compressed size in bytes.
        diff_id: ``sha256:…`` of the uncompressed tar.
    """

    path: Path
    digest: str
    size: int
    diff_id: str


def compress(tar: Path, target: Path) -> Layer:
    """Compresses a tar with gzip, without name or time in its header.

    Args:
        tar: An uncompressed archive.
        target: The file to write.

    Returns:
        The layer.
    """
    with tar.open("rb") as source, target.open("wb") as file:
        outer = Hashing(file)
        with gzip.GzipFile(
            filename="", mode="wb", fileobj=cast("IO[bytes]", outer), mtime=0, compresslevel=LEVEL
        ) as zipped:
            inner = Hashing(zipped)
            shutil.copyfileobj(source, inner, CHUNK)
    return Layer(path=target, digest=outer.digest, size=outer.size, diff_id=inner.digest)


def _mode(member: tarfile.TarInfo) -> int:
    """Keeps who may execute and what is sticky; who may write is the owner, whatever the umask was."""
    if member.isdir():
        return 0o1777 if member.mode & 0o1000 else 0o755
    if member.issym():
        return 0o777
    return 0o755 if member.mode & 0o111 else 0o644


def _plain(member: tarfile.TarInfo, owner: int) -> tarfile.TarInfo:
    """Copies a header without what differs from one run to the next."""
    plain = tarfile.TarInfo(member.name.removeprefix("./").rstrip("/"))
    plain.type = tarfile.REGTYPE if member.isreg() else member.type
    plain.size = member.size if member.isreg() else 0
    plain.mode = _mode(member)
    plain.linkname = member.linkname.removeprefix("./") if member.islnk() else member.linkname
    plain.uid = plain.gid = owner
    plain.mtime = 0
    return plain


def _order(member: tarfile.TarInfo) -> tuple[bool, str]:
    """Sorts by path; hard links last, because their target has to come first."""
    return member.islnk(), member.name


def repack(source: Path, target: Path) -> str:
    """Rewrites a tar in canonical form.

    Args:
        source: An uncompressed or gzip-compressed tar of files, folders and links.
        target: The file to write, uncompressed.

    Returns:
        The ``sha256:…`` of what was written.
    """
    with tarfile.open(source) as old, target.open("wb") as file:
        tee = Hashing(file)
        with tarfile.open(fileobj=cast("IO[bytes]", tee), mode="w|", format=tarfile.PAX_FORMAT) as new:
            for member in sorted(old.getmembers(), key=_order):
                if member.name.strip("./"):
                    content = old.extractfile(member) if member.isreg() else None
                    new.addfile(_plain(member, 0), content)
    return tee.digest


def pack(folder: Path, target: Path, owners: Mapping[str, int]) -> str:
    """Writes a folder as a canonical tar.

    Args:
        folder: What to pack.
        target: The file to write, uncompressed.
        owners: User and group id by path; everything else is root's.

    Returns:
        The ``sha256:…`` of what was written.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    with target.open("wb") as file:
        tee = Hashing(file)
        with tarfile.open(fileobj=cast("IO[bytes]", tee), mode="w|", format=tarfile.PAX_FORMAT) as new:
            for name in names:
                path = folder / name
                # Each file stands for itself: a link count is an accident of how the folder came to be.
                new.inodes.clear()  # type: ignore[attr-defined]  # public by name, absent from the stubs
                plain = _plain(new.gettarinfo(str(path), arcname=name), owners.get(name, 0))
                if plain.isreg():
                    with path.open("rb") as content:
                        new.addfile(plain, content)
                else:
                    new.addfile(plain)
    return tee.digest


def unpack_into(source: Path, folder: Path, keep: Callable[[str], bool]) -> None:
    """Unpacks what is wanted of a trusted archive of our own making.

    Args:
        source: A tar.
        folder: Where to.
        keep: Says by path (no leading slash) whether a file or a folder is wanted.
    """
    with tarfile.open(source) as archive:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if not name or name == "." or member.isdev() or not keep(name):
                continue
            member.name = name
            member.uid, member.gid = os.geteuid(), os.getegid()
            archive.extract(member, folder, set_attrs=not member.issym())
