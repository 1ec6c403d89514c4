"""The cluster's network: a namespace per node, joined by a bridge that has a namespace of its own.

The bridge is not on the host, so no firewall and no ``ip_forward`` of the host has a say in what passes between nodes.
The host has one interface into the bridge and routes to what lies behind it; all of them go with that interface.
"""

import json
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path

from edgesmith_cluster.commands import run, succeeds
from edgesmith_cluster.errors import ClusterError
from edgesmith_cluster.plan import HUB, UPLINK, Plan, namespace

FABRIC = "fabric"
_BRIDGE = "bridge0"
_HOST_PORT = "host"
_NETNS = Path("/run/netns")


def used_networks() -> list[IPv4Network]:
    """Return what the host's interfaces and routes cover, the default route aside."""
    found: list[str] = []
    for interface in json.loads(run(["ip", "-json", "-4", "address"]) or "[]"):
        found += [f"{address['local']}/{address['prefixlen']}" for address in interface.get("addr_info", [])]
    found += [route["dst"] for route in json.loads(run(["ip", "-json", "-4", "route"]) or "[]")]
    networks = [IPv4Network(text, strict=False) for text in found if text != "default"]
    return [network for network in networks if network.prefixlen > 0]


def host_commands(cluster: str, plan: Plan) -> list[str]:
    """Return the ``ip`` commands for the host's side."""
    fabric, interface = namespace(cluster, FABRIC), plan.interface
    commands = [
        f"link add {interface} type veth peer name {_HOST_PORT} netns {fabric}",
        f"address add {plan.host}/24 dev {interface}",
        f"link set {interface} up",
        f"route add {plan.services} via {plan.hub}",
    ]
    return commands + [f"route add {plan.pod_network(node)} via {plan.address(node)}" for node in plan.nodes]


def fabric_commands(plan: Plan) -> list[str]:
    """Return the ``ip`` commands for the bridge's namespace, once every port is there."""
    commands = [f"link add {_BRIDGE} type bridge forward_delay 0", f"link set {_BRIDGE} up"]
    for port in (_HOST_PORT, *plan.nodes):
        commands += [f"link set {port} master {_BRIDGE}", f"link set {port} up"]
    return commands


def node_commands(plan: Plan, node: str) -> list[str]:
    """Return the ``ip`` commands for a node's namespace.

    A Service address is rewritten only after a route to it was found, so there has to be one, wherever it leads. What
    is not of the cluster is refused at once, where it would otherwise be waited for.
    """
    commands = [
        "link set lo up",
        f"address add {plan.address(node)}/24 dev eth0",
        "link set eth0 up",
        f"route add {plan.services} dev eth0",
        "route add unreachable default",
    ]
    others = [other for other in plan.nodes if other != node]
    return commands + [f"route add {plan.pod_network(other)} via {plan.address(other)}" for other in others]


def uplink_commands(other: Plan) -> list[str]:
    """Return the ``ip`` commands for a node's namespace that lead to another cluster's nodes and pods."""
    pods = [f"route replace {other.pod_network(node)} via {other.address(node)}" for node in other.nodes]
    return [f"route replace {other.node_network} dev eth0", *pods]


def create(cluster: str, plan: Plan) -> None:
    """Make the whole network.

    Raises:
        ClusterError: a part of it is refused.
    """
    fabric = namespace(cluster, FABRIC)
    names = [fabric, *(namespace(cluster, node) for node in plan.nodes)]
    for name in names:
        run(["ip", "netns", "add", name])
    run(["ip", "-batch", "-"], text="\n".join(host_commands(cluster, plan)[:1]))
    ports = [f"link add {node} type veth peer name eth0 netns {namespace(cluster, node)}" for node in plan.nodes]
    run(["ip", "-netns", fabric, "-batch", "-"], text="\n".join([*ports, *fabric_commands(plan)]))
    for node in plan.nodes:
        name = namespace(cluster, node)
        run(["ip", "-netns", name, "-batch", "-"], text="\n".join(node_commands(plan, node)))
        # `ip netns exec` would put another /sys into place for nothing.
        run(
            ["nsenter", f"--net={_NETNS / name}", "sh", "-c", 'echo 1 > "$0"', "/proc/sys/net/ipv4/ip_forward"],
        )
    run(["ip", "-batch", "-"], text="\n".join(host_commands(cluster, plan)[1:]))


