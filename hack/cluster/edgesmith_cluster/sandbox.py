"""A set of namespaces that behaves like a machine: when its first process is killed, all in it is gone.

The first process is our ``pause`` program, called ``edgesmith-machine CLUSTER NAME`` in ``ps``.
"""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesmith_cluster import network, processes
from edgesmith_cluster.commands import run
from edgesmith_cluster.errors import ClusterError, tail
from edgesmith_cluster.waiting import START_SECONDS, wait_until

TITLE = "edgesmith-machine"  # a link to our pause program
INSIDE = Path("/var/lib/edgesmith")  # a node's own folder, as seen from inside
BINARIES = INSIDE / "tools/bin"

# What a kubelet insists on setting, and the values it wants. It would set them on the whole machine, where kernel.panic
# = 10 reboots it; a node sees files of its own in their place.
_KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
_BOOT_ID = "kernel/random/boot_id"  # a new one at every start, by which a kubelet tells that its machine restarted

_GONE_SECONDS = 3.0
"""After which a program that is not there has ended: its process is there from the start, under one name or another."""

# The shell that runs this ends at once and leaves the first process of the new PID namespace to the host's init.
_LAUNCH = 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!'

# That first process runs this. Mounts of the host still come in (slave), none goes out; inside they are shared, which
# volumes need. A disk is on /mnt: a kubelet looks at its first mount, and what was below /var/lib is out of sight.
_BOOT = """
set -e
hostname=$1 cluster=$2 name=$3 tools=$4 own=$5 kernel=$6 disk=$7
mount --make-rshared /
mount -t proc proc /proc
hostname "$hostname"
if [ -n "$own" ]; then
  for file in $kernel; do mount --bind "$own/kernel/$file" "/proc/sys/$file"; done
  mount --bind "$tools" "$own/lib/edgesmith/tools"
  mount --bind "$own/run" /run
  mount --bind "$own/log" /var/log
  if [ -n "$disk" ]; then
    mount -o loop "$disk" /mnt
    mkdir -p /mnt/containerd /mnt/kubelet "$own/lib/containerd" "$own/lib/kubelet"
    mount --bind /mnt/containerd "$own/lib/containerd"
    mount --bind /mnt/kubelet "$own/lib/kubelet"
  fi
  mount --rbind "$own/lib" /var/lib
  tools=/var/lib/edgesmith/tools
fi
exec "$tools/bin/edgesmith-machine" "$cluster" "$name"
"""


@dataclass(frozen=True)
class Program:
    """A program running in a machine.

    Attributes:
        process: it, as the host sees it.
        log: what it prints.
    """

    process: processes.Process
    log: Path

    def check(self) -> None:
        """Raise when it has ended.

        Raises:
            ClusterError: it has, with the tail of its log.
        """
        if not self.process.alive:
            raise ClusterError(f"{self.process.name} ended although it should run", tail(self.log))


