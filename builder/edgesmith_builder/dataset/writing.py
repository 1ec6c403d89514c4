"""Writes an array larger than memory into a file, some of it at a time.

By ordinary writes, never through a map: where the disk is full, a write says so, and a map ends the process.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Order = Literal["C", "F"]
"""In which order elements stand: the last axis first, or the first."""


def write_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterable[NDArray[Any]], *, order: Order = "C"
) -> None:
    """Write an `.npy` file.

    Args:
        path: Where.
        shape: Of the array.
        dtype: Of its elements, which blocks of others become.
        blocks: Its elements as they stand in the file; as many as the shape says.
        order: In which order these stand.

    Raises:
        OSError: The disk does not take it.
    """
    with path.open("wb") as file:
        described = {"descr": npy.dtype_to_descr(dtype), "fortran_order": order == "F", "shape": shape}
        npy.write_array_header_2_0(file, described)
        for block in blocks:
            file.write(np.asarray(block, dtype, order="C").tobytes())
