"""Starting and stopping a whole cluster."""

import os
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgesmith_cluster import cleanup, disk, dns, limits, network, packages, sandbox, storage, tools
from edgesmith_cluster.api import Api, ready_nodes
from edgesmith_cluster.certificates import Certificates
from edgesmith_cluster.console import Console
from edgesmith_cluster.controlplane import NAME as CONTROL_PLANE
from edgesmith_cluster.controlplane import ControlPlane, write_kubeconfigs
from edgesmith_cluster.errors import ClusterError, tail
from edgesmith_cluster.locks import locked
from edgesmith_cluster.node import Node
from edgesmith_cluster.plan import HUB, Plan, free_index
from edgesmith_cluster.sandbox import Machine, Program
from edgesmith_cluster.state import LOCKS, Folder, Record, clusters, read_record, write_record
from edgesmith_cluster.waiting import wait_until

_READY_SECONDS = 90.0


def require_root() -> None:
    """Raise when this is not root.

    Raises:
        ClusterError: it is not.
    """
    if os.geteuid() != 0:
        raise ClusterError("the cluster needs root, for namespaces, mounts and control groups: run this with sudo")


@dataclass
class Starter:
    """Starts one cluster; holds what has been started, so that waiting notices when one of them ends.

    Attributes:
        console: where progress goes.
        record: what is being started.
        tools: the folder of compiled tools.
        programs: what runs so far.
    """

    console: Console
    record: Record
    tools: Path
    programs: list[Program] = field(default_factory=list)

    @property
    def _folder(self) -> Folder:
        return self.record.folder

    @property
    def _plan(self) -> Plan:
        return self.record.plan

    @property
    def _api(self) -> Api:
        return Api.of(self._plan, self._folder.credentials)

    def check(self) -> None:
        """Raise when a program that was started has ended.

        Raises:
            ClusterError: one has.
        """
        for program in list(self.programs):
            program.check()

    def run(self, labels: dict[str, dict[str, str]]) -> None:
        """Bring everything up, the network being there.

        Raises:
            ClusterError: something does not start.
        """
        Certificates(self._folder.credentials).make(self._plan)
        write_kubeconfigs(self._folder, self._plan)
        for node in self._nodes(self._plan.nodes):
            node.configure()
        with self.console.step("control plane, registry, MinIO and containerd"):
            self.power((CONTROL_PLANE, *self._plan.nodes))
        with self.console.step(f"{len(self._plan.nodes)} nodes Ready"):
            dns.install(self._api, self._plan)
            self._label(labels)
            self._wait_ready()
        with self.console.step("CoreDNS available"):
            wait_until(lambda: dns.available(self._api), what="CoreDNS to be available", seconds=60, check=self.check)

    def power(self, parts: Collection[str]) -> None:
        """Start these parts: the control plane, nodes, or both at once; nobody waits for nodes to be Ready.

        Raises:
            ClusterError: something does not start.
        """
        nodes = self._nodes(name for name in self._plan.nodes if name in parts)
        with ThreadPoolExecutor(len(nodes) + 1) as pool:
            booting = [pool.submit(self._boot, node) for node in nodes]
            if CONTROL_PLANE in parts:
                self._start_control_plane()
            for programs in pool.map(Node.join, nodes, [each.result() for each in booting]):
                self.programs += programs

    def _nodes(self, names: Iterable[str]) -> list[Node]:
        return [Node(self._folder, self._plan, name, self.tools) for name in names]

    def _boot(self, node: Node) -> Machine:
        machine, containerd = node.boot()
        self.programs.append(containerd)
        node.load_images(containerd)
        return machine

    def _start_control_plane(self) -> None:
        binaries, log = self.tools / "bin", self._folder.logs / "boot.log"
        machine = sandbox.boot(self.record.name, CONTROL_PLANE, node=HUB, tools=self.tools, own=None, log=log)
        control = ControlPlane(self._folder, self._plan, machine, binaries)
        api = control.start_api()
        registry = storage.start_registry(self.record, machine, binaries)
        minio = storage.start_minio(self.record, machine, binaries)
        self.programs += [*api, registry, minio]
        control.wait(api)
        self.programs += control.start_controllers()
        # A mirror does not start while its upstream is away.
        alone = self.record.uplink and not network.has_uplink(self.record.name)
        storage.wait(self._plan, minio, None if alone else registry)

    def _label(self, labels: dict[str, dict[str, str]]) -> None:
        """Label as the administrator: a kubelet may not set every label there is."""
        wanted = {node for node, of_node in labels.items() if of_node}
        wait_until(
            lambda: wanted <= set(ready_nodes(self._api.get("/api/v1/nodes"))),
            what="the nodes to register",
            seconds=60,
            check=self.check,
        )
        for node in sorted(wanted):
            self._api.label(node, labels[node])

    def _wait_ready(self) -> None:
        ready: dict[str, bool] = {}

        def all_ready() -> bool:
            ready.update(ready_nodes(self._api.get("/api/v1/nodes")))
            return all(ready.get(node) for node in self._plan.nodes)

        def why() -> str:
            late = [node for node in self._plan.nodes if not ready.get(node)]
            return "\n".join([f"not Ready: {', '.join(late)}", tail(self._folder.node(late[0]) / "log/kubelet.log")])

        wait_until(all_ready, what="all nodes to be Ready", seconds=_READY_SECONDS, check=self.check, why=why)


