"""What is known of a trial: kept in the status of the EdgeModel, so that a restart loses nothing and gates can change.

Measurements are kept apart from what follows from them: another objective or gate judges the same measurements anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from edgesmith.api.trial_status import FinalistStatus, TrialStatus
from edgesmith.decide.entries import entries_of, time_of, time_text
from edgesmith.decide.room import image_beside
from edgesmith.decide.scores import scores
from edgesmith.decide.snapshot import Ended
from edgesmith.decide.verdicts import DIED
from edgesmith_builder.contract import BuildReport, MetricName

_MOST = 16
"""Finalists that the CRD takes."""
_SENTENCE = 900
"""Characters of a finding; with the words around it, it must fit into the 1024 of the CRD."""
_TIMES = ("started_time", "completed_time")
_MEASURED = ("latency", "median", "memory", "reason", "message", "verdict")

Key = tuple[str, str]
"""Profile and build key."""


def trials_of(status: Mapping[str, Any]) -> dict[Key, TrialStatus]:
    """Read the trials; an entry that cannot be read is left out.

    Args:
        status: The EdgeModel's status as it stands.
    """
    return {(one.profile, one.build_key): one for one in entries_of(status, "trials", TrialStatus)}


def in_the_past(record: TrialStatus, now: datetime) -> TrialStatus:
    """The record with no time that is still to come, which counts as now.

    Where the hub's clock was set back, a node would rest, or be waited for, until the clock is there again.

    Args:
        record: What is known.
        now: The hub's time.
    """
    told = {name: time_text(now) for name in _TIMES if _is_later(getattr(record, name), now)}
    full = [
        one.model_copy(update={"time": time_text(now)}) if _is_later(one.time, now) else one
        for one in record.full or ()
    ]
    looked = {"full": tuple(full)} if full != [*(record.full or ())] else {}
    return record.model_copy(update=told | looked) if told or looked else record


def finalists_of(
    report: BuildReport, image: str, metric: MetricName, alternative: str | None = None
) -> tuple[FinalistStatus, ...]:
    """The finalists of a build, not tried yet, in the ladder's order.

    Args:
        report: The build's, with the finalists that keep the gates.
        image: One of its images by digest; the one of a finalist that names none.
        metric: The build's.
        alternative: Whose build it is, where there are alternatives.
    """
    return tuple(
        FinalistStatus(
            alternative=alternative,
            precision=one.precision,
            image=image_beside(image, one.digest),
            size=one.size,
            **scores(report.of(one), metric),
        )
        for one in report.finalists
    )


def carried_on(record: TrialStatus, finalists: tuple[FinalistStatus, ...]) -> TrialStatus | None:
    """A record with the finalists that keep the gates now; None where it says nothing of any of them.

    What was measured stays: also of those that other gates let in before, since they may do so again. One that was let
    in only now is tried on the same node, once it is the node's turn.

    Args:
        record: What is known.
        finalists: Those that keep the gates, as `finalists_of` has them.
    """
    known = {one.image: one for one in record.finalists}
    found = tuple(
        known[one.image].model_copy(update={"alternative": one.alternative}) if one.image in known else one
        for one in finalists
    )
    if not any(one.image in known for one in found):
        return None
    names, images = {one.name for one in found}, {one.image for one in found}
    before = (one for one in record.finalists if one.reason and one.name not in names and one.image not in images)
    record = record.model_copy(update={"finalists": (*found, *before)[:_MOST]})
    if record.node is None or all(one.image in known for one in found):
        return record
    return record.model_copy(update={"started_time": None, "completed_time": None})


def measured(one: FinalistStatus, ended: Ended) -> FinalistStatus:
    """A finalist with what its self-test left."""
    found = ended.finding
    if found is None:
        message = f"Its self-test ended without a finding on this device: {ended.words[:_SENTENCE]}"
        return one.model_copy(update={"reason": DIED, "message": message})
    return one.model_copy(
        update={
            "latency": _duration(found.p95_ms),
            "median": _duration(found.p50_ms),
            "memory": found.memory_bytes,
            "reason": found.reason,
            "message": found.message[:_SENTENCE] or None,
        }
    )


def unmeasured(one: FinalistStatus) -> FinalistStatus:
    """A finalist as it was before it was tried."""
    return one.model_copy(update=dict.fromkeys(_MEASURED))


def shared_facts(devices: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What several self-tests say alike of the device: those of two engines each name their own."""
    found: dict[str, str] | None = None
    for device in devices:
        facts = {name: str(value) for name, value in device.items() if value is not None}
        found = facts if found is None else dict(found.items() & facts.items())
    return dict(sorted((found or {}).items()))


def time_left(record: TrialStatus, deadline: timedelta, now: datetime, *, ready: bool = True) -> timedelta:
    """How long a node has left to try the finalists; all of it where that did not begin.

    Args:
        record: What is known.
        deadline: `progressDeadline`: one for each finalist, or one in all while the node is NotReady.
        now: The hub's time.
        ready: Whether the node is Ready.
    """
    began = time_in(record.started_time) or now
    return deadline * (len(record.finalists) if ready else 1) - (now - began)


def time_in(text: str | None) -> datetime | None:
    """The time that a status has; None where there is none that can be read."""
    try:
        return time_of(text or "")
    except (ValueError, OverflowError):
        return None


def _is_later(text: str | None, now: datetime) -> bool:
    """Whether a time is still to come."""
    time = time_in(text)
    return time is not None and time > now


def _duration(milliseconds: float | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds:.3f}ms"
