"""A file that is there whole or not at all, whatever ends the program that writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edgesmith.archive.roots import ArchiveError


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which is at `path` once the block has ended; where that fails, `path` is as it was.

    Raises:
        ArchiveError: Something else than a file is there. A device must not be replaced by a file, and a folder cannot.
        OSError: The file cannot be written; it names the file.
    """
    if path.exists() and not path.is_file():
        raise ArchiveError(f"{path} is no plain file; the name of one was expected, or of none")
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        if error.filename is not None:
            raise
        # What a full disk says of a write names no file.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    finally:
        part.unlink(missing_ok=True)
