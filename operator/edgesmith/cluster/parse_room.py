"""What stands of a look for room on a node's disk: in a DaemonSet that stages a revision, and in its pods."""

from __future__ import annotations

from itertools import pairwise

from edgesmith.cluster.fields import Raw, at, mappings, number, text
from edgesmith.decide.room import Room
from edgesmith.resources.room import ROOM, SIZE


def room_in(raw: Raw) -> Room | None:
    """What the pods of a DaemonSet look for; None where they look for nothing."""
    for container in mappings(at(raw, "spec", "template", "spec", "initContainers")):
        if text(container, "name") == ROOM:
            words = container.get("args")
            listed = [str(word) for word in words] if isinstance(words, list) else []
            size = next((after for word, after in pairwise(listed) if word == SIZE), "")
            return Room(text(container, "image"), int(size)) if size.isdecimal() else None
    return None


def open_look(raw: Raw) -> Raw | None:
    """The status of a pod's container that looks for room, until it has found some."""
    status = _look(raw)
    return None if status is None or _done(status) else status


def has_found(raw: Raw) -> bool:
    """Whether a pod has looked for room and found it."""
    status = _look(raw)
    return status is not None and _done(status)


def _look(raw: Raw) -> Raw | None:
    statuses = mappings(at(raw, "status", "initContainerStatuses"))
    return next((status for status in statuses if text(status, "name") == ROOM), None)


def _done(status: Raw) -> bool:
    return number(at(status, "state", "terminated", "exitCode")) == 0
