"""The processes of this machine, as /proc shows them."""

import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgesmith_cluster.errors import ClusterError

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process; its start time distinguishes it from a later one with the same number.

    Attributes:
        pid: its number on the host.
        started: clock ticks after boot, field 22 of ``/proc/PID/stat`` (proc(5)).
        name: the last part of its first argument.
        arguments: its command line.
    """

    pid: int
    started: int
    name: str
    arguments: tuple[str, ...]

    @property
    def alive(self) -> bool:
        """Whether it still runs; one that ended and was not collected yet does not."""
        return _started(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it is still there."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive:
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)


def parse_started(stat: str) -> int | None:
    """Return field 22 of a ``/proc/PID/stat`` line; None for a process that has ended.

    The program's name stands in parentheses and may hold any character, so counting begins behind the last one.
    """
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _started(pid: int) -> int | None:
    try:
        return parse_started((_PROC / str(pid) / "stat").read_text())
    except (OSError, IndexError, ValueError):
        return None


def everything() -> Iterator[Process]:
    """Yield every process that runs, kernel threads aside."""
    for entry in os.listdir(_PROC):  # noqa: PTH208 -- called ten times a second: no Path per process
        if not entry.isdigit():
            continue
        try:
            arguments = (_PROC / entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        except OSError:
            continue
        started = _started(int(entry))
        if arguments and started is not None:
            name = arguments[0].rpartition("/")[2]
            yield Process(pid=int(entry), started=started, name=name, arguments=tuple(arguments))


def namespace_of(pid: int, kind: str) -> int | None:
    """Return the inode number of a process's namespace of a kind (net, pid, mnt); None when it is gone."""
    try:
        return (_PROC / str(pid) / "ns" / kind).stat().st_ino
    except OSError:
        return None


def inside(kind: str, inodes: Collection[int]) -> list[Process]:
    """Return the processes in any of these namespaces."""
    return [process for process in everything() if namespace_of(process.pid, kind) in inodes]


def kill(find: Callable[[], Iterable[Process]], *, what: str, seconds: float = 20) -> int:
    """Kill what ``find`` finds until it finds nothing, and return how many were killed.

    Raises:
        ClusterError: some are still there after that many seconds.
    """
    deadline = time.monotonic() + seconds
    killed: set[tuple[int, int]] = set()
    while found := [process for process in find() if process.pid != os.getpid()]:
        for process in found:
            process.send(signal.SIGKILL)
            killed.add((process.pid, process.started))
        if time.monotonic() > deadline:
            names = ", ".join(f"{process.name} ({process.pid})" for process in found[:5])
            raise ClusterError(f"these processes of {what} did not end within {seconds:.0f} s of SIGKILL: {names}")
        time.sleep(0.05)
    return len(killed)
