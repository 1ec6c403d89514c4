"""Where a server is reached: its Service, a port of the node, and a NodePort."""

from __future__ import annotations

from made import IMAGE, applied, started
from snapshots import SETTINGS, model, profile

from edgesmith.decide.serving import revision_of
from edgesmith.resources import service


def test_a_port_of_the_node_leads_to_the_server() -> None:
    expose = {"type": "HostPort", "httpPort": 80}
    pod = applied(serving={"expose": expose})["spec"]["template"]["spec"]
    assert pod["containers"][0]["ports"] == [
        {"name": "http", "containerPort": 8000, "hostPort": 80, "protocol": "TCP"},
        {"name": "grpc", "containerPort": 8001, "protocol": "TCP"},
    ]
    assert service(model(serving={"expose": expose}))["spec"]["type"] == "ClusterIP"


def test_a_node_port_is_answered_by_the_node_it_was_sent_to() -> None:
    exposed = model(serving={"expose": {"type": "NodePort", "grpcPort": 30001}})
    spec = service(exposed)["spec"]
    assert spec["type"] == "NodePort"
    assert (spec["externalTrafficPolicy"], spec["internalTrafficPolicy"]) == ("Local", "Local")
    assert [port.get("nodePort") for port in spec["ports"]] == [None, 30001]
    assert revision_of(profile(), IMAGE, exposed, SETTINGS) == revision_of(profile(), IMAGE, model(), SETTINGS)


def test_a_service_answers_on_the_node_and_never_from_a_build_pod() -> None:
    made = service(model())
    assert made["spec"]["internalTrafficPolicy"] == "Local"
    labels = started()["spec"]["template"]["metadata"]["labels"]
    assert not made["spec"]["selector"].items() <= labels.items()
    assert made["spec"]["selector"].items() <= applied()["spec"]["template"]["metadata"]["labels"].items()
