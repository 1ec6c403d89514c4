"""Reads what an array in an `.npz` says of itself, before a byte of it is unpacked."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from edgesmith_builder.errors import DatasetInvalid
from edgesmith_builder.limits import DATASET
from edgesmith_builder.progress import size_text

_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_header(file: BinaryIO, name: str, field: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read and check a header; the file stands at the array's first byte afterwards.

    Args:
        file: An `.npy` file.
        name: The array, for messages.
        field: Where the request names the set, for messages.

    Returns:
        The array's shape and type.

    Raises:
        DatasetInvalid: in one sentence, for anything but samples that are numbers or text.
    """
    version = npy.read_magic(file)
    if version not in _READERS:
        raise DatasetInvalid(f"{field} has the array {name!r} in npy format {version}; 1.0 or 2.0 was expected")
    shape, dtype = _parsed(file, version, name, field)
    if dtype.hasobject:
        raise DatasetInvalid(
            f"{field} has the array {name!r} of pickled objects; they can run code when read, "
            "so plain arrays were expected (numpy.savez with allow_pickle=False)"
        )
    if dtype.kind not in "biufUS":
        raise DatasetInvalid(f"{field} has the array {name!r} of type {dtype}; numbers or text were expected")
    if not dtype.itemsize:
        raise DatasetInvalid(f"{field} has the array {name!r} of text without a letter; numbers or text were expected")
    # True is an int too, and no size of a map.
    if not shape or shape[0] <= 0 or any(type(size) is not int or size < 0 for size in shape):
        raise DatasetInvalid(f"{field} has the array {name!r} of shape {list(shape)}; at least one sample was expected")
    # An axis of size zero leaves nothing to unpack, and says nothing of how large the others may be.
    if math.prod(max(1, size) for size in shape) * dtype.itemsize > DATASET:
        raise DatasetInvalid(
            f"{field} has the array {name!r} of shape {list(shape)}; at most {size_text(DATASET)} were expected"
        )
    return shape, dtype


def _parsed(file: BinaryIO, version: Any, name: str, field: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """What a header says, which is a Python expression, as NumPy reads it."""
    try:
        shape, _, dtype = _READERS[version](file)
    except OSError:
        raise
    # Python's own parser, tokenizer and comparison are behind it, and their errors share no base class of their own.
    except Exception as error:
        raise DatasetInvalid(
            f"{field} has the array {name!r} with a header that cannot be read ({type(error).__name__}); "
            "one written by numpy.savez was expected"
        ) from error
    return shape, dtype