def connect(cluster: str, plan: Plan, other: str, others: Plan) -> None:
    """Make a cluster's uplink: a link between its bridge and another's, and routes at both ends.

    Raises:
        ClusterError: the other cluster is not running, or a part of it is refused.
    """
    far = f"site{plan.index}"
    ends = {UPLINK: namespace(cluster, FABRIC), far: namespace(other, FABRIC)}
    run(["ip", "-netns", ends[UPLINK], "link", "add", UPLINK, "type", "veth", "peer", "name", far, "netns", ends[far]])
    for port, fabric in ends.items():
        text = f"link set {port} master {_BRIDGE}\nlink set {port} up"
        run(["ip", "-netns", fabric, "-batch", "-"], text=text)
    for name, own, remote in ((cluster, plan, others), (other, others, plan)):
        for node in own.nodes:
            run(["ip", "-netns", namespace(name, node), "-batch", "-"], text="\n".join(uplink_commands(remote)))


def disconnect(plan: Plan, other: str) -> None:
    """Take the routes to a cluster out of another's nodes, whichever are there; the link goes with its bridge."""
    for file in namespaces(other):
        succeeds(["ip", "-netns", file.name, "route", "flush", "root", str(plan.network)])


def namespaces(cluster: str) -> list[Path]:
    """Return the cluster's network namespaces, as files to enter them by."""
    return sorted(_NETNS.glob(namespace(cluster, "*")))


def entry(cluster: str, node: str) -> Path:
    """Return the file to enter a node's network namespace by."""
    return _NETNS / namespace(cluster, node)


def inodes(files: Iterable[Path]) -> set[int]:
    """Return the inode numbers that tell these namespaces apart from others."""
    return {file.stat().st_ino for file in files if file.exists()}


def remove(cluster: str, interface: str | None) -> None:
    """Remove the namespaces, and the host's interface with every route over it.

    Args:
        cluster: its name.
        interface: the host's interface, when it is known.
    """
    for file in namespaces(cluster):
        if not succeeds(["ip", "netns", "delete", file.name]):
            file.unlink(missing_ok=True)  # made, but killed before a namespace was bound to it
    if interface:
        succeeds(["ip", "link", "delete", interface])
    if _NETNS.is_dir() and not any(_NETNS.iterdir()):
        # `ip` mounts this folder over itself and never takes that back; it is made again when it is needed.
        succeeds(["umount", str(_NETNS)])
        succeeds(["rmdir", str(_NETNS)])


def cut(cluster: str, node: str) -> None:
    """Take a node's link, or the uplink, down at the bridge: what is behind it keeps its addresses and reaches nobody.

    Raises:
        ClusterError: the cluster is not running.
    """
    run(["ip", "-netns", namespace(cluster, FABRIC), "link", "set", node, "down"])


def heal(cluster: str, node: str) -> None:
    """Take a node's link, or the uplink, up again.

    Raises:
        ClusterError: the cluster is not running.
    """
    run(["ip", "-netns", namespace(cluster, FABRIC), "link", "set", node, "up"])


def has_uplink(cluster: str) -> bool:
    """Tell whether a cluster has an uplink and it is up."""
    return UPLINK in _ports(cluster) and UPLINK not in cut_nodes(cluster)


def cut_nodes(cluster: str) -> set[str]:
    """Return the nodes whose link is down, and the uplink where it is; none when the cluster has no network."""
    ports = _ports(cluster)
    ours = {name for name in ports if name in {HUB, UPLINK} or name.startswith("edge-")}
    return {name for name in ours if "UP" not in ports[name]}


def _ports(cluster: str) -> dict[str, list[str]]:
    """Return the flags of each port of the bridge; none when the cluster has no network."""
    try:
        links = json.loads(run(["ip", "-netns", namespace(cluster, FABRIC), "-json", "link", "show"]))
    except ClusterError:
        return {}
    return {link["ifname"]: link["flags"] for link in links}
