"""Everything once, from listings in pages: what the CLI knows, and what the controller starts from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from edgesmith.api.names import MANAGED_BY, MANAGED_BY_LABEL
from edgesmith.cluster.client import Client
from edgesmith.cluster.kinds import Kind
from edgesmith.cluster.objects import CHILDREN, WATCHED, Objects

MANAGED = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
"""The label selector of our children."""


def selector(kind: Kind) -> str:
    """The label selector that a kind is read by; empty for all of it."""
    return MANAGED if kind in CHILDREN else ""


async def load(client: Client, namespace: str, kinds: Sequence[Kind] = WATCHED) -> Objects:
    """Read the cluster.

    Args:
        client: The API server.
        namespace: Of EdgeModels and their children; empty for all.
        kinds: What to read.

    Raises:
        ClusterError: Something could not be read.
    """
    objects = Objects(kinds)

    async def fill(kind: Kind) -> None:
        where = namespace if kind.namespaced else ""
        async for raw in client.list(kind, namespace=where, labels=selector(kind)):
            objects.put(kind, raw)
        if not where:
            objects.completed(kind)

    await asyncio.gather(*(fill(kind) for kind in kinds))
    return objects
