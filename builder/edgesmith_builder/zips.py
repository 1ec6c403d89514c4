"""Opens a zip that anybody may have written: what its table of contents lists is bounded before it is taken apart."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LISTED = 1 << 19
"""Files and folders that a table of contents may list: each takes about 1 KB of memory, however little it holds."""

_TABLE = LISTED << 8
"""Bytes of the table itself."""

_ENTRY = b"PK\x01\x02"
"""What each of its entries begins with (APPNOTE 4.3.12)."""


class TableError(ValueError):
    """A table of contents lists more than there is memory for."""


class _Bounded(io.BufferedReader):
    """A zip's file; while it is opened, nothing larger than a table of contents is read at once.

    zipfile reads the table as a whole, and then as many entries as it has, whatever number of them is declared.
    """

    opening = True

    def read(self, size: int | None = -1, /) -> bytes:
        if self.opening and size is not None and size > _TABLE:
            raise TableError(f"its table of contents has {size} bytes; at most {_TABLE} were expected")
        found = super().read(size)
        if self.opening and (listed := found.count(_ENTRY)) > LISTED:
            raise TableError(f"its table of contents lists {listed} files; at most {LISTED} were expected")
        return found


@contextmanager
def opened_zip(file: Path | bytes) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose names may be UTF-8 without the mark that says so, as Info-ZIP writes them.

    Args:
        file: The zip, or its bytes.

    Raises:
        TableError: where its table of contents is too long.
        zipfile.BadZipFile, OSError, ValueError, NotImplementedError: where it is none that is read.
    """
    raw = io.FileIO(file) if isinstance(file, Path) else io.BytesIO(file)
    with _Bounded(raw) as bounded:
        try:
            archive = zipfile.ZipFile(bounded, metadata_encoding="utf-8")
        except UnicodeDecodeError:
            archive = zipfile.ZipFile(bounded)
        bounded.opening = False
        with archive:
            yield archive
