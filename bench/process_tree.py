"""What a process and all it started use, read from /proc (proc(5))."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PARENT, _USER, _SYSTEM = 1, 11, 12
"""Fields of /proc/PID/stat behind the command's name."""


def processes(root: int) -> list[int]:
    """A process and its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            parents[int(path.name)] = int(_stat(int(path.name))[_PARENT])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def processor_seconds(root: int) -> float:
    """User and system time so far; what ended before does not count."""
    ticks = [_stat(pid) for pid in processes(root)]
    return sum(int(fields[_USER]) + int(fields[_SYSTEM]) for fields in ticks) / os.sysconf("SC_CLK_TCK")


def memory(root: int) -> float:
    """Resident memory, MB; a page that two of the processes share counts twice.

    Not the proportional one, which depends on who else has the same libraries loaded.
    """
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in processes(root))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
