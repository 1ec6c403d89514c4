"""What the command line reads of the cluster. A tenant may not list nodes; the rest works without them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import Forbidden
from edgesmith.cluster.kinds import NODE, Kind
from edgesmith.cluster.listing import load
from edgesmith.cluster.objects import WATCHED, Objects


@dataclass(frozen=True, slots=True)
class Seen:
    """The cluster as the user may read it."""

    objects: Objects
    nodes_refused: str | None = None
    """Why nodes could not be listed, in one sentence; None where they were."""


async def look(
    client: Client, namespace: str, kinds: Sequence[Kind] = WATCHED, *, models: Collection[str] | None = None
) -> Seen:
    """Read what is needed to plan and to show, and no more: a fleet has a pod for every node and EdgeModel.

    Args:
        client: The API server.
        namespace: Of EdgeModels and their children; empty for all.
        kinds: What to read.
        models: The names of EdgeModels whose children are read; None: those of all.

    Raises:
        ClusterError: Something besides nodes could not be read.
    """
    objects = await load(client, namespace, [kind for kind in kinds if kind is not NODE], models=models)
    if NODE not in kinds:
        return Seen(objects)
    try:
        async for raw in client.list(NODE):
            objects.put(NODE, raw)
    except Forbidden as error:
        return Seen(objects, f"{str(error).rstrip('.')}; the role edgesmith-reader allows it.")
    return Seen(objects)
