"""What happens to edge nodes: the link is cut and is up again, the power is off and on again."""

from typing import Any

from edgesmith_cluster import cgroups, network, sandbox, tools
from edgesmith_cluster.api import Api, ready_nodes
from edgesmith_cluster.cluster import require_root
from edgesmith_cluster.console import Console
from edgesmith_cluster.errors import ClusterError, tail
from edgesmith_cluster.locks import locked
from edgesmith_cluster.node import Node
from edgesmith_cluster.sandbox import Program
from edgesmith_cluster.state import Folder, Record, read_record
from edgesmith_cluster.waiting import wait_until


def running(name: str, node: str | None = None) -> Record:
    """Return the record of a cluster that is up.

    Raises:
        ClusterError: it is not, or has no such node.
    """
    require_root()
    record = read_record(name)
    if record is None or not record.ready:
        raise ClusterError(f"the cluster {name} is not up: start it with `up --name {name}`")
    if not network.namespaces(name):
        raise ClusterError(f"the cluster {name} was up and is not any more, this machine was restarted: run `up` again")
    if node is not None and node not in record.nodes:
        raise ClusterError(f"the cluster {name} has no node {node!r}: expected one of {', '.join(record.nodes)}")
    return record


def cut(name: str, node: str) -> None:
    """Cut a node off; its containers go on running.

    Raises:
        ClusterError: there is no such node.
    """
    running(name, node)
    network.cut(name, node)


def heal(name: str, node: str) -> None:
    """Connect a node again.

    Raises:
        ClusterError: there is no such node.
    """
    running(name, node)
    network.heal(name, node)


def off(console: Console, name: str, node: str) -> None:
    """Take a node's power away: every process and container on it ends, its disk stays.

    The control plane, the registry and MinIO go on when the hub is off; its pods do not. Nothing happens to a node that
    is off.

    Raises:
        ClusterError: there is no such node, or something on it does not end.
    """
    # Not locked: power fails without waiting for anything.
    record = running(name, node)
    with console.step(f"{node} is off"):
        sandbox.stop(name, node)
        cgroups.remove(name, node)
        _node(record, node).forget()


def on(console: Console, name: str, node: str) -> None:
    """Give a node its power back and wait until it is Ready; nobody waits for one that is cut off.

    Raises:
        ClusterError: there is no such node, it is on, or it does not become Ready.
    """
    with locked(Folder(name).lock):
        record = running(name, node)
        if sandbox.find(name, node):
            raise ClusterError(f"{node} of the cluster {name} is on: expected one that is off")
        subject = _node(record, node)
        with console.step(f"{node} is on"):
            machine, containerd = subject.boot()
            subject.load_images(containerd)
            programs = [containerd, *subject.join(machine)]
            if node in network.cut_nodes(name):
                console.say(f"{node} is cut off: it becomes Ready once it is healed")
                return
            _wait(record, subject, programs)


def restart(console: Console, name: str, node: str) -> None:
    """Take a node's power away and give it back.

    Raises:
        ClusterError: there is no such node, or it does not become Ready again.
    """
    off(console, name, node)
    on(console, name, node)


def _node(record: Record, node: str) -> Node:
    return Node(record.folder, record.plan, node, tools.binaries().parent)


def _wait(record: Record, node: Node, programs: list[Program]) -> None:
    """Wait until the API server has heard from the node as it is since this start."""
    api = Api.of(record.plan, record.folder.credentials)
    boot_id = sandbox.boot_id(node.own)

    def came_back() -> bool:
        found: Any = api.get(f"/api/v1/nodes/{node.name}")
        fresh = bool(found) and found["status"].get("nodeInfo", {}).get("bootID") == boot_id
        return fresh and ready_nodes({"items": [found]})[node.name]

    def check() -> None:
        for program in programs:
            program.check()

    wait_until(
        came_back,
        what=f"{node.name} to be Ready",
        seconds=90,
        check=check,
        why=lambda: tail(node.own / "log/kubelet.log"),
    )
