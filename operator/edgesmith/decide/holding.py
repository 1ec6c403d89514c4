"""Which images are held on which nodes: those of the revisions that they would go back to, or are to.

A kubelet deletes the images of no container where the disk gets full. So that going back needs no link, a pod that does
nothing uses such an image, on every node that runs another revision of the variant or makes one ready.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.names import daemon_set_name, holding_name
from edgesmith.decide.fleet import RevisionState
from edgesmith.decide.plan import ApplyRevision, Delete, HoldImage
from edgesmith.decide.rollout import Course
from edgesmith.decide.snapshot import Snapshot


def held(
    snapshot: Snapshot,
    courses: Iterable[Course],
    profiles: Mapping[str, DeviceProfile],
    applied: Iterable[ApplyRevision],
) -> tuple[HoldImage, ...]:
    """The images that are to be held: for each variant one, and one more while nodes are on their way back.

    Args:
        snapshot: Everything that is known of the EdgeModel.
        courses: Where its variants stand.
        profiles: The profiles that the spec names and that can be used, by name.
        applied: The revisions that the spec asks for; their DaemonSets may be made in this very pass.
    """
    if not snapshot.model.spec.rollout.hold_previous:
        return ()
    images: dict[str, dict[str, str]] = defaultdict(dict)
    for one in snapshot.revisions:
        images[one.profile][one.revision] = one.image
    for apply in applied:
        images[apply.profile.metadata.name][apply.revision] = apply.image
    already = {one.revision for one in snapshot.holding}
    found = (
        _held(revision, profiles.get(name := course.variant.profile), images[name])
        for course in courses
        for revision in _to_hold(course, images[course.variant.profile], already)
    )
    return tuple(hold for hold in found if hold)


def _to_hold(course: Course, images: Mapping[str, str], already: Collection[str]) -> Iterator[RevisionState]:
    """What nodes of a variant would go back to; and what they are to go back to, until the last one has.

    A node that cannot go back yet, since its disk is full or it is away, has nothing else that uses the image; nor has
    one that is to make it ready and has not begun to.
    """
    if course.stable:
        yield course.stable
    target = course.target
    if target and target.revision in already and not target.rolled_back:
        image = images.get(target.revision)
        if any(images.get(node.beside or node.label or "", image) != image for node in course.variant.nodes):
            yield target


def _held(revision: RevisionState, profile: DeviceProfile | None, images: Mapping[str, str]) -> HoldImage | None:
    """What holds the image of a revision of one variant, where another image is run there.

    Args:
        revision: The revision.
        profile: The variant's.
        images: Revision to image.
    """
    image = images.get(revision.revision)
    if profile is None or image is None:
        return None
    others = sorted(name for name, other in images.items() if other != image)
    return HoldImage(profile, revision.revision, image, tuple(others)) if others else None


def released(snapshot: Snapshot, wanted: Iterable[HoldImage], kept: Collection[str]) -> tuple[Delete, ...]:
    """DaemonSets that hold an image that no node goes back to any more.

    Args:
        snapshot: Everything that is known of the EdgeModel.
        wanted: What is to be held.
        kept: Profiles of which nothing is concluded, since they cannot be used or read.
    """
    names = {one.revision for one in wanted}
    model = snapshot.model.metadata.name
    return tuple(
        Delete("DaemonSet", holding_name(daemon_set_name(model, one.revision)), "No node goes back to it any more.")
        for one in sorted(snapshot.holding, key=lambda one: one.revision)
        if one.revision not in names and one.profile not in kept
    )
