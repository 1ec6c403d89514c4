"""Finding and removing everything a cluster is or was, however the run that made it ended."""

import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from edgesmith_cluster import cgroups, network, processes
from edgesmith_cluster.commands import run
from edgesmith_cluster.errors import ClusterError
from edgesmith_cluster.processes import Process
from edgesmith_cluster.sandbox import TITLE
from edgesmith_cluster.state import ROOT, Folder, read_record
from edgesmith_cluster.waiting import wait_until

_EMPTY = (
    'exec >/dev/null 2>&1 </dev/null; for each in "$0"/*; do rm -rf "$each"; done; rmdir "$0"; rmdir "$1"; rmdir "$2"'
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def parse_mounts(mountinfo: str, below: Path) -> list[Path]:
    """Return the mounts below a folder in ``/proc/self/mountinfo``, the innermost first (proc(5), escapes included)."""
    places = (line.split()[4] for line in mountinfo.splitlines())
    found = [Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), place)) for place in places]
    return sorted((place for place in found if place.is_relative_to(below)), key=lambda place: -len(place.parts))


@dataclass(frozen=True)
class Leftovers:
    """What there is of a cluster on this machine.

    Attributes:
        processes: those of its machines and those in its network namespaces.
        namespaces: its network namespaces.
        cgroups: whether it has control groups.
        folder: whether it has a folder.
        interface: whether the host has its interface.
    """

    processes: tuple[Process, ...]
    namespaces: tuple[Path, ...]
    cgroups: bool
    folder: bool
    interface: bool

    def __bool__(self) -> bool:
        return bool(self.processes or self.namespaces or self.cgroups or self.folder or self.interface)


def _processes(cluster: str) -> list[Process]:
    """Return the cluster's processes.

    A machine's first process by its command line; every other one in a network namespace of the cluster. A pod's
    processes are in one of their own and end with the machine.
    """
    inodes = network.inodes(network.namespaces(cluster))
    return [
        process
        for process in processes.everything()
        if (process.name == TITLE and process.arguments[1:2] == (cluster,))
        or processes.namespace_of(process.pid, "net") in inodes
    ]


def _interface(cluster: str) -> str | None:
    record = read_record(cluster)
    return record.plan.interface if record else None


def find(cluster: str) -> Leftovers:
    """Return what there is of a cluster."""
    interface = _interface(cluster)
    return Leftovers(
        processes=tuple(_processes(cluster)),
        namespaces=tuple(network.namespaces(cluster)),
        cgroups=cgroups.left(cluster),
        folder=Folder(cluster).root.exists(),
        interface=interface is not None and Path("/sys/class/net", interface).exists(),
    )


def remove(cluster: str) -> None:
    """Remove everything of a cluster; nothing happens when there is nothing.

    The folder goes last, because it says which interface is the cluster's. It is put aside, and what it holds, many
    thousand files of unpacked images, is deleted by a process that outlives this one.

    Raises:
        ClusterError: something does not go away.
    """
    interface, record = _interface(cluster), read_record(cluster)
    processes.kill(lambda: _processes(cluster), what=f"cluster {cluster}")
    if record and record.uplink:
        network.disconnect(record.plan, record.uplink)
    network.remove(cluster, interface)
    if interface:
        link = Path("/sys/class/net", interface)
        wait_until(lambda: not link.exists(), what=f"the interface {interface} to go", seconds=10)
    cgroups.remove(cluster)
    _remove_folder(Folder(cluster).root)


def _remove_folder(folder: Path) -> None:
    mounts = parse_mounts(Path("/proc/self/mountinfo").read_text(), folder)
    if mounts:
        raise ClusterError(f"{mounts[0]} is mounted in the cluster's folder and not by this program: unmount it first")
    aside = ROOT.parent / "removed"
    if folder.exists():
        aside.mkdir(parents=True, exist_ok=True)
        folder.rename(aside / f"{folder.name}.{uuid.uuid4().hex}")
    if aside.exists() or ROOT.exists():
        # What an earlier one left when it was killed goes too.
        run(["setsid", "--fork", "nice", "sh", "-c", _EMPTY, aside, ROOT, ROOT.parent])
