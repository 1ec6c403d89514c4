"""The Service of an EdgeModel: on each node, the server of that node, for its pods and, as a NodePort, from outside."""

from __future__ import annotations

from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import COMPONENT_LABEL, MODEL_LABEL, SERVER
from edgesmith.resources.common import metadata


def service(model: EdgeModel) -> dict[str, Any]:
    """The Service; its traffic never leaves the node, so that it works without a link to the hub."""
    serving = model.spec.serving
    expose = serving.expose if serving.expose and serving.expose.type == "NodePort" else None
    outside = {"type": "NodePort", "externalTrafficPolicy": "Local"} if expose else {"type": "ClusterIP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(model, model.metadata.name),
        "spec": {
            **outside,
            "internalTrafficPolicy": "Local",
            "selector": {MODEL_LABEL: model.metadata.name, COMPONENT_LABEL: SERVER},
            "ports": [
                # By name: while ports change, old and new pods listen on different ones.
                _port("http", serving.port, "http", expose.http_port if expose else None),
                _port("grpc", serving.grpc_port, "kubernetes.io/h2c", expose.grpc_port if expose else None),
            ],
        },
    }


def _port(name: str, port: int, protocol: str, on_node: int | None) -> dict[str, Any]:
    chosen = {"nodePort": on_node} if on_node else {}
    return {"name": name, "port": port, "targetPort": name, **chosen, "protocol": "TCP", "appProtocol": protocol}
