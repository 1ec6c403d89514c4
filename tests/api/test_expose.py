"""The Service of an EdgeModel becomes a NodePort and a ClusterIP again, as spec.serving.expose says."""

from __future__ import annotations

from typing import Any

from operator_process import edge_model

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.cluster.client import Client
from edgesmith.resources import service


async def test_a_service_is_exposed_and_hidden_again(client: Client, namespace: str) -> None:
    # Its owner is there: the garbage collector would delete a Service of nobody in between.
    uid = (await client.apply(edge_model("parts", namespace)))["metadata"]["uid"]

    async def applied(**serving: Any) -> dict[str, Any]:
        manifest = edge_model("parts", namespace, serving=serving)
        manifest["metadata"]["uid"] = uid
        found = await client.apply(service(EdgeModel.model_validate(manifest)))
        spec: dict[str, Any] = found["spec"]
        return spec

    hidden = await applied()
    assert hidden["type"] == "ClusterIP"
    # The cluster gives away the ports above 30085 by itself (static subrange of the node ports).
    exposed = await applied(expose={"type": "NodePort", "httpPort": 30010})
    assert (exposed["type"], exposed["externalTrafficPolicy"]) == ("NodePort", "Local")
    http, grpc = (port["nodePort"] for port in exposed["ports"])
    assert http == 30010
    assert grpc >= 30000, "the cluster picks the port that is not given"
    hidden = await applied()
    assert hidden["type"] == "ClusterIP"
    assert all("nodePort" not in port for port in hidden["ports"])
    assert "externalTrafficPolicy" not in hidden