def up(
    console: Console,
    name: str,
    nodes: tuple[str, ...],
    labels: dict[str, dict[str, str]],
    *,
    disks: Mapping[str, int] | None = None,
    uplink: str | None = None,
) -> Record:
    """Start a cluster, over what may be left of one of the same name.

    Args:
        console: where progress goes.
        name: its name.
        nodes: its nodes, the hub first.
        labels: of each node.
        uplink: another cluster that it reaches, and whose registry its own mirrors.
        disks: nodes with a disk of their own, and its size in MiB.

    Raises:
        ClusterError: it cannot be started; what was started runs on for a look at its logs, until ``down``.
    """
    require_root()
    others = _upstream(uplink) if uplink else None
    packages.ensure(console)
    folder = tools.ensure(console).parent
    with locked(Folder(name).lock, _busy(console, name)):
        if cleanup.find(name):
            with console.step(f"removing what is left of the cluster {name}"):
                cleanup.remove(name)
        limits.check(len(nodes))
        with locked(LOCKS / "networks.lock"):
            taken = [record.index for other in clusters() if (record := read_record(other))]
            record = Record(
                name=name,
                index=free_index(taken, network.used_networks()),
                nodes=nodes,
                access_key="edgesmith",
                secret_key=secrets.token_hex(16),
                ready=False,
                uplink=uplink,
            )
            write_record(record)
            network.create(name, record.plan)
            if uplink and others:
                network.connect(name, record.plan, uplink, others)
        for node, size in (disks or {}).items():
            disk.make(record.folder.node(node), size)
        try:
            Starter(console, record, folder).run(labels)
        except ClusterError as error:
            of_nodes = record.folder.node("*") / "log"
            more = f"more logs: {record.folder.logs} and {of_nodes}; `down --name {name}` removes everything"
            raise ClusterError(str(error), "\n".join(part for part in (error.detail, more) if part)) from error
        record = replace(record, ready=True)
        write_record(record)
    return record


def _upstream(uplink: str) -> Plan:
    found = read_record(uplink)
    if found is None or not network.namespaces(uplink):
        raise ClusterError(f"--uplink {uplink}: there is no such cluster: start it first")
    return found.plan


def down(console: Console, name: str) -> None:
    """Stop a cluster and remove every trace of it.

    Raises:
        ClusterError: something does not go away.
    """
    require_root()
    with locked(Folder(name).lock, _busy(console, name)):
        if not cleanup.find(name):
            console.say(f"there is no cluster {name}")
        else:
            with console.step(f"removing the cluster {name}"):
                cleanup.remove(name)


def _busy(console: Console, name: str) -> Callable[[], None]:
    return lambda: console.say(f"another run is at work on the cluster {name}; waiting for it")
