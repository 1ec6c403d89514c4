"""Opens a zip that anybody may have written: what it declares is checked before a byte is unpacked.

Python's zipfile gives no more of a member than was declared, so a zip bomb is refused by its own table of contents.
"""

from __future__ import annotations

import errno
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgesmith_builder.errors import DatasetInvalid
from edgesmith_builder.progress import size_text
from edgesmith_builder.zips import opened_zip

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_BROKEN = (zipfile.LargeZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError)
_OURS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)


@contextmanager
def opened(path: Path, field: str, expected: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip; whatever is wrong with it while the block runs is one sentence.

    Args:
        path: The file.
        field: Where the request names it, for messages.
        expected: What it is to be, and one of what kind was expected: `an .npz file; one written by numpy.savez`.

    Raises:
        DatasetInvalid: where it is no zip, or broken.
        OSError: of this machine's own: its disk, its memory, how many files it may open.
    """
    try:
        with opened_zip(path) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        is_, _, wanted = expected.partition("; ")
        raise DatasetInvalid(f"{field} is not {is_} ({error}); {wanted} was expected") from error
    except OSError as error:
        if error.errno in _OURS:
            raise
        raise DatasetInvalid(f"{field} cannot be unpacked ({error})") from error
    except _BROKEN as error:
        raise DatasetInvalid(f"{field} cannot be unpacked ({type(error).__name__}: {error})") from error


def members(
    archive: zipfile.ZipFile, field: str, *, kind: str, most: int, limit: int, path: Callable[[str], str] = str
) -> dict[str, zipfile.ZipInfo]:
    """What a zip holds, by path, without its folders.

    Args:
        archive: The zip.
        field: Where the request names it, for messages.
        kind: What its files are, for messages: `arrays`.
        most: How many there may be.
        limit: Bytes of all of them together, unpacked.
        path: Makes a file's path of its name in the zip; that of a folder ends in `/`.

    Raises:
        DatasetInvalid: where there are none or too many, where one is there twice, or packed so that it is not read.
    """
    named = [(path(info.filename), info) for info in archive.infolist()]
    infos = [(name, info) for name, info in named if not name.endswith("/")]
    if not infos or len(infos) > most:
        raise DatasetInvalid(f"{field} holds {len(infos)} {kind}; between 1 and {most} were expected")
    total = sum(info.file_size for _, info in infos)
    if total > limit:
        raise DatasetInvalid(f"{field} unpacks to {size_text(total)}; at most {size_text(limit)} were expected")
    found: dict[str, zipfile.ZipInfo] = {}
    for name, info in infos:
        if info.compress_type not in _METHODS or info.flag_bits & 1:
            raise DatasetInvalid(f"{field} holds {name!r} encrypted or packed in an unusual way; deflate was expected")
        if name in found:
            raise DatasetInvalid(f"{field} holds {name!r} twice; each of the {kind} once was expected")
        found[name] = info
    return found
