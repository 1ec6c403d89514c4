"""Control groups of the nodes, on version 1 (a tree per controller), version 2 (one tree) and both at once."""

import errno
import time
from collections.abc import Iterator
from pathlib import Path

from edgesmith_cluster.errors import ClusterError

_PARENT = "edgesmith"
_WANTED = ("cpuset", "cpu", "io", "memory", "pids", "hugetlb")  # what a kubelet looks for on version 2
_CPUSET = ("cpuset.cpus", "cpuset.mems")


def parse_hierarchies(mountinfo: str) -> list[tuple[str, Path]]:
    """Return the kind (``cgroup`` or ``cgroup2``) and place of every tree in ``/proc/self/mountinfo``."""
    found: dict[Path, str] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split(" ", 1)[0]
        if kind in {"cgroup", "cgroup2"}:
            found[Path(fields[4])] = kind
    return [(kind, place) for place, kind in found.items()]


def _hierarchies() -> list[tuple[str, Path]]:
    return parse_hierarchies(Path("/proc/self/mountinfo").read_text())


def path(cluster: str, node: str) -> str:
    """Return a node's control group, as its kubelet names it."""
    return f"/{_PARENT}/{cluster}/{node}"


def create(cluster: str, node: str) -> None:
    """Make a node's control group in every tree; a kubelet only makes those below it.

    Raises:
        ClusterError: no tree is mounted, or one does not let us.
    """
    hierarchies = _hierarchies()
    if not hierarchies:
        raise ClusterError("no control group tree is mounted: expected one at /sys/fs/cgroup")
    for kind, top in hierarchies:
        group = top
        for part in (_PARENT, cluster, node):
            if kind == "cgroup2":
                _pass_down(group)
            inherited, group = group, group / part
            try:
                group.mkdir(exist_ok=True)
            except OSError as error:
                raise ClusterError(f"cannot make the control group {group}: {error.strerror}") from error
            if kind == "cgroup":
                _copy_cpuset(inherited, group)


def _pass_down(group: Path) -> None:
    """Let the children of a version 2 group have the controllers it has itself."""
    try:
        offered = (group / "cgroup.controllers").read_text().split()
    except OSError:
        return
    for controller in _WANTED:
        if controller in offered:
            try:
                (group / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as error:
                if error.errno == errno.EBUSY:
                    raise ClusterError(
                        f"the control group {group} holds processes and so cannot pass {controller} on: "
                        "run this outside a container, or in one whose processes are in a group of their own"
                    ) from error


def _copy_cpuset(inherited: Path, group: Path) -> None:
    """A new version 1 cpuset group has no processor and no memory until they are set."""
    for name in _CPUSET:
        file = group / name
        if file.exists() and not file.read_text().strip():
            file.write_text((inherited / name).read_text())


def remove(cluster: str, node: str | None = None, seconds: float = 10) -> None:
    """Remove the groups of a node, or of the whole cluster, and the common parent when it is empty.

    Raises:
        ClusterError: one is still in use after that many seconds.
    """
    deadline = time.monotonic() + seconds
    for _, top in _hierarchies():
        group = top / _PARENT / cluster / (node or "")
        while busy := _remove_tree(group):
            if time.monotonic() > deadline:
                raise ClusterError(f"the control group {busy[0]} is still in use after {seconds:.0f} s")
            time.sleep(0.05)
        if node is None:
            try:
                (top / _PARENT).rmdir()
            except OSError:
                continue  # other clusters have theirs in it, or it is gone


def _remove_tree(group: Path) -> list[Path]:
    """Remove a group and those below it, the innermost first; return those that could not be."""
    busy = []
    for inner in _innermost_first(group):
        try:
            inner.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            busy.append(inner)
    return busy


def _innermost_first(group: Path) -> Iterator[Path]:
    try:
        children = [child for child in group.iterdir() if child.is_dir()]
    except FileNotFoundError:
        return
    for child in children:
        yield from _innermost_first(child)
    yield group


def left(cluster: str) -> bool:
    """Tell whether any tree still has a group of the cluster."""
    return any((top / _PARENT / cluster).exists() for _, top in _hierarchies())
