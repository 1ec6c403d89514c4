"""What the command line reads of the cluster. A tenant may not list nodes; the rest works without them."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import Forbidden
from edgesmith.cluster.kinds import NODE
from edgesmith.cluster.listing import load
from edgesmith.cluster.objects import WATCHED, Objects


@dataclass(frozen=True, slots=True)
class Seen:
    """The cluster as the user may read it."""

    objects: Objects
    nodes_refused: str | None = None
    """Why nodes could not be listed, in one sentence; None where they were."""


async def look(client: Client, namespace: str) -> Seen:
    """Read what is needed to plan and to show.

    Args:
        client: The API server.
        namespace: Of EdgeModels and their children; empty for all.

    Raises:
        ClusterError: Something besides nodes could not be read.
    """
    objects = await load(client, namespace, [kind for kind in WATCHED if kind is not NODE])
    try:
        async for raw in client.list(NODE):
            objects.put(NODE, raw)
    except Forbidden as error:
        return Seen(objects, f"{str(error).rstrip('.')}; the role edgesmith-reader allows it.")
    return Seen(objects)
