"""What happens to a cluster: a link is cut and is up again, the power of a part or of all of it is off and on again."""

from collections.abc import Callable, Collection
from typing import Any

from edgesmith_cluster import cgroups, network, sandbox, tools
from edgesmith_cluster.api import Api, ready_nodes
from edgesmith_cluster.cluster import Starter, require_root
from edgesmith_cluster.console import Console
from edgesmith_cluster.controlplane import NAME as CONTROL_PLANE
from edgesmith_cluster.errors import ClusterError, tail
from edgesmith_cluster.locks import locked
from edgesmith_cluster.node import Node
from edgesmith_cluster.plan import UPLINK
from edgesmith_cluster.state import Folder, Record, read_record
from edgesmith_cluster.waiting import wait_until


def running(name: str, part: str | None = None, *more: str) -> Record:
    """Return the record of a cluster that is up.

    Args:
        name: the cluster's.
        part: what has to be one of its nodes, or of ``more``.
        more: parts that it has besides.

    Raises:
        ClusterError: it is not, or has no such part.
    """
    require_root()
    record = read_record(name)
    if record is None or not record.ready:
        raise ClusterError(f"the cluster {name} is not up: start it with `up --name {name}`")
    if not network.namespaces(name):
        raise ClusterError(f"the cluster {name} was up and is not any more, this machine was restarted: run `up` again")
    if part is not None and part not in {*record.nodes, *more}:
        expected = ", ".join([*record.nodes, *more])
        raise ClusterError(f"the cluster {name} has no {part!r}: expected one of {expected}")
    return record


def cut(name: str, link: str) -> None:
    """Cut a node off, or the whole cluster from where its uplink leads; what is behind it goes on running.

    Raises:
        ClusterError: there is no such link.
    """
    _with_link(name, link)
    network.cut(name, link)


def heal(name: str, link: str) -> None:
    """Connect a node, or the whole cluster, again.

    Raises:
        ClusterError: there is no such link.
    """
    _with_link(name, link)
    network.heal(name, link)


def _with_link(name: str, link: str) -> None:
    record = running(name)
    running(name, link, *([UPLINK] if record.uplink else []))


def off(console: Console, name: str, part: str | None = None) -> None:
    """Take the power of a part away, or of the whole cluster at once: every process on it ends, its disk stays.

    A part is a node or the control plane, which is etcd, the API server, the controllers, the registry and MinIO. They
    go on when the node ``hub`` is off; its pods do not. Nothing happens to a part that is off.

    Raises:
        ClusterError: there is no such part, or something on it does not end.
    """
    # Not locked: power fails without waiting for anything.
    record = running(name, part, CONTROL_PLANE)
    parts = _parts(record, part)
    with console.step(f"{part or name} is off"):
        sandbox.stop(name, *parts)
        for node in _nodes(record, parts):
            cgroups.remove(name, node.name)
            node.forget()


def on(console: Console, name: str, part: str | None = None) -> None:
    """Give a part its power back, or the whole cluster, and wait until it is ready; nobody waits for a node cut off.

    Raises:
        ClusterError: there is no such part, it is on, or it does not become ready.
    """
    with locked(Folder(name).lock):
        record = running(name, part, CONTROL_PLANE)
        parts = _parts(record, part)
        if already := [one for one in parts if sandbox.find(name, one)]:
            raise ClusterError(f"{already[0]} of the cluster {name} is on: expected one that is off")
        starter = Starter(console, record, tools.binaries().parent)
        with console.step(f"{part or name} is on"):
            starter.power(parts)
            for node in _nodes(record, parts):
                if node.name in network.cut_nodes(name):
                    console.say(f"{node.name} is cut off: it becomes Ready once it is healed")
                else:
                    _wait(record, node, starter.check)


def restart(console: Console, name: str, part: str | None = None) -> None:
    """Take the power of a part away, or of the whole cluster, and give it back.

    Raises:
        ClusterError: there is no such part, or it does not become ready again.
    """
    off(console, name, part)
    on(console, name, part)


def _parts(record: Record, part: str | None) -> tuple[str, ...]:
    return (part,) if part else (CONTROL_PLANE, *record.nodes)


def _nodes(record: Record, parts: Collection[str]) -> list[Node]:
    names = [name for name in record.nodes if name in parts]
    return [Node(record.folder, record.plan, name, tools.binaries().parent) for name in names]


def _wait(record: Record, node: Node, check: Callable[[], None]) -> None:
    """Wait until the API server has heard from the node as it is since this start."""
    api = Api.of(record.plan, record.folder.credentials)
    boot_id = sandbox.boot_id(node.own)

    def came_back() -> bool:
        found: Any = api.get(f"/api/v1/nodes/{node.name}")
        fresh = bool(found) and found["status"].get("nodeInfo", {}).get("bootID") == boot_id
        return fresh and ready_nodes({"items": [found]})[node.name]

    wait_until(
        came_back,
        what=f"{node.name} to be Ready",
        seconds=90,
        check=check,
        why=lambda: tail(node.own / "log/kubelet.log"),
    )
