"""The Service of an EdgeModel: on each node, the server of that node."""

from __future__ import annotations

from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import COMPONENT_LABEL, MODEL_LABEL, SERVER
from edgesmith.resources.common import metadata


def service(model: EdgeModel) -> dict[str, Any]:
    """The Service; its traffic never leaves the node, so that it goes on with the link down."""
    serving = model.spec.serving
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(model, model.metadata.name),
        "spec": {
            "type": "ClusterIP",
            "internalTrafficPolicy": "Local",
            "selector": {MODEL_LABEL: model.metadata.name, COMPONENT_LABEL: SERVER},
            "ports": [
                # By name: while ports change, old and new pods listen on different ones.
                {"name": "http", "port": serving.port, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"},
                {
                    "name": "grpc",
                    "port": serving.grpc_port,
                    "targetPort": "grpc",
                    "protocol": "TCP",
                    "appProtocol": "kubernetes.io/h2c",
                },
            ],
        },
    }
