"""What the cluster, and the tests, need from Debian."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from edgesmith_cluster.commands import run
from edgesmith_cluster.console import Console
from edgesmith_cluster.errors import ClusterError

CNI = Path("/usr/lib/cni")

# Each package, and a program of it: what counts is the program. Docker's own packages bring runc along too, and cannot
# be installed beside Debian's. None of them starts a service when it is installed: nftables' unit comes disabled, the
# others have none. containerd has igzip decompress layers where it is there, in a quarter of its own time.
PACKAGES = {
    "containernetworking-plugins": str(CNI / "ptp"),
    "iproute2": "ip",
    "isal": "igzip",
    "mount": "mount",
    "nftables": "nft",
    "openssl": "openssl",
    "runc": "runc",
    "util-linux": "unshare",
}

# redis-tools has the server too, under another name; the package redis-server would start it as a service.
TESTS = {
    "chromium": "chromium",
    "git": "git",
    "qemu-user-static": "qemu-x86_64-static",
    "redis-tools": "redis-check-rdb",
}
"""What the tests need besides."""


def missing(packages: Mapping[str, str] = PACKAGES) -> list[str]:
    """Return the packages whose program is not there."""
    return [package for package, program in packages.items() if shutil.which(program) is None]


def ensure(console: Console, packages: Mapping[str, str] = PACKAGES) -> None:
    """Install what is missing; nothing is ever removed for it.

    Raises:
        ClusterError: something is missing and cannot be installed from here.
    """
    wanted = missing(packages)
    if not wanted:
        return
    names = ", ".join(wanted)
    if shutil.which("apt-get") is None:
        raise ClusterError(f"missing on this machine, by their names in Debian: {names}; please install them")
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "--no-remove", *wanted]
    if os.geteuid() != 0:
        raise ClusterError(f"missing on this machine: {names}; install them with: sudo {' '.join(install)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with console.step(f"installing {names} with apt-get"):
        try:
            run(install, environment=quiet, timeout=600)
        except ClusterError:
            # There are no package lists yet, or they are older than the archive.
            run(["apt-get", "update"], environment=quiet, timeout=300)
            run(install, environment=quiet, timeout=600)
    if still := missing(packages):
        raise ClusterError(f"apt-get installed {names}, and {', '.join(still)} is still not to be found on PATH")
