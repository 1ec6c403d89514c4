"""Sets of arrays as ``.npz`` files whose bytes depend on the arrays and on nothing else."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]

_NO_TIME = (1980, 1, 1, 0, 0, 0)


def write_npz(path: Path, arrays: Arrays) -> None:
    """Writes arrays as a compressed ``.npz`` without pickle and without timestamps.

    Args:
        path: The file to write.
        arrays: The arrays by name; their order does not matter.

    Raises:
        ValueError: An array holds Python objects.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, member.getvalue())


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Reads every array of an ``.npz`` file, refusing pickled objects."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
