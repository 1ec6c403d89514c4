"""Unpacks an image into a folder, so that its programs can be run without a container (under emulation, say)."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from .console import ImageError
from .layout import Layout

WHITEOUT = ".wh."
"""Before the name of what a layer removes (image-spec, layer.md)."""

OPAQUE = ".wh..wh..opq"
"""In a folder whose lower layers' contents a layer hides."""


def _target(root: Path, name: str) -> Path:
    """Finds where a member goes, and refuses one that would land outside.

    Raises:
        ImageError: The path climbs out of the root, or a link of an earlier member leads out of it.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise ImageError(f"The layer's entry {name!r} climbs out of the image's root.")
    target = root.joinpath(*parts)
    parent = Path(os.path.realpath(target.parent))
    if parent != root and root not in parent.parents:
        raise ImageError(
            f"The layer's entry {name!r} would be written through a link that leads out of the image's root."
        )
    return target


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, root: Path) -> None:
    """Writes one member over whatever is there."""
    if member.isdir():
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            _remove(target)
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(member.mode & 0o1777)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove(target)
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        os.link(_target(root, member.linkname), target, follow_symlinks=False)
    elif member.isreg():
        content = archive.extractfile(member)
        if content is None:
            raise ImageError(f"The layer's entry {member.name!r} is a file without contents.")
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file)
        target.chmod(member.mode & 0o777)
    else:
        raise ImageError(f"The layer's entry {member.name!r} is neither a file nor a folder nor a link.")


def apply_layer(path: Path, root: Path) -> None:
    """Applies one layer to a root.

    Args:
        path: The layer, compressed or not.
        root: A resolved folder; layers below were applied to it before.

    Raises:
        ImageError: An entry would land outside the root, or is a device.
    """
    with tarfile.open(path) as archive:
        for member in archive:
            folder, _, name = member.name.rstrip("/").rpartition("/")
            if name == OPAQUE:
                for child in list(_target(root, f"{folder}/x").parent.iterdir()):
                    _remove(child)
            elif name.startswith(WHITEOUT):
                _remove(_target(root, f"{folder}/{name.removeprefix(WHITEOUT)}"))
            elif name not in {"", "."}:
                _place(archive, member, _target(root, member.name), root)


def extract(layout: Layout, platform: str, folder: Path) -> None:
    """Unpacks an image of one platform.

    Args:
        layout: Where it is.
        platform: ``linux/amd64`` or ``linux/arm64``.
        folder: An empty or absent folder.

    Raises:
        ImageError: The folder holds something, the image is not made for the platform, or a layer is malformed.
    """
    manifests = layout.manifests()
    if platform not in manifests:
        raise ImageError(f"The image is built for {', '.join(manifests)}, not for {platform}.")
    if folder.exists() and any(folder.iterdir()):
        raise ImageError(f"{folder} is not empty; name a folder that does not exist yet.")
    folder.mkdir(parents=True, exist_ok=True)
    for layer in manifests[platform]["layers"]:
        apply_layer(layout.blob(layer["digest"]), folder.resolve())
