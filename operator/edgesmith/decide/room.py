"""Which images are so large that a node looks for room on its disk before it pulls them, and what it looks with."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from edgesmith_builder.contract import LARGE, BuildReport

AGAIN = timedelta(minutes=10)
"""After how long a node that had no room is asked again."""
NOTE_LIMIT = 300
"""Characters that are kept of what a disk lacks."""


class Room(NamedTuple):
    """What a node needs for an image, or for several, and the image that it looks with."""

    base: str
    """The base image by digest, in the repository of the model's."""
    size: int
    """Bytes that are added on the disk of a node that has the base."""


class NoRoom(NamedTuple):
    """That a node had no room for a revision when it looked last."""

    revision: str
    at: datetime
    """When that was found, by the hub's clock."""
    note: str
    """What is free and what is needed, as the end of a sentence."""

    @property
    def again(self) -> datetime:
        """When it is asked again."""
        return again_after(self.at)


def again_after(looked: datetime) -> datetime:
    """When a node is asked again that had no room at a time."""
    return looked + AGAIN


def room_for(image: str, report: BuildReport | None) -> Room | None:
    """What a node needs for an image; None where it is not large, or nothing says so.

    Args:
        image: By digest.
        report: The image's own.
    """
    if report is None or report.base is None or report.footprint is None or report.footprint <= LARGE:
        return None
    return Room(image_beside(image, report.base), report.footprint)


def image_beside(image: str, digest: str | None) -> str:
    """Another image of the same repository; the image itself where there is no other one.

    Args:
        image: By digest.
        digest: The other one's.
    """
    return f"{image.partition('@')[0]}@{digest}" if digest else image
