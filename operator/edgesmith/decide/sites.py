"""Builds that an installation waits for, since it makes none itself: those of a cluster at a site.

A site computes the same key as the hub, from the same EdgeModel and DeviceProfile and runtime images of the same
digests, and looks for it in its own registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from edgesmith.api.conditions import ConditionType, Reason
from edgesmith.api.names import short_hash
from edgesmith.decide.entries import listed, time_of
from edgesmith.decide.held import build_before
from edgesmith.decide.snapshot import Snapshot, StrangeImage
from edgesmith_builder.contract import Build

FIRST_PAUSE = 10.0
"""Seconds between the first two looks at the registry."""
LONGEST_PAUSE = 300.0
"""Seconds between two looks, at most; a build that comes after hours is seen after five minutes."""
GROWTH = 4.0
"""A pause is this part of the time that was waited already, so that it grows without anything being remembered."""
JITTER = 0.2
"""How far pauses of different builds differ, as a part of them: a thousand sites must not ask at the same second."""

PATIENCE = 1800.0
"""Seconds after which a build that is not there no longer holds back others of the same variant."""


def awaited_message(snapshot: Snapshot, profile: str, build: Build) -> str:
    """What to say of a build that is not in the registry: which key, where, and who makes it."""
    repository = snapshot.settings.repository_of(snapshot.model.metadata.namespace)
    answer = snapshot.images.get(build.key)
    if isinstance(answer, StrangeImage):
        return (
            f"{answer.reference} has the build key {build.key} for {profile}, but {answer.why}; copy the image and its "
            f"runtime image again from the installation that builds."
        )
    return (
        f"The build for {profile} is waited for: {repository}:{build.key} is not there. This installation makes no "
        "builds (builder.enabled is false); the one that does makes this key of the same EdgeModel, DeviceProfile and "
        "runtime image."
    )


def overdue(snapshot: Snapshot, profile: str, build: Build, now: datetime) -> bool:
    """Whether the others of a variant go on without a build: where the one that builds failed, nobody here is told.

    It joins them when it comes.
    """
    gone_on = build_before(snapshot.model.status, profile, build.key).get("state") == "Failed"
    return gone_on or _waited(snapshot, now) >= PATIENCE


def pause(snapshot: Snapshot, build: Build, now: datetime) -> float:
    """Seconds until the registry is to be asked again for a build."""
    seconds = min(max(_waited(snapshot, now) / GROWTH, FIRST_PAUSE), LONGEST_PAUSE)
    place = int(short_hash(f"{snapshot.model.metadata.uid} {build.key}", 8), 16) / 2**32
    return seconds * (1.0 - JITTER + 2 * JITTER * place)


def _waited(snapshot: Snapshot, now: datetime) -> float:
    return max(((now - since).total_seconds() for since in _waits_since(snapshot.model.status)), default=0.0)


def _waits_since(status: Mapping[str, Any]) -> Iterator[datetime]:
    """Since when an EdgeModel waits for a build, by its status; nothing where it does not."""
    for one in listed(status, "conditions"):
        if one.get("type") == ConditionType.BUILDS_READY and one.get("reason") == Reason.WAITING_FOR_BUILD:
            try:
                yield time_of(str(one.get("lastTransitionTime")))
            except (ValueError, OverflowError):
                continue
