"""What a cluster is right now, as a table and as JSON."""

from typing import Any

from edgesmith_cluster import network, tools
from edgesmith_cluster.api import Api, ready_nodes
from edgesmith_cluster.plan import MINIO_PORT, REGISTRY_PORT
from edgesmith_cluster.state import Record


def describe(record: Record) -> dict[str, Any]:
    """Return everything one needs to use a cluster."""
    plan = record.plan
    ready = ready_nodes(Api.of(plan, record.folder.credentials).get("/api/v1/nodes"))
    cut = network.cut_nodes(record.name)
    return {
        "name": record.name,
        "kubeconfig": str(record.folder.kubeconfig),
        "registry": f"{plan.hub}:{REGISTRY_PORT}",
        "registryLog": str(record.folder.logs / "registry.log"),
        "minio": {
            "endpoint": f"http://{plan.hub}:{MINIO_PORT}",
            "accessKey": record.access_key,
            "secretKey": record.secret_key,
        },
        "uplink": {"cluster": record.uplink, "up": network.has_uplink(record.name)} if record.uplink else None,
        "nodes": [
            {
                "name": node,
                "address": str(plan.address(node)),
                "ready": ready.get(node, False),
                "cut": node in cut,
            }
            for node in record.nodes
        ],
        "tools": str(tools.binaries()),
    }


def table(description: dict[str, Any]) -> str:
    """Render a description for a person."""
    rows = [("NODE", "ADDRESS", "READY", "LINK")]
    rows += [
        (node["name"], node["address"], "yes" if node["ready"] else "no", "cut" if node["cut"] else "up")
        for node in description["nodes"]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    minio = description["minio"]
    return "\n".join(
        [
            *lines,
            "",
            f"registry    {description['registry']} (plain HTTP)",
            *_uplink(description["uplink"]),
            f"MinIO       {minio['endpoint']}, user {minio['accessKey']}, password {minio['secretKey']}",
            f"kubectl     {description['tools']}/kubectl --kubeconfig {description['kubeconfig']} get nodes",
        ]
    )


def _uplink(uplink: dict[str, Any] | None) -> list[str]:
    return [f"uplink      to the cluster {uplink['cluster']}, {'up' if uplink['up'] else 'cut'}"] if uplink else []
