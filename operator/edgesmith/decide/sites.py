"""Builds that an installation waits for, since it makes none itself: those of a cluster at a site.

A site computes the same key as the hub, from the same EdgeModel and DeviceProfile and runtime images of the same
digests, and looks for it in its own registry.
"""

from __future__ import annotations

from datetime import datetime

from edgesmith.api.names import short_hash
from edgesmith.decide.entries import past_text, time_of
from edgesmith.decide.held import build_before
from edgesmith.decide.snapshot import RegistryProblem, Snapshot, StrangeImage
from edgesmith_builder.contract import Build

FIRST_PAUSE = 10.0
"""Seconds between the first two looks at the registry."""
LONGEST_PAUSE = 300.0
"""Seconds between two looks, at most; a build that comes after hours is seen after five minutes."""
GROWTH = 4.0
"""A pause is this part of the time that was waited already, so that it grows with only the beginning remembered."""
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


def waiting_since(snapshot: Snapshot, profile: str, build: Build, now: datetime) -> str | None:
    """Since when the registry is known not to have a build, as the status has it; None where nothing is waited for.

    A registry that does not answer for a while does not begin it anew: it may do so more often than once in PATIENCE.
    """
    before = build_before(snapshot.model.status, profile, build.key).get("waitingSince")
    if _is_absent(snapshot, build):
        return past_text(before, now)
    asked = build.key in snapshot.images and not isinstance(snapshot.images[build.key], RegistryProblem)
    return None if asked or before is None else past_text(before, now)


def overdue(snapshot: Snapshot, profile: str, build: Build, now: datetime) -> bool:
    """Whether the others of a variant go on without a build: where the one that builds failed, nobody here is told.

    It joins them when it comes.
    """
    gone_on = build_before(snapshot.model.status, profile, build.key).get("state") == "Failed"
    return gone_on or (_is_absent(snapshot, build) and _waited(snapshot, profile, build, now) >= PATIENCE)


def pause(snapshot: Snapshot, profile: str, build: Build, now: datetime) -> float:
    """Seconds until the registry is to be asked again for a build."""
    seconds = min(max(_waited(snapshot, profile, build, now) / GROWTH, FIRST_PAUSE), LONGEST_PAUSE)
    place = int(short_hash(f"{snapshot.model.metadata.uid} {build.key}", 8), 16) / 2**32
    return seconds * (1.0 - JITTER + 2 * JITTER * place)


def _is_absent(snapshot: Snapshot, build: Build) -> bool:
    """Whether the registry answered, and has no image that is the build."""
    answer = snapshot.images.get(build.key)
    return isinstance(answer, StrangeImage) or (answer is None and build.key in snapshot.images)


def _waited(snapshot: Snapshot, profile: str, build: Build, now: datetime) -> float:
    """Seconds.

    Those of this build alone: how long an EdgeModel has not been ready says nothing of it, since that may have had
    another reason, or have been about another source.
    """
    since = waiting_since(snapshot, profile, build, now)
    return (now - time_of(since)).total_seconds() if since is not None else 0.0
