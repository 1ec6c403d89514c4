"""Names and addresses: what a cluster is called and where everything in it lives. Pure."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from edgesmith_cluster.errors import ClusterError

HUB = "hub"
UPLINK = "uplink"
MAX_EDGES = 200
_FIRST = 180
MAX_CLUSTERS = 70
SMALLEST_DISK = 256
_CLUSTER_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_LABEL = re.compile(r"([a-z0-9-]+)=([A-Za-z0-9./_-]+)=([A-Za-z0-9._-]*)")

API_PORT = 6443
REGISTRY_PORT = 5000
MINIO_PORT = 9000


def check_name(name: str) -> str:
    """Return the cluster's name.

    Raises:
        ClusterError: it cannot be part of a path and of a namespace's name.
    """
    if not _CLUSTER_NAME.fullmatch(name):
        raise ClusterError(
            f"--name {name!r} is not a cluster name: expected up to 31 of a-z, 0-9 and -, beginning with a letter"
        )
    return name


def node_names(edges: int) -> tuple[str, ...]:
    """Return the hub's name and those of the edge nodes.

    Raises:
        ClusterError: there are too few or too many.
    """
    if not 0 <= edges <= MAX_EDGES:
        raise ClusterError(f"--edges {edges} is out of range: expected 0 to {MAX_EDGES}")
    return (HUB, *(f"edge-{number}" for number in range(1, edges + 1)))


def parse_labels(texts: Collection[str], nodes: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the labels of each node from texts of the form ``edge-1=key=value``.

    Raises:
        ClusterError: a text has another form or names a node that is not there.
    """
    labels: dict[str, dict[str, str]] = {node: {} for node in nodes}
    labels[HUB]["edgesmith.dev/hub"] = "true"
    for text in texts:
        match = _LABEL.fullmatch(text)
        if not match:
            raise ClusterError(f"--label {text!r} is not a label: expected NODE=KEY=VALUE, edge-1=site=north say")
        node, key, value = match.groups()
        if node not in labels:
            raise ClusterError(f"--label {text!r} names the node {node!r}: expected one of {', '.join(labels)}")
        labels[node][key] = value
    return labels


def parse_disks(texts: Collection[str], nodes: Collection[str]) -> dict[str, int]:
    """Return the size of each node's own disk in MiB from texts of the form ``edge-1=2048``.

    Raises:
        ClusterError: a text has another form, names a node that is not there, or a size that holds no image.
    """
    disks: dict[str, int] = {}
    for text in texts:
        node, _, size = text.partition("=")
        if node not in nodes or not size.isdecimal() or int(size) < SMALLEST_DISK:
            of = ", ".join(nodes)
            raise ClusterError(
                f"--disk {text!r} is no disk: expected NODE=MIB, {SMALLEST_DISK} or more, for one of {of}"
            )
        disks[node] = int(size)
    return disks


@dataclass(frozen=True)
class Plan:
    """The addresses of one cluster: the /16 network ``10.(180 + index).0.0``.

    Attributes:
        index: which of the /16 networks, 0 to 69.
        nodes: the nodes' names in order, the hub first.
    """

    index: int
    nodes: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """The first two numbers of every address."""
        return f"10.{_FIRST + self.index}"

    @property
    def network(self) -> IPv4Network:
        """Everything the cluster uses."""
        return IPv4Network(f"{self.prefix}.0.0/16")

    @property
    def node_network(self) -> IPv4Network:
        """Where the nodes and the host meet."""
        return IPv4Network(f"{self.prefix}.0.0/24")

    @property
    def services(self) -> IPv4Network:
        """The range of Service addresses."""
        return IPv4Network(f"{self.prefix}.240.0/20")

    @property
    def host(self) -> IPv4Address:
        """The host's own address on the node network."""
        return self.node_network[1]

    @property
    def hub(self) -> IPv4Address:
        """The hub's address, which is the control plane's, the registry's and MinIO's too."""
        return self.address(HUB)

    @property
    def api_service(self) -> IPv4Address:
        """The Service address of the API server."""
        return self.services[1]

    @property
    def dns_service(self) -> IPv4Address:
        """The Service address of CoreDNS."""
        return self.services[10]

    def address(self, node: str) -> IPv4Address:
        """Return a node's address."""
        return self.node_network[2 + self.nodes.index(node)]

    def pod_network(self, node: str) -> IPv4Network:
        """Return the range a node gives its pods addresses from."""
        return IPv4Network(f"{self.prefix}.{16 + self.nodes.index(node)}.0/24")

    @property
    def interface(self) -> str:
        """The name of the host's interface to this cluster; at most 15 characters, which is the kernel's limit."""
        return f"edgesmith{self.index}"


def free_index(taken: Collection[int], networks: Collection[IPv4Network]) -> int:
    """Return the first index that no other cluster has and whose network overlaps none the host knows.

    Args:
        taken: indices of the other clusters.
        networks: what the host has addresses in or routes to, without its default route.

    Raises:
        ClusterError: all are taken.
    """
    for index in range(MAX_CLUSTERS):
        ours = Plan(index, (HUB,)).network
        if index not in taken and not any(ours.overlaps(network) for network in networks):
            return index
    raise ClusterError("no free network is left: every one of 10.180.0.0/16 to 10.249.0.0/16 is in use on this machine")


def namespace(cluster: str, part: str) -> str:
    """Return the name of a network namespace; a part is a node or ``fabric``.

    The parts are joined by a dot, which no cluster's name holds: cluster ``a-b`` never claims what is ``a``'s.
    """
    return f"edgesmith.{cluster}.{part}"
