"""Compressed layers kept by what they hold: compressing the same files again is the slow part of a build."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from .tars import Layer, compress

UNUSED_DAYS = 30


def _paths(folder: Path, diff_id: str) -> tuple[Path, Path]:
    name = diff_id.removeprefix("sha256:")
    return folder / f"{name}.tar.gz", folder / f"{name}.json"


def find(folder: Path, diff_id: str) -> Layer | None:
    """Looks a compressed layer up.

    Args:
        folder: The cache's layers.
        diff_id: ``sha256:…`` of the uncompressed tar.

    Returns:
        The layer, or None when it has to be compressed.
    """
    path, note = _paths(folder, diff_id)
    if not note.exists() or not path.exists():
        return None
    os.utime(note)
    known = json.loads(note.read_bytes())
    return Layer(path=path, digest=known["digest"], size=known["size"], diff_id=diff_id)


def find_rewritten(folder: Path, raw: str) -> Layer | None:
    """Looks up what became of a layer as a tool wrote it.

    Args:
        folder: The cache's layers.
        raw: ``sha256:…`` of the tool's uncompressed tar.

    Returns:
        The canonical layer, or None when it has to be rewritten.
    """
    note = folder / f"{raw.removeprefix('sha256:')}.rewritten"
    return find(folder, note.read_text()) if note.exists() else None


def note_rewritten(folder: Path, raw: str, diff_id: str) -> None:
    """Remembers what became of a tool's layer.

    Args:
        folder: The cache's layers.
        raw: ``sha256:…`` of the tool's uncompressed tar.
        diff_id: ``sha256:…`` of the canonical one.
    """
    note = folder / f"{raw.removeprefix('sha256:')}.rewritten"
    half = note.with_suffix(".half")
    half.write_text(diff_id)
    half.replace(note)


def keep(folder: Path, tar: Path, diff_id: str) -> Layer:
    """Finds a layer or compresses it.

    Args:
        folder: The cache's layers.
        tar: The uncompressed archive.
        diff_id: Its digest.

    Returns:
        The layer.
    """
    known = find(folder, diff_id)
    if known is not None:
        return known
    path, note = _paths(folder, diff_id)
    half = path.with_suffix(".half")
    layer = compress(tar, half)
    half.replace(path)
    # The note comes last: a layer without one does not count.
    half.write_text(json.dumps({"digest": layer.digest, "size": layer.size}))
    half.replace(note)
    return Layer(path=path, digest=layer.digest, size=layer.size, diff_id=diff_id)


def forget_old(folder: Path) -> None:
    """Removes layers that no build asked for in a month; layouts that link to them keep them.

    Args:
        folder: The cache's layers.
    """
    oldest = time.time() - UNUSED_DAYS * 86400
    for note in folder.glob("*.json"):
        if note.stat().st_mtime < oldest:
            note.unlink()
            note.with_name(f"{note.stem}.tar.gz").unlink(missing_ok=True)
    for note in folder.glob("*.rewritten"):
        if find(folder, note.read_text()) is None:
            note.unlink()