@dataclass(frozen=True)
class Machine:
    """A started machine.

    Attributes:
        name: its name.
        process: its first process.
    """

    name: str
    process: processes.Process

    def start(
        self, name: str, arguments: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> Program:
        """Start a program that outlives this one.

        Args:
            name: what it is called in ``ps``; one name runs once in a machine.
            arguments: the program's path inside the machine and its arguments.
            log: where what it prints is added, as the host sees it.
            environment: all of its environment but PATH.

        Raises:
            ClusterError: it did not start, or ended at once.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        variables = {"PATH": f"{BINARIES}:{os.environ.get('PATH', os.defpath)}", "HOME": "/root", **(environment or {})}
        # nsenter forks, because only a child is in the PID namespace; setsid forks again, so that what stays behind
        # belongs to the machine's first process and not to this one.
        enter = ["nsenter", f"--target={self.process.pid}", "--mount", "--net", "--uts", "--pid", "setsid", "--fork"]
        with log.open("ab") as output:
            subprocess.run(
                [*enter, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=variables,
                cwd="/",
                check=False,
            )
        return Program(started(name, self.members, where=self.name, log=log), log)

    def members(self) -> list[processes.Process]:
        """Return every process in the machine."""
        inode = processes.namespace_of(self.process.pid, "pid")
        return processes.inside("pid", {inode}) if inode else []


def started(
    name: str, members: Callable[[], Iterable[processes.Process]], *, where: str, log: Path
) -> processes.Process:
    """Wait for a program that ``setsid --fork`` starts, and return it.

    Args:
        name: what it is called in ``ps``.
        members: returns the processes of its machine.
        where: the machine, for messages.
        log: what it prints.

    Raises:
        ClusterError: it did not start in time, or ended at once.
    """
    found: list[processes.Process] = []
    missed: list[float] = []
    """When it was looked for in vain since it was last seen: how long a look takes says nothing of the program."""

    def appeared() -> bool:
        looked_at = time.monotonic()
        here = list(members())
        found[:] = [process for process in here if process.name == name]
        missed.append(looked_at)
        if any(process.name == "setsid" for process in here):  # it is not the program yet
            missed.clear()
        return bool(found)

    def check() -> None:
        if missed and missed[-1] - missed[0] > _GONE_SECONDS:
            raise ClusterError(f"{name} did not start on {where}; its log is {log}", tail(log))

    what = f"{name} to start on {where} (its log is {log})"
    wait_until(appeared, what=what, seconds=START_SECONDS, check=check, why=lambda: tail(log))
    return found[0]


def find(cluster: str, name: str) -> Machine | None:
    """Return a machine that runs, None when it does not."""
    for process in processes.everything():
        if process.name == TITLE and process.arguments[1:] == (cluster, name):
            return Machine(name, process)
    return None


def boot(
    cluster: str, name: str, *, node: str, tools: Path, own: Path | None, log: Path, disk: Path | None = None
) -> Machine:
    """Start a machine.

    Args:
        cluster: the cluster's name.
        name: the machine's.
        node: whose network it is in.
        tools: the folder of compiled tools.
        own: what it sees as its /run, /var/lib, /var/log; None shares the host's.
        log: what its start printed.
        disk: where its containerd and kubelet keep what they have; None: in `own`.

    Raises:
        ClusterError: it did not start.
    """
    if own:
        _furnish(own)
    log.parent.mkdir(parents=True, exist_ok=True)
    enter = ["nsenter", f"--net={network.entry(cluster, node)}"]
    unshare = ["unshare", "--mount", "--propagation=slave", "--uts", "--pid"]
    kernel = " ".join([*_KERNEL, _BOOT_ID])
    boot_script: list[str | Path] = ["sh", "-c", _BOOT, "sh", node, cluster, name, tools, own or "", kernel, disk or ""]
    pid = int(run([*enter, *unshare, "sh", "-c", _LAUNCH, "sh", log, *boot_script]))
    found: list[Machine] = []

    def booted() -> bool:
        machine = find(cluster, name)
        found[:] = [machine] if machine else []
        return bool(found)

    def check() -> None:
        if processes.namespace_of(pid, "pid") is None:
            raise ClusterError(f"the machine {name} did not start", tail(log))

    what = f"the machine {name} to start (its log is {log})"
    wait_until(booted, what=what, seconds=START_SECONDS, check=check, why=lambda: tail(log))
    return found[0]


def _furnish(own: Path) -> None:
    """Make the folders a node sees as its own, and the files it sees in place of kernel settings."""
    for folder in ("run", "log", "lib/edgesmith/tools"):
        (own / folder).mkdir(parents=True, exist_ok=True)
    for setting, value in {**_KERNEL, _BOOT_ID: str(uuid.uuid4())}.items():
        file = own / "kernel" / setting
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value + "\n")


def boot_id(own: Path) -> str:
    """Return what a machine with folders of its own was started as."""
    return (own / "kernel" / _BOOT_ID).read_text().strip()


def stop(cluster: str, *names: str) -> None:
    """Kill machines and everything in them at once, as when their power fails; nothing happens to one that is off.

    Raises:
        ClusterError: something in it did not end.
    """
    machines = [machine for name in names if (machine := find(cluster, name))]
    inodes = {processes.namespace_of(machine.process.pid, "pid") for machine in machines}
    members = {inode for inode in inodes if inode}
    for machine in machines:
        machine.process.send(signal.SIGKILL)  # its first process: the kernel ends the others with it
    processes.kill(lambda: processes.inside("pid", members), what=f"{', '.join(names)} of the cluster {cluster}")
