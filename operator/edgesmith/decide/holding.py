"""Which image is held on which nodes: that of the revision that they would go back to.

A kubelet deletes the images of no container where the disk gets full. So that going back needs no link, a pod that does
nothing uses that image, on every node that runs another revision of the variant or makes one ready.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.names import daemon_set_name, holding_name
from edgesmith.decide.plan import Delete, HoldImage
from edgesmith.decide.rollout import Course
from edgesmith.decide.snapshot import Snapshot


def held(snapshot: Snapshot, courses: Iterable[Course], profiles: Mapping[str, DeviceProfile]) -> tuple[HoldImage, ...]:
    """The images that are to be held, one for each variant at most.

    Args:
        snapshot: Everything that is known of the EdgeModel.
        courses: Where its variants stand.
        profiles: The profiles that the spec names and that can be used, by name.
    """
    if not snapshot.model.spec.rollout.hold_previous:
        return ()
    return tuple(found for course in courses if (found := _held(snapshot, course, profiles)))


def _held(snapshot: Snapshot, course: Course, profiles: Mapping[str, DeviceProfile]) -> HoldImage | None:
    """What nodes of one variant go back to, where another image is run there."""
    stable, profile = course.stable, profiles.get(course.variant.profile)
    if stable is None or profile is None:
        return None
    images = {one.revision: one.image for one in snapshot.revisions if one.profile == course.variant.profile}
    image = images.get(stable.revision)
    # The target's DaemonSet may be made in this very pass.
    others = {name for name, other in images.items() if other != image} | (
        {course.target.revision} if course.target and course.target.revision not in images else set()
    )
    return HoldImage(profile, stable.revision, image, tuple(sorted(others))) if image and others else None


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
