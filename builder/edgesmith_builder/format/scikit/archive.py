"""Bounds a skops file, a zip of arrays and one schema, before anything of it is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.progress import size_text
from edgesmith_builder.zips import opened_zip

SCHEMA = "schema.json"
"""The member that says how the others make up an estimator."""

MEMBERS = 1 << 17
"""Files in one archive, at most: a forest has two arrays a tree."""

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_NESTED = ".npz"
"""A sparse matrix: a zip inside the zip."""


def check_archive(path: Path, what: str, limit: int) -> None:
    """Refuse an archive that is none of skops, or that unpacks to too much.

    Python's zipfile gives no more of a member than the table of contents declares, so the table is what is checked.

    Args:
        path: The file.
        what: What messages call it.
        limit: Bytes of all members together, unpacked.

    Raises:
        ModelInvalid: in one sentence.
    """
    try:
        with opened_zip(path) as archive:
            infos = archive.infolist()
            if SCHEMA not in (info.filename for info in infos):
                raise ModelInvalid(
                    f"{what} is a zip without {SCHEMA}; an estimator by skops.io.dump, an ONNX model or a TFLite file "
                    "was expected"
                )
            _check(infos, what, limit)
            for info in infos:
                if info.filename.endswith(_NESTED):
                    with opened_zip(archive.read(info)) as inner:
                        _check(inner.infolist(), f"{what}, in {info.filename[:100]!r},", limit)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise ModelInvalid(f"{what} is a broken zip ({error}); a file by skops.io.dump was expected") from error


def _check(infos: list[zipfile.ZipInfo], what: str, limit: int) -> None:
    if len(infos) > MEMBERS:
        raise ModelInvalid(f"{what} holds {len(infos)} files; at most {MEMBERS} were expected")
    total = sum(info.file_size for info in infos)
    if total > limit:
        raise ModelInvalid(f"{what} unpacks to {size_text(total)}; at most {size_text(limit)} were expected")
    for info in infos:
        if info.compress_type not in _METHODS or info.flag_bits & 1:
            raise ModelInvalid(
                f"{what} holds {info.filename[:100]!r} encrypted or packed in an unusual way; deflate was expected"
            )
