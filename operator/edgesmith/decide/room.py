"""Which images are so large that a node looks for room on its disk before it pulls them, and what it looks with."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from edgesmith_builder.contract import BuildReport

AGAIN = timedelta(minutes=10)
"""After how long a node that had no room for a revision is asked again."""


class Room(NamedTuple):
    """What a node needs for an image, and the image that it looks with."""

    base: str
    """The base image by digest, in the repository of the model's."""
    size: int
    """Bytes that the image adds on the disk of a node that has its base."""


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
        return self.at + AGAIN


def room_for(image: str, report: BuildReport | None) -> Room | None:
    """What a node needs for an image; None where it is not large, or nothing says so.

    Args:
        image: By digest.
        report: The image's own.
    """
    if report is None or report.base is None or report.footprint is None:
        return None
    return Room(f"{image.partition('@')[0]}@{report.base}", report.footprint)
