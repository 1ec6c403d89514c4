"""The container that looks for room on a node's disk: it runs before the image is pulled, from the base image alone."""

from __future__ import annotations

from typing import Any

from edgesmith.decide.room import Room
from edgesmith.resources.common import TERMINATION_LOG, container_security

ROOM = "room"
"""The container's name."""
SIZE = "--bytes"
SCRATCH_VOLUME = "scratch"
"""The pod's volume that it writes to."""
DISK_FULL = "DiskFull"
"""The reason of its termination message where there is none; the runtime's word."""
_MEMORY = "64Mi"
"""The limit of a Python interpreter that looks and ends; it uses some 10 MB."""


def container(room: Room, scratch: str) -> dict[str, Any]:
    """The init container. It fails where there is no room, and the kubelet starts it again, later each time.

    Args:
        room: What is needed, and the image that looks.
        scratch: Where the pod's volume is that outlives starts of the machine: it says there that there was room, since
            the image may be on the disk from then on.
    """
    return {
        "name": ROOM,
        "image": room.base,
        "args": [ROOM, SIZE, str(room.size), "--found", f"{scratch}/{ROOM}", "--termination-log", TERMINATION_LOG],
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": _MEMORY}},
        "securityContext": container_security(),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": [{"name": SCRATCH_VOLUME, "mountPath": scratch}],
    }
