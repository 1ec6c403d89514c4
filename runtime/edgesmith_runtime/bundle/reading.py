"""Reads a bundle, every byte of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.bundle.description import BUNDLE_FILE, DEFAULT_NAME, Bundle, BundleError
from edgesmith_runtime.bundle.document import parse
from edgesmith_runtime.bundle.files import file_digest, open_plain, plain_files

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_bundle"]

_LARGEST_MANIFEST: Final = 2**20


def read_bundle(folder: Path, name: str = DEFAULT_NAME) -> Bundle:
    """Read a bundle and check every file of it against its digest.

    Args:
        folder: The bundle's folder.
        name: What clients call the model: letters, digits, ``.``, ``_`` and ``-``.

    Returns:
        The bundle, every byte of which has been read.

    Raises:
        BundleError: The folder is not a bundle, or not the one that was built.
    """
    bundle = parse(_read_manifest(folder), folder, name)
    present = plain_files(folder) - {BUNDLE_FILE}
    if missing := sorted(set(bundle.digests) - present):
        raise BundleError(f"bundle lacks {missing[0]!r}, which {BUNDLE_FILE} names")
    if extra := sorted(present - set(bundle.digests)):
        raise BundleError(f"bundle holds {extra[0]!r}, which {BUNDLE_FILE} does not name")
    for file, expected in sorted(bundle.digests.items()):
        actual = file_digest(folder / file)
        if actual != expected:
            raise BundleError(f"{file} has digest {actual}; expected {expected} from {BUNDLE_FILE}")
    return bundle


def _read_manifest(folder: Path) -> Any:
    path = folder / BUNDLE_FILE
    try:
        with open_plain(path) as stream:
            text = stream.read(_LARGEST_MANIFEST + 1)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    if len(text) > _LARGEST_MANIFEST:
        raise BundleError(f"{BUNDLE_FILE} is over {_LARGEST_MANIFEST} bytes; expected less")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{BUNDLE_FILE} is not JSON: {error}") from error
