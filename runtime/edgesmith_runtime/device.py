"""What this process runs on: its share of the processor, its memory, and the device's name."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "bound_heap",
    "cpu_limit",
    "default_threads",
    "group_memory",
    "memory_limit",
    "peak_memory",
    "processor_name",
    "resident_memory",
]

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""Numbers of glibc's mallopt(3)."""
_LARGE: Final = 2**20
_KEPT: Final = 2 * 2**20
"""Bytes at the end of the heap that stay: one request's, so that the kernel need not clear pages anew for the next."""
_HEAPS: Final = 2
_HIERARCHIES_V1: Final = {"cpu": ("cpu", "cpu,cpuacct", "cpuacct,cpu"), "memory": ("memory",)}
_MEMORY_FILES: Final = ("memory.max", "memory.limit_in_bytes")
_UNLIMITED: Final = 2**60
"""What version 1 writes where there is no limit is above this."""


def bound_heap() -> None:
    """Have the C library return memory of 1 MiB and more to the kernel as soon as it is freed, and keep two heaps only.

    By itself it learns to keep pieces of up to 32 MiB, and makes a heap for each thread: after requests of all sizes,
    240 MB stayed that nothing used; with this, 84 MB, what the server had at rest. Other C libraries stay as they are.

    What it gives back of the end by itself, from 128 KiB on, comes back with the next request: 115 page faults for
    a body of 602 kB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_ARENA_MAX, _HEAPS)


def cpu_limit(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """Read the processor limit that the kernel holds this process to.

    Every group from the process' own up to the root can set one; the smallest counts. In a container the own group
    usually appears as the root.

    Args:
        root: Where the cgroup file systems are mounted.
        membership: The process' groups, as in ``/proc/self/cgroup``.

    Returns:
        The number of cores, or ``None`` when there is no limit.
    """
    return min(_limits(root, membership, "cpu", lambda group: (_cpu_v2(group), _cpu_v1(group))), default=None)


def memory_limit(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """Read how much memory the kernel lets this process have; the arguments are those of `cpu_limit`.

    Returns:
        Bytes, or ``None`` when there is no limit.
    """
    found = _limits(root, membership, "memory", lambda group: (_bytes(group / name) for name in _MEMORY_FILES))
    return min((int(limit) for limit in found), default=None)


def default_threads() -> int:
    """Count the threads to compute with: the processor limit rounded up, at most the cores there are, at least 1."""
    cores = len(os.sched_getaffinity(0))
    limit = cpu_limit()
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def peak_memory(process: int) -> int:
    """Read the most memory that a process has ever had resident, in bytes.

    Args:
        process: Its number.

    Raises:
        OSError: There is no such process.
    """
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {process} has no memory any more")


def group_memory(group: int) -> int:
    """Add up the most memory that each process of a process group has ever had resident, in bytes.

    Args:
        group: The group's number.
    """
    total = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if os.getpgid(int(folder.name)) == group:
                    total += peak_memory(int(folder.name))
    return total


def ended_child(process: int) -> str | None:
    """Name a program that a process started, that has ended and that it has not collected; None where there is none.

    Args:
        process: The process that started it.
    """
    with contextlib.suppress(OSError, ValueError):  # one of them has ended meanwhile
        for listed in Path("/proc", str(process), "task").glob("*/children"):
            for child in listed.read_text().split():
                name, _, rest = Path("/proc", child, "stat").read_text().partition("(")[2].rpartition(")")
                if rest.split()[0] == "Z":
                    return name
    return None


def resident_memory() -> int:
    """Read the memory that this process has resident now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_name(proc: Path = Path("/proc")) -> str:
    """Name the device: the board where it says so (ARM), otherwise the processor."""
    board = proc / "device-tree" / "model"
    if board.is_file():
        return board.read_text(errors="replace").rstrip("\0\n ")
    try:
        lines = (proc / "cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    for key in ("model name", "Model", "Hardware"):
        if fields.get(key):
            return fields[key]
    if "CPU part" in fields:
        return f"implementer {fields.get('CPU implementer', '?')} part {fields['CPU part']}"
    return platform.machine()


def trim_heap() -> None:
    """Have the C library return what is free within its heaps, where it knows how to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _groups(membership: Path) -> list[tuple[list[str], str]]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return [([], "/")]
    parts = [line.split(":", 2) for line in lines if line.count(":") >= 2]  # noqa: PLR2004 - number:controllers:path
    return [([name for name in controllers.split(",") if name], path) for _, controllers, path in parts]


def _limits(
    root: Path, membership: Path, controller: str, read: Callable[[Path], Iterable[float | None]]
) -> Iterator[float]:
    """Every limit of a controller, from the process' own group up to the root."""
    for controllers, path in _groups(membership):
        names = _HIERARCHIES_V1[controller] if controller in controllers else () if controllers else ("",)
        for base in (root / name for name in names):
            group = Path(path.lstrip("/"))
            for folder in (base / group, *(base / parent for parent in group.parents), base):
                yield from (limit for limit in read(folder) if limit is not None)


def _cpu_v2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _cpu_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _bytes(file: Path) -> int | None:
    text = _read(file)
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
