"""Which revisions are watched for drift, and what their nodes say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from edgesmith.api.feedback import NOTHING
from edgesmith.api.names import daemon_set_name, reporting_name
from edgesmith.decide.drift import Drifting, drifting, source_of
from edgesmith.decide.plan import ApplyRevision, Delete
from edgesmith.decide.rollout import Course
from edgesmith.decide.serving import OWN_SERVER
from edgesmith.decide.snapshot import Snapshot
from edgesmith.decide.view import View


def watched(snapshot: Snapshot, revisions: Iterable[ApplyRevision]) -> tuple[ApplyRevision, ...]:
    """The revisions that the spec asks for whose servers watch for drift: those of our own server, where they may."""
    if snapshot.model.spec.feedback.privacy == NOTHING:
        return ()
    return tuple(one for one in revisions if one.profile.spec.runtime.server == OWN_SERVER)


def unwatched(snapshot: Snapshot, wanted: Iterable[ApplyRevision], kept: Collection[str]) -> tuple[Delete, ...]:
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


def fleet_drift(view: View, courses: Sequence[Course]) -> Drifting | None:
    """What is to be said of drift; None where nobody watches."""
    snapshot = view.snapshot
    model = snapshot.model
    if model.spec.feedback.privacy == NOTHING:
        return None
    servers = {one.metadata.name: one.spec.runtime.server for one in view.resolved.profiles}
    own = [one for one in courses if servers.get(one.variant.profile) == OWN_SERVER]
    if not own:
        return None
    targets = [(course, course.target.revision if course.target else None) for course in own]
    builds = [view.builds.get(course.variant.profile) for course in own]
    return drifting(
        snapshot.reports,
        ((node, target) for course, target in targets for node in course.variant.nodes),
        of=source_of([state.build.source.sha256 or "" for state in builds if state]),
        uid=model.metadata.uid,
        previous=model.status.get("drift") or {},
        now=view.now,
    )
