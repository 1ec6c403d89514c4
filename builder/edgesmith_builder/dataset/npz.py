"""Reads an `.npz` that anybody may have written.

No pickle is ever loaded. Arrays are unpacked into files and mapped: a data set of gigabytes costs a build hardly any
memory.
"""

from __future__ import annotations

import math
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset.archive import members, opened
from edgesmith_builder.dataset.header import read_header
from edgesmith_builder.dataset.writing import Order, write_array
from edgesmith_builder.errors import DatasetInvalid
from edgesmith_builder.limits import DATASET
from edgesmith_builder.progress import size_text

ARRAYS_LIMIT = 4096
"""Arrays in one data set: one for each input of the model, which for a table may be one a column, and the labels."""

TEXT = 64
"""Bytes that a text takes in memory at least, where a sample is given to an engine."""

NAME = r"[^\x00-\x1f]{1,200}"
"""What an array may be called, as a pattern: an input of the model, and so an output."""

_NAME = re.compile(NAME + r"\.npy")
_BLOCK = 1 << 20  # elements looked at together
_LETTER = 4  # bytes of a letter in NumPy's text
_LAST_LETTER = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)


def read_npz(
    path: Path, *, field: str, folder: Path, limit: int = DATASET, missing: bool = False
) -> dict[str, NDArray[Any]]:
    """Read a data set.

    Args:
        path: The `.npz`.
        field: Where the request names it, for messages: `spec.evaluation.uri s3://…`.
        folder: An empty folder to unpack into; the arrays are mapped from there.
        limit: Bytes of all arrays together.
        missing: Whether NaN stands for a value that is missing; otherwise it is refused.

    Returns:
        The arrays by name, read-only, in this machine's byte order.

    Raises:
        DatasetInvalid: in one sentence, for anything but plain arrays of finite numbers or text within the limit.
    """
    with opened(path, field, "an .npz file; one written by numpy.savez") as archive:
        infos = _members(archive, field, limit)
        _check_room([_header(archive, info, name, field) for _, (name, info) in infos], field, limit)
        arrays = {name: _array(archive, info, name, field, folder / str(i)) for i, (name, info) in infos}
        for name, array in arrays.items():
            _check_finite(array, name, field, missing=missing)
            _check_text(array, name, field)
        return arrays


def _members(archive: zipfile.ZipFile, field: str, limit: int) -> list[tuple[int, tuple[str, zipfile.ZipInfo]]]:
    found: dict[str, zipfile.ZipInfo] = {}
    for name, info in members(archive, field, kind="arrays", most=ARRAYS_LIMIT, limit=limit).items():
        if not _NAME.fullmatch(name):
            raise DatasetInvalid(
                f"{field} holds {name[:100]!r}; members NAME.npy only were expected, or pictures .jpg, .jpeg and .png"
            )
        found[name.removesuffix(".npy")] = info
    return list(enumerate(sorted(found.items())))


def _header(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, field: str
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """An array's shape and type, for which it has as many bytes as they take."""
    with archive.open(info) as packed:
        shape, dtype = read_header(packed, name, field)  # type: ignore[arg-type]  # a ZipExtFile reads like any file
        size, there = math.prod(shape) * dtype.itemsize, info.file_size - packed.tell()
    if size != there:
        raise DatasetInvalid(f"{field} has the array {name!r} with {there} bytes where {size} were expected")
    return shape, dtype


def _check_room(headers: list[tuple[tuple[int, ...], np.dtype[Any]]], field: str, limit: int) -> None:
    """Refuse more text than there is room for: as bytes it takes a fraction of what it does as text.

    Raises:
        DatasetInvalid: with how much it takes.
    """
    total = sum(math.prod(shape) * _taken(dtype) for shape, dtype in headers)
    if total > limit:
        raise DatasetInvalid(
            f"{field} takes {size_text(total)} as text, with {TEXT} bytes for each at least; "
            f"at most {size_text(limit)} were expected"
        )


def _taken(dtype: np.dtype[Any]) -> int:
    """Bytes of an element as a build works with it."""
    letters = {"U": dtype.itemsize, "S": dtype.itemsize * _LETTER}
    return max(TEXT, letters[dtype.kind]) if dtype.kind in letters else dtype.itemsize


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, field: str, target: Path) -> NDArray[Any]:
    with archive.open(info) as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    try:
        array: NDArray[Any] = np.load(target, mmap_mode="r", allow_pickle=False)
    except ValueError:  # nothing cannot be mapped
        array = np.load(target, allow_pickle=False)
    if array.dtype.kind == "S":
        return _decoded(array, target, name, field)
    return array if array.dtype.isnative or not array.size else _native(array, target)


