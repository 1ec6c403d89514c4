"""Everything once, from listings in pages: what the CLI knows, and what the controller starts from."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from edgesmith.api.names import MANAGED_BY, MANAGED_BY_LABEL, MODEL_LABEL
from edgesmith.cluster.client import Client
from edgesmith.cluster.kinds import JOB, POD, Kind
from edgesmith.cluster.objects import CHILDREN, WATCHED, Objects
from edgesmith.cluster.parse_build import JOB_NAME_LABEL

MANAGED = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
"""The label selector of our children."""


def selector(kind: Kind) -> str:
    """The label selector that a kind is read by; empty for all of it."""
    return MANAGED if kind in CHILDREN else ""


def _selectors(kind: Kind, kinds: Sequence[Kind], models: Collection[str] | None) -> list[str]:
    """The label selectors that a kind is listed by, where only some EdgeModels are asked for.

    Jobs are those of all, since EdgeModels of a namespace share builds, and with them the pods of builds.
    """
    if models is None or kind is JOB or kind not in CHILDREN:
        return [selector(kind)]
    names = ",".join(sorted(models))
    own = f"{MANAGED},{MODEL_LABEL} in ({names})"
    return [own, f"{MANAGED},{MODEL_LABEL} notin ({names}),{JOB_NAME_LABEL}"] if kind is POD and JOB in kinds else [own]


async def load(
    client: Client, namespace: str, kinds: Sequence[Kind] = WATCHED, *, models: Collection[str] | None = None
) -> Objects:
    """Read the cluster.

    Args:
        client: The API server.
        namespace: Of EdgeModels and their children; empty for all.
        kinds: What to read.
        models: The names of EdgeModels whose children are read; None: those of all.

    Raises:
        ClusterError: Something could not be read.
    """
    objects = Objects(kinds)

    async def fill(kind: Kind) -> None:
        where = namespace if kind.namespaced else ""
        for labels in _selectors(kind, kinds, models):
            async for raw in client.list(kind, namespace=where, labels=labels):
                objects.put(kind, raw)
        if not where and (models is None or kind not in CHILDREN):
            objects.completed(kind)

    await asyncio.gather(*(fill(kind) for kind in kinds))
    return objects
