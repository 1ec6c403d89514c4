"""What one pass decided: plain facts that `resources` turns into objects and `cluster` into calls.

The CLI prints this same value, so "what would happen" and "what happens" cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.drift_status import DriftStatus
from edgesmith.api.names import staging_value
from edgesmith.api.status import EdgeModelStatus, PendingReason
from edgesmith.decide.room import Room
from edgesmith_builder.contract import Build, Earlier, FileToResolve


@dataclass(frozen=True, slots=True)
class Change:
    """One reason a build is needed: a field with its old and new value."""

    field: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class StartBuild:
    """Make a build Job."""

    profile: DeviceProfile
    build: Build
    attempt: str
    reason: tuple[Change, ...]
    """Empty for the first build of a variant."""
    at: datetime
    """The hub's time."""
    number: int
    """Which of the EdgeModel's Jobs it is."""
    tries: int = 0
    """How many Jobs for the same key and attempt failed before this one; part of the Job's name."""
    alternative: str | None = None
    """Whose build it is, where there are alternatives: one's name, or `source`."""
    earlier: Earlier | None = None
    """The image of a Job of ours whose layers do for it, over its own base."""
    known: tuple[str, ...] = ()
    """Digests of images that are known to be this build."""
    sizes: tuple[tuple[str, int], ...] = ()
    """How many bytes the spec says that its files have, by their name in the build."""


@dataclass(frozen=True, slots=True)
class StartLook:
    """Make a resolve Job: one look at files whose digest the spec does not give, or whose size it does not."""

    files: tuple[FileToResolve, ...]
    key: str
    """The files, as a hash."""
    attempt: str
    at: datetime
    """The hub's time."""
    number: int
    """Which of the EdgeModel's Jobs it is; part of the Job's name."""
    why: str
    """Why now, as the end of a sentence."""
    tries: int = 0
    """How many Jobs for the same look failed before this one."""


@dataclass(frozen=True, slots=True)
class StartTrial:
    """Make a pod that tries finalists on one node, one after the other."""

    profile: DeviceProfile
    trial: str
    """Which trial it is of; see `edgesmith.decide.trials`."""
    node: str
    images: Mapping[str, str]
    """The finalists that are to be tried, precision to image by digest, in the ladder's order."""
    keeps: str | None = None
    """The image of the node's server, where the pod only pulls the finalists and keeps that and them on the node."""
    room: Room | None = None
    """What the pod looks for first; None: nothing."""


@dataclass(frozen=True, slots=True)
class StartRetraining:
    """Make a Job for an episode of drift."""

    what: Literal["event", "job"]
    drift: DriftStatus
    """As the status has it, with the episode."""
    message: str
    """What the condition says."""
    uri: str
    """Where the source is that drift is about."""


@dataclass(frozen=True, slots=True)
class ApplyRevision:
    """Make or keep the DaemonSet of the revision that the spec asks for."""

    profile: DeviceProfile
    revision: str
    image: str
    build: Build
    built: str | None = None
    """The image under the build's tag, where a trial chose another of its finalists."""
    staging: Literal["", "Pull", "Test"] = ""
    """What is done on a node before its server ends, in a DaemonSet beside this one's; empty: nothing."""
    room: Room | None = None
    """What that DaemonSet's pods look for first; None: nothing."""


@dataclass(frozen=True, slots=True)
class ReportDrift:
    """Make or keep the DaemonSet that reports what the servers of a revision say of drift."""

    profile: DeviceProfile
    revision: str
    image: str
    """By digest."""


@dataclass(frozen=True, slots=True)
class HoldImage:
    """Make or keep the DaemonSet that holds the image of the revision that the nodes of a variant would go back to."""

    profile: DeviceProfile
    revision: str
    image: str
    """By digest."""
    others: tuple[str, ...]
    """The revisions of the variant with another image: the image is held where one of them runs."""


@dataclass(frozen=True, slots=True)
class Move:
    """Give a node another revision, or none.

    One write to the node: the label is `beside` where that is said, else `revision`; the next label is `revision`
    where `beside` is said, and else it goes.
    """

    node: str
    revision: str | None
    reason: str
    record: str | None = None
    """What is kept of the node from then on; see `edgesmith.decide.record`."""
    urgent: bool = False
    """Whether it takes the node off a revision that was rolled back or failed there."""
    beside: str | None = None
    """The revision that the node goes on serving while it makes `revision` ready; empty where it serves nothing."""
    staging: bool = False
    """Whether `revision` is only pulled and tested meanwhile, and its server starts once the old one ends."""

    @property
    def label(self) -> str | None:
        """The value of the node's label; None where it goes."""
        return self.revision if self.beside is None else self.beside or None

    @property
    def next(self) -> str | None:
        """The value of the node's next label; None where it goes."""
        if self.beside is None or self.revision is None:
            return None
        return staging_value(self.revision) if self.staging else self.revision


@dataclass(frozen=True, slots=True)
class Keep:
    """Set or remove (`record` is None) what is kept of a node that is not moved."""

    node: str
    record: str | None


class Pending(NamedTuple):
    """A node that does not run the newest revision and is not moved now, and why."""

    node: str
    reason: PendingReason
    message: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a child that is no longer wanted."""

    kind: Literal["Job", "DaemonSet", "Pod"]
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event to record on the EdgeModel once the status is written."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What one pass decided. The order of the fields is the order of the calls.

    A DaemonSet comes before its nodes; the status, which says what was proven and rolled back, before the moves that
    follow from it.
    """

    revisions: tuple[ApplyRevision, ...]
    status: EdgeModelStatus
    moves: tuple[Move, ...]
    """Urgent ones first."""
    records: tuple[Keep, ...]
    builds: tuple[StartBuild, ...]
    trials: tuple[StartTrial, ...]
    deletes: tuple[Delete, ...]
    service: bool
    """Whether the EdgeModel's Service is wanted: as soon as one revision exists."""
    events: tuple[Event, ...]
    pending: tuple[Pending, ...]
    look_again: float | None
    """Seconds until something changes by time alone: a bake that ends, a deadline."""
    builds_wait: bool = False
    """Whether a build is to start and waits for a slot."""
    look: StartLook | None = None
    """Made after the builds."""
    look_waits: bool = False
    """Whether a look is due and waits for a slot."""
    awaited: frozenset[str] = frozenset()
    """Nodes that a trial waits for, since another EdgeModel is at work on them or comes first."""
    held: tuple[StartBuild, ...] = ()
    """Builds that start once `look` has said how large their models are."""
    holds: tuple[HoldImage, ...] = ()
    """Made after the revisions."""
    retraining: tuple[StartRetraining, ...] = ()
    """Made after the status that names their episode."""
    reports: tuple[ReportDrift, ...] = ()
    """Revisions whose servers' word on drift is to be reported; made after the revisions."""

    @property
    def changed(self) -> frozenset[str]:
        """The nodes that it moves, or begins a trial on: no other EdgeModel is to begin anything there meanwhile."""
        return frozenset(move.node for move in self.moves) | {start.node for start in self.trials}
