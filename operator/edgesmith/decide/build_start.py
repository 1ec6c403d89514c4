"""The next Job to make for a build, with why: what differs from the build before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.decide.build_jobs import age, attempt_of, next_number
from edgesmith.decide.changes import changes
from edgesmith.decide.digests import looked_at_files
from edgesmith.decide.made import earlier_of
from edgesmith.decide.plan import Change, StartBuild
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import Snapshot
from edgesmith.decide.trust import trusted_digests
from edgesmith_builder.contract import Build


def start_of(
    snapshot: Snapshot, profile: DeviceProfile, build: Build, known: str | None, *, tries: int, now: datetime
) -> StartBuild:
    """The Job to make, with why."""
    attempt = attempt_of(snapshot.model, snapshot.settings, build)
    number, ours = next_number(snapshot), _ours(snapshot, build)
    if known:
        return StartBuild(profile, build, attempt, (Change("image", known, None),), now, number, tries, known=ours)
    earlier = earlier_of(snapshot, build, profile.spec.runtime.server)
    reason = changes(build, _before(snapshot, profile, build), looked_at_files(snapshot.model, build))
    tried = (job.reason for job in snapshot.jobs if job.key == build.key and job.reason)
    return StartBuild(
        profile, build, attempt, reason or next(tried, ()), now, number, tries, earlier=earlier, known=ours
    )


def _ours(snapshot: Snapshot, build: Build) -> tuple[str, ...]:
    """Digests of the build's image, where the registry shows none: its Job looks whether one of them is there by now.

    None where an image is there and may not be rolled out: whatever its digest is, its Job makes it anew.
    """
    if snapshot.images.get(build.key) is not None:
        return ()
    jobs = (*snapshot.jobs, *snapshot.other_jobs)
    return tuple(sorted(trusted_digests(snapshot.model, jobs, snapshot.revisions).get(build.key, ())))


def _before(snapshot: Snapshot, profile: DeviceProfile, build: Build) -> Mapping[str, Any] | None:
    """The build that a new one takes the place of, as JSON: the newest; for an alternative, the one most like it.

    Where none of them has a DaemonSet, it is what the newest Job was to make.
    """
    name = profile.metadata.name
    revisions = sorted(snapshot.revisions, key=lambda revision: (revision.created, revision.name), reverse=True)
    jobs = sorted(snapshot.jobs, key=age, reverse=True)
    ran = [one.build for one in revisions if one.profile == name]
    asked = [one.build for one in jobs if one.profile == name and one.key != build.key and one.build]
    kind = build.reference is not None
    for builds in (ran, asked):
        ours = [one for one in builds if ("reference" in one) == kind]
        if ours:
            return min(ours, key=lambda one: len(changes(build, one))) if kind else ours[0]
    return None


def why(start: StartBuild, settings: Settings) -> str:
    """The changed fields, and what becomes of a build whose base image alone is another, for a sentence."""
    fields = [change.field for change in start.reason]
    if fields == ["base"] and settings.signing_secret:
        return ": base changed; it is not compiled again where the build before it is signed by the same key"
    changed = f"{', '.join(fields)} changed" if fields else ""
    if start.earlier:
        kept = f"it is not compiled again where the registry has the image {start.earlier.digest}"
        return f": {changed}; {kept}" if changed else f"; {kept}"
    return f": {changed}" if changed else ""
