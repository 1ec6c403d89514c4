"""How much time a revision has on a node, and how often what may be the machine's doing is let pass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

DEATHS = 2
"""After so many returns from NotReady or from a start of its machine, each with its server started anew, a node has
failed."""
RESTARTS = 2
"""How often a server that had served for the bake, and is started anew before its revision is proven, has all its time
once more."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much time one revision is allowed on a node, and what counts against it meanwhile."""

    deadline: timedelta
    """How long its server may take to become ready while the node is reachable."""
    unfinished: bool
    """Whether the revision is not completed: then it matters that the node becomes NotReady."""
    bake: timedelta | None = None
    """How long the server must serve without a restart; None where the revision is proven."""
    grace: timedelta = timedelta(0)
    """For how long a node that died is taken for ready."""

    @property
    def steady(self) -> timedelta:
        """How long a node must have served without going, so that it no longer matters that it went before."""
        return self.deadline + (self.bake or timedelta(0)) + self.grace

    def held(self, since: datetime, now: datetime) -> bool:
        """Whether a server that has served since then has done so for the bake; not where there is none."""
        return self.bake is not None and now - since >= self.bake
