"""Names of Jobs that are not given to a new Job yet, since the one before has only just gone.

Kubernetes' Job controller keeps what it waits for by a Job's name, not by its UID (`expectations` in its
`pkg/controller/job/job_controller.go`, 1.36). Where a Job goes and another of its name is there before the controller
has seen the name free, it makes a pod for the one that went, counts on it for the new one and never sees it: the new
Job has no pod for five minutes. So a name rests before it is given again. (The DaemonSet controller looks at the UID:
`updateDaemonset`.)

Nothing of it outlives the operator: its own start takes about as long as the controller needs.
"""

from __future__ import annotations

from collections.abc import Callable

from edgesmith.cluster.errors import Waiting
from edgesmith.cluster.kinds import JOB
from edgesmith.cluster.table import ObjectChange, ObjectKey

REST = 10.0
"""Seconds; the controller takes well under one where the API server answers it."""


class JobNames:
    """Which names of Jobs rest."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Know of none yet.

        Args:
            clock: Seconds that only grow.
        """
        self._clock = clock
        self._free_at: dict[ObjectKey, float] = {}

    def changed(self, change: ObjectChange) -> None:
        """Take note of what a watch or a listing says; all but a Job that is gone is ignored."""
        if change.kind is not JOB or change.new is not None:
            return
        now = self._clock()
        self._free_at = {key: at for key, at in self._free_at.items() if at > now}
        self._free_at[change.key] = now + REST

    def check(self, namespace: str, name: str) -> None:
        """Say whether a Job of a name may be made now.

        Raises:
            Waiting: One of that name has only just gone; it says for how long.
        """
        left = self._free_at.get((namespace, name), 0.0) - self._clock()
        if left > 0:
            raise Waiting(
                f"Job {namespace}/{name} was deleted and is made again in {left:.0f} s, once Kubernetes has forgotten "
                "the one before",
                left,
            )
