"""Everything once, from listings: what the CLI knows, where the controller has its watches."""

from __future__ import annotations

import asyncio

from edgesmith.api.names import MANAGED_BY, MANAGED_BY_LABEL
from edgesmith.cluster.client import Client
from edgesmith.cluster.kinds import DAEMON_SET, DEVICE_PROFILE, EDGE_MODEL, JOB, NODE, POD, Kind
from edgesmith.cluster.objects import Objects

_CHILDREN = (POD, JOB, DAEMON_SET)


async def load(client: Client, namespace: str) -> Objects:
    """Read the cluster.

    Args:
        client: The API server.
        namespace: Of EdgeModels and their children; empty for all.

    Raises:
        ClusterError: Something could not be read.
    """
    objects = Objects()

    async def fill(kind: Kind) -> None:
        labels = f"{MANAGED_BY_LABEL}={MANAGED_BY}" if kind in _CHILDREN else ""
        where = namespace if kind.namespaced else ""
        async for raw in client.list(kind, namespace=where, labels=labels):
            objects.put(kind, raw)

    await asyncio.gather(*(fill(kind) for kind in (EDGE_MODEL, DEVICE_PROFILE, NODE, *_CHILDREN)))
    return objects
