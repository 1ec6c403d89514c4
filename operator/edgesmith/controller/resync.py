"""Now and then, everything anew: what no watch tells is found out here, at the latest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import ClusterError
from edgesmith.cluster.objects import WATCHED, Objects
from edgesmith.controller import metrics
from edgesmith.controller.concerns import everybody
from edgesmith.controller.metrics import Numbers
from edgesmith.controller.mirror import CHILDREN, MANAGED, Mirror
from edgesmith.controller.queue import Key

log = logging.getLogger(__name__)

RESYNC_SECONDS = 600.0


async def resync_for_ever(
    client: Client, objects: Objects, mirror: Mirror, numbers: Numbers, ask: Callable[[Key, float], None]
) -> None:
    """Forget ghosts and ask for a pass of every EdgeModel, every ten minutes.

    Args:
        client: The API server.
        objects: What is known.
        mirror: Told of what turns out to be gone.
        numbers: Counted into.
        ask: Asks for a pass after some seconds.
    """
    while True:
        await asyncio.sleep(RESYNC_SECONDS)
        try:
            await exorcise(client, objects, mirror, numbers)
        except ClusterError as error:
            log.warning("the cluster could not be read anew: %s", error)
        keys = sorted(everybody(objects))
        for number, key in enumerate(keys):
            # Spread over a minute: a thousand passes at once would make the next change wait for them all.
            ask(key, 60.0 * number / len(keys))


async def exorcise(client: Client, objects: Objects, mirror: Mirror, numbers: Numbers) -> None:
    """Forget objects that were deleted while a watch was cut off for long.

    Raises:
        ClusterError: The API server could not be asked.
    """
    for kind in WATCHED:
        uids, version = await client.census(kind, labels=MANAGED if kind in CHILDREN else "")
        ghosts = objects.retain(kind, uids, version)
        if ghosts:
            log.warning("%d %s were deleted without the watch's telling", len(ghosts), kind.plural)
            numbers.count(metrics.GHOSTS, len(ghosts))
            mirror.tell(ghosts)
