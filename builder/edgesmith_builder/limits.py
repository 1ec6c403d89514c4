"""How large what a build works on may be: the Job's bounds follow from these, and these from the Job's memory."""

from __future__ import annotations

from pathlib import Path

MODEL = 2**31 - 1
"""Bytes of a model: what a protocol buffer can hold. Less memory allows less, see `model_limit`."""

DATASET = 4 * 1000**3
"""Bytes of all arrays of a data set together, unpacked."""

WORK = 6 * MODEL + 4 * DATASET
"""Bytes that a build may write: the model six times over (as it came, prepared and measured for int8, in int8, in a
bundle and in its layer), and four data sets (two unpacked, one packed, one whose byte order is turned)."""

_RESERVE = 512 * 2**20
"""Bytes of memory that a build takes however small the model is: programs, and 256 MB of the source's answers."""

_TIMES = 8
"""How often a model is in memory at once, at most: measured 6 to 7 times while int8 is made, 3 to 5 in fp32."""


def model_limit(memory: int | None) -> int:
    """Bytes of a model that can be built within some bytes of memory; None: nothing bounds it."""
    return MODEL if memory is None else max(0, min(MODEL, (memory - _RESERVE) // _TIMES))


def memory_limit(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes of memory that the kernel holds this container to; None where it has no bound.

    Args:
        root: Where the cgroup file systems are mounted; in a container its own group is the root there.
    """
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        # Version 1 writes "no bound" as the largest number of pages.
        if text.isdigit() and int(text) < 2**62:
            return int(text)
    return None
