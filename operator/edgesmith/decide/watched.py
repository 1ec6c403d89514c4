"""Which revisions are watched for drift, and what their nodes say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.feedback import NOTHING
from edgesmith.api.names import daemon_set_name, reporting_name
from edgesmith.decide.drift import Drifting, drifting, source_of
from edgesmith.decide.plan import ApplyRevision, Delete, ReportDrift
from edgesmith.decide.rollout import Course
from edgesmith.decide.serving import OWN_SERVER
from edgesmith.decide.snapshot import Snapshot
from edgesmith.decide.view import View


class SourceOf(NamedTuple):
    """What a revision was built of."""

    uri: str
    sha256: str


def watched(
    snapshot: Snapshot,
    courses: Iterable[Course],
    profiles: Mapping[str, DeviceProfile],
    applied: Iterable[ApplyRevision],
) -> tuple[ReportDrift, ...]:
    """The revisions that nodes are to run whose servers watch for drift: those of our own server, where they may.

    Args:
        snapshot: Everything that is known of the EdgeModel.
        courses: Where its variants stand.
        profiles: The profiles that the spec names and that can be used, by name.
        applied: The revisions that the spec asks for; their DaemonSets may be made in this very pass.
    """
    if snapshot.model.spec.feedback.privacy == NOTHING:
        return ()
    images = {one.revision: one.image for one in snapshot.revisions} | {one.revision: one.image for one in applied}
    found = ((profiles.get(course.variant.profile), course.wanted) for course in courses)
    return tuple(
        ReportDrift(profile, one.revision, image)
        for profile, one in found
        if profile and one and (image := images.get(one.revision)) and profile.spec.runtime.server == OWN_SERVER
    )


def unwatched(snapshot: Snapshot, wanted: Iterable[ReportDrift], kept: Collection[str]) -> tuple[Delete, ...]:
    """DaemonSets that report of a revision that is not rolled out any more, or must not.

    Args:
        snapshot: Everything that is known of the EdgeModel.
        wanted: What is to be reported of.
        kept: Profiles of which nothing is concluded, since they cannot be used or read.
    """
    names = {one.revision for one in wanted}
    allowed = snapshot.model.spec.feedback.privacy != NOTHING
    model = snapshot.model.metadata.name
    return tuple(
        Delete("DaemonSet", reporting_name(daemon_set_name(model, one.revision)), "Nobody asks for its word on drift.")
        for one in sorted(snapshot.reporting, key=lambda one: one.revision)
        if one.revision not in names and not (allowed and one.profile in kept)
    )


def sources_of(snapshot: Snapshot, applied: Iterable[ApplyRevision]) -> dict[str, SourceOf]:
    """What revisions were built of, as far as their DaemonSets say.

    Args:
        snapshot: Everything that is known of the EdgeModel.
        applied: The revisions that the spec asks for; their DaemonSets may be made in this very pass.
    """
    found = {one.revision: SourceOf(one.build.source.uri, one.build.source.sha256 or "") for one in applied}
    for revision in snapshot.revisions:
        said = revision.build.get("source")
        uri, sha256 = (said.get("uri"), said.get("sha256")) if isinstance(said, Mapping) else (None, None)
        if isinstance(uri, str) and isinstance(sha256, str):
            found.setdefault(revision.revision, SourceOf(uri, sha256))
    return {revision: source for revision, source in found.items() if source.sha256}


def fleet_drift(view: View, courses: Sequence[Course], sources: Mapping[str, SourceOf]) -> Drifting | None:
    """What is to be said of drift; None where nobody watches.

    Args:
        view: The snapshot, seen by profile.
        courses: Where the variants stand.
        sources: What revisions were built of; see `sources_of`.
    """
    snapshot = view.snapshot
    model = snapshot.model
    if model.spec.feedback.privacy == NOTHING:
        return None
    servers = {one.metadata.name: one.spec.runtime.server for one in view.resolved.profiles}
    own = [one for one in courses if servers.get(one.variant.profile) == OWN_SERVER]
    if not own:
        return None
    wanted = [course.wanted for course in own]
    # One that has not held its steps may be left again for the one before.
    before = [course.stable for course in own if not (course.wanted and course.wanted.proven)]
    rolled_out, left = (
        [sources[one.revision].sha256 for one in states if one and one.revision in sources]
        for states in (wanted, before)
    )
    return drifting(
        snapshot.reports,
        (
            (node, one.revision if one else None)
            for course, one in zip(own, wanted, strict=True)
            for node in course.variant.nodes
        ),
        of=source_of(rolled_out) if rolled_out else "",
        still={*rolled_out, *left},
        uid=model.metadata.uid,
        previous=model.status.get("drift") or {},
        now=view.now,
    )
