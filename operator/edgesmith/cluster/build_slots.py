"""The bound on builds at once, kept over passes that run at the same time.

The check is sound because counting, deciding and reserving happen without an `await` between them: no other pass can
take the same slot in between. A reservation ends with its pass; by then its Job is among the objects, and one that is
in both places is counted once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import job_name
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.table import ObjectKey
from edgesmith.decide.plan import StartBuild


class BuildSlots:
    """Who builds and who waits for a slot."""

    def __init__(self, objects: Objects, limit: int) -> None:
        """Make it.

        Args:
            objects: What is known of the cluster.
            limit: Most builds at once.
        """
        self._objects = objects
        self._limit = limit
        self._reserved: set[ObjectKey] = set()
        self._waiting: OrderedDict[ObjectKey, None] = OrderedDict()

    def running(self) -> int:
        """Builds that run or are being started.

        A Job whose pod lacks a Secret is not counted: it does no work, and it would keep everybody else from building
        until its deadline.
        """
        jobs = self._objects.jobs
        blocked = {(key[0], pod.job) for key, pod in self._objects.build_pods.items() if pod.blocked}
        unfinished = {key for key, job in jobs.items() if not job.finished} - blocked
        return len(unfinished | {key for key in self._reserved if jobs.get(*key) is None})

    @contextmanager
    def reserved(self, model: EdgeModel, starts: Iterable[StartBuild]) -> Iterator[None]:
        """Count the Jobs of some builds from before they are created."""
        metadata = model.metadata
        names = {
            (metadata.namespace, job_name(metadata.name, start.build.key, start.attempt, start.tries))
            for start in starts
        }
        self._reserved |= names
        try:
            yield
        finally:
            self._reserved -= names

    def settle(self, key: ObjectKey, *, waits: bool) -> list[ObjectKey]:
        """Take note of how a pass ended.

        Args:
            key: The EdgeModel that the pass was about.
            waits: Whether a build of it waits for a slot.

        Returns:
            The EdgeModels to look at now: as many of those that wait as there are free slots, the longest waiting
            first. Each goes to the end of the line, so that one that cannot use its slot keeps it from nobody.
        """
        if not waits:
            self._waiting.pop(key, None)
        else:
            self._waiting.setdefault(key)
        if not self._waiting:
            return []
        free = max(self._limit - self.running(), 0)
        found = list(self._waiting)[:free]
        for one in found:
            self._waiting.move_to_end(one)
        return found
