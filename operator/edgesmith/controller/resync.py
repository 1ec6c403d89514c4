"""What no watch reports: objects deleted while a watch was cut off, and an etcd that was restored from a backup.

Both are looked for whenever a watch starts anew with a listing, and every ten minutes whatever happens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import ClusterError
from edgesmith.cluster.fields import version_number
from edgesmith.cluster.listing import selector
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.table import ObjectChange
from edgesmith.controller import metrics
from edgesmith.controller.metrics import Numbers

log = logging.getLogger(__name__)

RESYNC_SECONDS = 600.0
"""Between two looks at everything."""
SETTLE_SECONDS = 1.0
"""Between a watch's listing and the look that it causes: the watches of all kinds start anew together."""
SAME_LISTING_SECONDS = 5.0
"""Objects of a listing that come after less than this belong to one listing."""
RETRY_SECONDS = 10.0
"""After which a look that failed is repeated."""


class Resync:
    """Compares what is known with what the API server lists."""

    def __init__(
        self,
        client: Client,
        objects: Objects,
        *,
        changed: Callable[[Iterable[ObjectChange]], None],
        restored: Callable[[str], None],
        everybody: Callable[[], None],
        numbers: Numbers,
        clock: Callable[[], float],
    ) -> None:
        """Make it; nothing is sent yet.

        Args:
            client: The API server.
            objects: What is known.
            changed: Takes what turns out to be gone.
            restored: Called with a sentence where resourceVersions went down.
            everybody: Asks for a pass of every EdgeModel.
            numbers: Counted into.
            clock: Seconds that only grow.
        """
        self._client = client
        self._objects = objects
        self._changed = changed
        self._restored = restored
        self._everybody = everybody
        self._numbers = numbers
        self._clock = clock
        self._wanted = asyncio.Event()
        self._listed_at: float | None = None

    def listed(self) -> None:
        """Say that a watch has reported an object of the listing that it began with."""
        before, self._listed_at = self._listed_at, self._clock()
        if before is None or self._listed_at - before > SAME_LISTING_SECONDS:
            self._wanted.set()

    async def run(self) -> None:
        """Look until cancelled."""
        due = self._clock() + RESYNC_SECONDS
        while True:
            await self._wait(due - self._clock())
            self._wanted.clear()
            try:
                await self.remove_stale()
            except ClusterError as error:
                log.warning("the cluster could not be listed: %s", error)
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wanted.set)
            if self._clock() >= due:
                due = self._clock() + RESYNC_SECONDS
                self._everybody()

    async def remove_stale(self) -> None:
        """Forget objects whose deletion no watch reported, and notice resourceVersions that went down.

        Raises:
            ClusterError: The API server could not be asked.
        """
        for kind in self._objects.kinds:
            newest = self._objects.newest(kind)
            uids, version = await self._client.list_uids(kind, labels=selector(kind))
            if 0 < version_number(version) < newest:
                self._restored(f"the listing of {kind.plural} is of resourceVersion {version}, and {newest} is known")
                return
            gone = self._objects.retain(kind, uids, version)
            if gone:
                log.warning("%d %s were deleted and no watch reported it", len(gone), kind.plural)
                self._numbers.count(metrics.STALE, len(gone))
                self._changed(gone)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._wanted.wait()
        except TimeoutError:
            return
        await asyncio.sleep(SETTLE_SECONDS)
