"""A disk of its own for a node: a file with a file system, where its containerd and its kubelet keep what they have.

It is mounted in the node's machine alone, so that it goes with that, however the machine ends; the file goes with the
cluster's folder. The file is sparse: it takes as much of the host's disk as was ever written to it.
"""

from pathlib import Path

from edgesmith_cluster.commands import run

MEBIBYTE = 2**20


def of(own: Path) -> Path | None:
    """Return the disk of a node, None where it is on the host's.

    Args:
        own: the node's folder.
    """
    file = _file(own)
    return file if file.exists() else None


def make(own: Path, mebibytes: int) -> None:
    """Make a node's disk.

    Args:
        own: the node's folder.
        mebibytes: how large the disk is.

    Raises:
        ClusterError: there is no mkfs.ext4, or it fails.
    """
    own.mkdir(parents=True, exist_ok=True)
    file = _file(own)
    with file.open("wb") as stream:
        stream.truncate(mebibytes * MEBIBYTE)
    run(["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", file])


def _file(own: Path) -> Path:
    return own / "disk.ext4"
