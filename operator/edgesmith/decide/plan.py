"""What one pass decided: plain facts that `resources` turns into objects and `cluster` into calls.

The CLI prints this same value, so "what would happen" and "what happens" cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.status import EdgeModelStatus
from edgesmith_builder.contract import Build


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
    tries: int = 0
    """How many Jobs for the same key and attempt failed before this one; part of the Job's name."""


@dataclass(frozen=True, slots=True)
class ApplyRevision:
    """Make or keep the DaemonSet of the revision that the spec asks for, with all its annotations."""

    profile: DeviceProfile
    revision: str
    image: str
    build: Build
    proven: datetime | None
    withdrawn: str | None
    attempt: str
    """The retry annotation's value where the revision is withdrawn, else empty."""
    completed: datetime | None = None


@dataclass(frozen=True, slots=True)
class Annotate:
    """Set the annotations of another revision's DaemonSet, leaving the rest as it stands; None removes one."""

    name: str
    """The DaemonSet."""
    proven: datetime | None
    withdrawn: str | None
    attempt: str
    """The retry annotation's value where the revision is withdrawn, else empty."""
    completed: datetime | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Set or remove (`revision` is None) an EdgeModel's label on a node."""

    node: str
    revision: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A node that is not moved, and why."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a child that is no longer wanted."""

    kind: Literal["Job", "DaemonSet"]
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
    """What one pass decided. The order of the fields is the order of the calls: a DaemonSet before its nodes."""

    builds: tuple[StartBuild, ...]
    revisions: tuple[ApplyRevision, ...]
    annotations: tuple[Annotate, ...]
    moves: tuple[Move, ...]
    holds: tuple[Hold, ...]
    deletes: tuple[Delete, ...]
    service: bool
    """Whether the EdgeModel's Service is wanted: as soon as one revision exists."""
    status: EdgeModelStatus
    events: tuple[Event, ...]
    look_again: float | None
    """Seconds until something changes by time alone: a bake that ends, a deadline."""
