"""What a kernel gives one user, checked before it runs out in the middle of a start."""

from pathlib import Path

from edgesmith_cluster.errors import ClusterError

_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
# Counted on running clusters: kubelet 6, containerd 2, kube-proxy 1; API server 6, controller manager 7.
_PER_NODE = 9
_CONTROL_PLANE = 13
_ENOUGH = 1024


def needed(nodes: int) -> int:
    """Return how many inotify instances a cluster uses by itself."""
    return _CONTROL_PLANE + _PER_NODE * nodes


def used(user: int) -> int:
    """Return how many inotify instances a user's processes hold."""
    count = 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if process.stat().st_uid != user:
                continue
            count += sum(handle.readlink().name == "anon_inode:inotify" for handle in (process / "fd").iterdir())
        except OSError:
            continue  # it ended meanwhile
    return count


def check(nodes: int) -> None:
    """Raise when a cluster would run into the kernel's limit: watching files then fails in every program.

    Raises:
        ClusterError: it would, with the command that raises the limit.
    """
    limit = int(_LIMIT.read_text())
    left = limit - used(0)
    if left < needed(nodes):
        raise ClusterError(
            f"root may open {max(left, 0)} more inotify instances of {limit} and this cluster needs {needed(nodes)}: "
            f"stop another cluster, or run sysctl -w fs.inotify.max_user_instances={_ENOUGH}"
        )
