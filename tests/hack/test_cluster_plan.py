"""Names and addresses of a local cluster."""

from ipaddress import IPv4Network

import pytest

from edgesmith_cluster import network, plan
from edgesmith_cluster.errors import ClusterError
from edgesmith_cluster.plan import Plan

NODES = ("hub", "edge-1", "edge-2", "edge-3")


def test_every_address_lies_in_the_clusters_own_network() -> None:
    largest = Plan(7, plan.node_names(plan.MAX_EDGES))
    parts = [largest.node_network, largest.services, *map(largest.pod_network, largest.nodes)]
    assert all(part.subnet_of(IPv4Network("10.187.0.0/16")) for part in parts)
    assert not any(one.overlaps(other) for one in parts for other in parts if one is not other)
    assert len({largest.host, *map(largest.address, largest.nodes)}) == plan.MAX_EDGES + 2
    assert all(largest.address(node) in largest.node_network for node in largest.nodes)


def test_no_two_clusters_share_an_address() -> None:
    networks = [Plan(index, NODES).network for index in range(plan.MAX_CLUSTERS)]
    assert len(set(networks)) == plan.MAX_CLUSTERS
    assert str(networks[0]) == "10.180.0.0/16"
    assert str(networks[-1]) == "10.249.0.0/16"


def test_the_hosts_interface_has_a_name_the_kernel_takes() -> None:
    assert len(Plan(plan.MAX_CLUSTERS - 1, NODES).interface) <= 15


def test_a_network_in_use_on_the_host_is_left_alone() -> None:
    assert plan.free_index([], []) == 0
    assert plan.free_index([0, 2], []) == 1
    assert plan.free_index([], [IPv4Network("10.180.7.0/24")]) == 1
    assert plan.free_index([2], [IPv4Network("10.180.0.0/15")]) == 3


def test_running_out_of_networks_is_said() -> None:
    with pytest.raises(ClusterError, match="no free network"):
        plan.free_index([], [IPv4Network("10.0.0.0/8")])


@pytest.mark.parametrize("name", ["", "Demo", "1st", "a/b", "..", "a.b", "x" * 32])
def test_a_name_that_cannot_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="--name"):
        plan.check_name(name)


def test_one_clusters_namespaces_are_never_anothers() -> None:
    assert not plan.namespace("a-b", "hub").startswith(plan.namespace("a", ""))


def test_labels_are_read_and_the_hub_is_always_marked() -> None:
    labels = plan.parse_labels(["edge-1=site=north", "edge-1=example.com/a_b=", "hub=x=1"], NODES)
    assert labels["edge-1"] == {"site": "north", "example.com/a_b": ""}
    assert labels["hub"] == {"edgesmith.dev/hub": "true", "x": "1"}
    assert labels["edge-2"] == {}


@pytest.mark.parametrize("text", ["site=north", "edge-9=site=north", "edge-1=site", "edge-1=site=a b"])
def test_a_label_that_cannot_be_set_is_named(text: str) -> None:
    with pytest.raises(ClusterError, match=text):
        plan.parse_labels([text], NODES)


def test_the_disks_of_nodes_are_read() -> None:
    assert plan.parse_disks(["edge-1=2048", "edge-2=256"], NODES) == {"edge-1": 2048, "edge-2": 256}


@pytest.mark.parametrize("text", ["edge-9=2048", "edge-1", "edge-1=", "edge-1=2G", "edge-1=-5", "edge-1=255"])
def test_a_disk_that_cannot_be_made_is_named(text: str) -> None:
    with pytest.raises(ClusterError, match=f"--disk '{text}'"):
        plan.parse_disks([text], NODES)


@pytest.mark.parametrize("edges", [-1, plan.MAX_EDGES + 1])
def test_a_number_of_nodes_that_has_no_addresses_is_refused(edges: int) -> None:
    with pytest.raises(ClusterError, match="--edges"):
        plan.node_names(edges)


def test_each_node_has_a_route_to_the_pods_of_all_others_and_to_services() -> None:
    commands = network.node_commands(Plan(0, NODES), "edge-1")
    assert "address add 10.180.0.3/24 dev eth0" in commands
    assert "route add 10.180.16.0/24 via 10.180.0.2" in commands
    assert "route add 10.180.19.0/24 via 10.180.0.5" in commands
    assert "route add 10.180.240.0/20 dev eth0" in commands
    assert not any("10.180.17.0/24" in command for command in commands)


def test_an_uplink_leads_to_another_clusters_nodes_and_pods() -> None:
    assert network.uplink_commands(Plan(3, ("hub", "edge-1"))) == [
        "route replace 10.183.0.0/24 dev eth0",
        "route replace 10.183.16.0/24 via 10.183.0.2",
        "route replace 10.183.17.0/24 via 10.183.0.3",
    ]


def test_the_host_has_a_route_to_the_pods_of_every_node() -> None:
    commands = network.host_commands("demo", Plan(0, NODES))
    assert [command for command in commands if ".16.0/24" in command] == ["route add 10.180.16.0/24 via 10.180.0.2"]
    assert sum("route add" in command for command in commands) == len(NODES) + 1