def _native(array: NDArray[Any], target: Path) -> NDArray[Any]:
    """The same numbers in this machine's byte order, in the array's own file: engines take bytes as they are."""
    return _rewritten(array, target, array.dtype.newbyteorder("="), lambda block: block)


def _decoded(array: NDArray[Any], target: Path, name: str, field: str) -> NDArray[Any]:
    """Text that is kept as bytes, as text, in the array's own file.

    Raises:
        DatasetInvalid: where it is not UTF-8.
    """
    try:
        return _rewritten(
            array, target, np.dtype(f"U{array.dtype.itemsize}"), lambda block: np.char.decode(block, "utf-8")
        )
    except UnicodeDecodeError as error:
        raise DatasetInvalid(
            f"{field} has bytes in the array {name!r} that are not UTF-8; text was expected"
        ) from error


def _rewritten(
    array: NDArray[Any], target: Path, dtype: np.dtype[Any], convert: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[Any]:
    """An array of another type in the array's own file, converted some elements at a time."""
    if not array.size:
        return array.astype(dtype)
    written = target.with_suffix(".written")
    # Elements stand in the file as they stand in the array.
    order: Order = "C" if array.flags.c_contiguous else "F"
    old = array.reshape(-1, order=order)
    blocks = (convert(old[first : first + _BLOCK]) for first in range(0, old.size, _BLOCK))
    write_array(written, array.shape, dtype, blocks, order=order)
    written.replace(target)
    found: NDArray[Any] = np.load(target, mmap_mode="r", allow_pickle=False)
    return found


def _check_finite(array: NDArray[Any], name: str, field: str, *, missing: bool) -> None:
    if array.dtype.kind != "f" or not array.size:
        return
    what = "infinity" if missing else "NaN or infinity"
    hint = "" if missing else " (spec.missingValues: NaN says that NaN is a value that is missing)"
    for first, block in _blocks(array):
        fine = np.isfinite(block)
        if missing:
            fine |= np.isnan(block)
        if not fine.all():
            sample = first + int(np.argwhere(~fine)[0][0])
            raise DatasetInvalid(
                f"{field} has {what} in the array {name!r}, first in sample {sample}; "
                f"finite numbers were expected{hint}"
            )


def _check_text(array: NDArray[Any], name: str, field: str) -> None:
    """Refuse numbers that are no letters: NumPy keeps text as numbers of 32 bits, and takes any."""
    if array.dtype.kind != "U" or not array.size:
        return
    for first, block in _blocks(array):
        codes = np.ascontiguousarray(block).view(np.uint32)
        if ((codes > _LAST_LETTER) | ((codes >= _SURROGATES[0]) & (codes <= _SURROGATES[1]))).any():
            raise DatasetInvalid(
                f"{field} has what is no text in the array {name!r}, in samples {first} to {first + len(block) - 1}; "
                "letters that can be written in UTF-8 were expected"
            )


def _blocks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    rows = max(1, _BLOCK // max(1, math.prod(array.shape[1:])))
    for first in range(0, len(array), rows):
        yield first, array[first : first + rows]
