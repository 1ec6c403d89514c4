"""The bound on Jobs of the builder at once, builds and looks, kept over passes that run at the same time.

Builds come first: a look starts only where there is a slot that no build waits for.

The check is sound because counting, deciding and reserving happen without an `await` between them: no other pass can
take the same slot in between. A reservation ends with its pass; by then its Job is among the objects, and one that is
in both places is counted once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import job_name, resolve_job_name
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.table import ObjectKey, Table
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import BuildJob, ResolveJob


class BuildSlots:
    """Who builds or looks, and who waits for a slot."""

    def __init__(self, objects: Objects, limit: int) -> None:
        """Make it.

        Args:
            objects: What is known of the cluster.
            limit: Most Jobs at once.
        """
        self._objects = objects
        self._limit = limit
        self._reserved: set[ObjectKey] = set()
        self._waiting: OrderedDict[ObjectKey, None] = OrderedDict()
        self._looking: OrderedDict[ObjectKey, None] = OrderedDict()

    def running(self) -> int:
        """Jobs that run or are being started.

        A Job whose pod lacks a Secret is not counted: it does no work, and it would keep everybody else from building
        until its deadline.
        """
        tables: tuple[Table[BuildJob] | Table[ResolveJob], ...] = (self._objects.jobs, self._objects.resolve_jobs)
        known = {key: job.finished for table in tables for key, job in table.items()}
        blocked = {(key[0], pod.job) for key, pod in self._objects.build_pods.items() if pod.blocked}
        unfinished = {key for key, finished in known.items() if not finished} - blocked
        return len(unfinished | {key for key in self._reserved if key not in known})

    def builds_waiting(self, key: ObjectKey) -> int:
        """EdgeModels other than one whose builds wait for a slot."""
        return len(self._waiting.keys() - {key})

    @contextmanager
    def reserved(self, model: EdgeModel, plan: Plan) -> Iterator[None]:
        """Count the Jobs of a plan from before they are created."""
        metadata, look = model.metadata, plan.look
        names = {job_name(start.build.key, start.attempt, start.tries) for start in plan.builds}
        if look:
            names.add(resolve_job_name(metadata.name, look.key, look.attempt, look.number))
        keys = {(metadata.namespace, name) for name in names}
        self._reserved |= keys
        try:
            yield
        finally:
            self._reserved -= keys

    def settle(self, key: ObjectKey, *, builds: bool, look: bool = False) -> list[ObjectKey]:
        """Take note of how a pass ended.

        Args:
            key: The EdgeModel that the pass was about.
            builds: Whether a build of it waits for a slot.
            look: Whether a look at its files does.

        Returns:
            The EdgeModels to look at now: as many of those that wait as there are free slots, builds first and of both
            the longest waiting first. Each goes to the end of the line, so that one that cannot use its slot keeps it
            from nobody.
        """
        for line, waits in ((self._waiting, builds), (self._looking, look)):
            if waits:
                line.setdefault(key)
            else:
                line.pop(key, None)
        if not self._waiting and not self._looking:
            return []
        free = max(self._limit - self.running(), 0)
        found: list[ObjectKey] = []
        for line in (self._waiting, self._looking):
            for one in list(line)[: free - len(found)]:
                line.move_to_end(one)
                found.append(one)
        return found
