"""What a trial needs of a node's disk, and which nodes had no room for it when they looked last.

A trial pulls every finalist, so it is all of them together that a node looks for. One without room has not failed: it
is not among those that were lost, another one is asked, and after a while it is asked again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime

from edgesmith.api.trial_status import FullDisk, TrialStatus
from edgesmith.decide.builds import BuildState
from edgesmith.decide.entries import time_text
from edgesmith.decide.room import NOTE_LIMIT, Room, again_after, image_beside
from edgesmith.decide.trial_records import time_in
from edgesmith_builder.contract import LARGE

MOST = 8
"""How many nodes are asked before the first of them is asked again: with more, a status could get too long."""


def trial_room(images: Collection[str], built: Iterable[BuildState]) -> Room | None:
    """What a node needs for several finalists together; None where they are not large, or nothing says so.

    Layers that they share are counted with each. One that no report gives a footprint for counts with its model's
    layer, as it comes and unpacked.

    Args:
        images: Those that are to be pulled, by digest.
        built: The builds that they are of.
    """
    reports = [(one.image, one.report) for one in built if one.image and one.report]
    sizes = {
        image_beside(image, one.digest): one.footprint if one.footprint is not None else 2 * one.size
        for image, report in reports
        for one in report.finalists
    }
    size = sum(sizes.get(image, 0) for image in images)
    base = next((image_beside(image, report.base) for image, report in reports if report.base), None)
    return Room(base, size) if base and size > LARGE else None


def noted(record: TrialStatus, node: str, note: str, now: datetime) -> TrialStatus:
    """The record with a node that has no room."""
    others = [one for one in record.full or () if one.node != node]
    found = (*others, FullDisk(node=node, time=time_text(now), message=note[:NOTE_LIMIT]))
    return record.model_copy(update={"full": found[-MOST:]})


def cleared(record: TrialStatus, node: str) -> TrialStatus:
    """The record without a node, which has found room."""
    others = tuple(one for one in record.full or () if one.node != node)
    return record if others == (record.full or ()) else record.model_copy(update={"full": others or None})


def resting(record: TrialStatus, now: datetime) -> tuple[FullDisk, ...]:
    """The nodes that are not asked yet again, the one that is asked first of them first."""
    return tuple(one for one in sorted(record.full or (), key=_looked) if now < again_after(_looked(one)))


def until_again(rest: Sequence[FullDisk], now: datetime) -> float:
    """Seconds until the first of some nodes is asked again."""
    return (again_after(_looked(rest[0])) - now).total_seconds()


def _looked(one: FullDisk) -> datetime:
    """When a node looked last; one of which nobody can read that is asked before all others."""
    return time_in(one.time) or datetime.min.replace(tzinfo=UTC)


def without_room(records: Iterable[TrialStatus]) -> dict[str, str]:
    """What the disks of nodes lack for trials that go on, by the node's name; the end of a sentence."""
    return {one.node: one.message for record in records if not record.completed_time for one in record.full or ()}
