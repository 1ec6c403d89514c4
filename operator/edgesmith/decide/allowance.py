"""What a revision is held to on a node: its time there, and how often what may be the machine's doing is let pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

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
    """How long its server may take to become ready while the node is reachable; see `patience`."""
    unfinished: bool
    """Whether the revision is not completed: then it matters that the node becomes NotReady."""
    bake: timedelta | None = None
    """How long the server must serve without a restart; None where the revision is proven."""
    grace: timedelta = timedelta(0)
    """For how long a node that died is taken for ready."""

    @property
    def patience(self) -> timedelta:
        """How long a server that never became ready is waited for while its node is taken for ready.

        A machine that died shortly before the deadline is so until the grace period is over. It is lost, and not late.
        """
        return self.deadline + self.grace

    @property
    def steady(self) -> timedelta:
        """How long a node must have served without going, so that it no longer matters that it went before."""
        return self.deadline + (self.bake or timedelta(0)) + self.grace

    def held(self, since: datetime, now: datetime) -> bool:
        """Whether a server that has served since then has done so for the bake; not where there is none."""
        return self.bake is not None and now - since >= self.bake


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every node of one profile whose label names one revision."""

    label: str | None
    """That revision; None for nodes without a label."""
    known: bool
    """Whether it exists."""
    allowed: Allowance
    now: datetime
    """The hub's time."""
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """What the profile's pods tolerate."""
    devices: Mapping[str, int] | None = None
    """How many of each device the profile's pods ask for; None where they ask for none."""
    attempt: str = ""
    """The retry word that a failure in this pass answers."""
    foreign: bool = False
    """Whether the revision is of another profile."""
