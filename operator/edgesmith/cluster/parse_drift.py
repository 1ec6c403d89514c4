"""Reporters' pods as decisions know them. Pure; every field is checked: the words come from a device."""

from __future__ import annotations

from datetime import UTC, datetime
from sys import intern
from typing import Any

from edgesmith.api.names import EPISODE_LABEL, REPORTS_LABEL, RETRAINING_LABEL
from edgesmith.cluster.fields import Raw, at, json_object, mappings, number, text
from edgesmith.cluster.parse import labels_of, selftest, termination_messages
from edgesmith.decide.drift import DriftVerdict, Report
from edgesmith.decide.snapshot import RetrainingJob

_VERSION = 1
_STATES = ("Learning", "Steady", "Drifted")
_WORST = 5
_LONGEST_NAME = 80
_LATEST = 253402300799


def report(raw: Raw) -> Report:
    """A pod that reports; what it told is the message of its container's last end."""
    statuses = list(mappings(at(raw, "status", "containerStatuses")))
    messages = [message for status in statuses for message in termination_messages(status)]
    runs = any(at(status, "state", "running") is not None for status in statuses)
    failure = selftest(messages[0]) if messages and not runs else None
    return Report(
        node=intern(text(raw, "spec", "nodeName")),
        revision=labels_of(raw).get(REPORTS_LABEL, ""),
        verdict=next((found for message in messages if (found := verdict(message)) is not None), None),
        failure=f"{failure.reason}: {failure.message.rstrip('.')}" if failure and not failure.passed else "",
    )


def retraining_job(raw: Raw) -> RetrainingJob:
    """A Job that an episode of drift started."""
    labels = labels_of(raw)
    holds = {text(one, "type"): one for one in mappings(at(raw, "status", "conditions")) if one.get("status") == "True"}
    failed = holds.get("Failed")
    return RetrainingJob(
        name=text(raw, "metadata", "name"),
        episode=labels.get(EPISODE_LABEL, ""),
        what=labels.get(RETRAINING_LABEL, ""),
        finished=not holds.keys().isdisjoint(("Complete", "Failed")),
        failure=text(failed, "reason") or "Failed" if failed is not None else "",
    )


def verdict(message: Any) -> DriftVerdict | None:
    """What a termination message says; None where it is no verdict, or of a version that is not known.

    Format: `edgesmith_runtime.drift.verdict` writes one JSON object with version, baseline, state, since in seconds,
    samples, and features of name, value and limit.
    """
    found = json_object(message.strip()) if isinstance(message, str) else None
    if found is None or found.get("version") != _VERSION:
        return None
    state, since = found.get("state"), number(found.get("since"))
    if state not in _STATES or since is None or not 0 <= since <= _LATEST:
        return None
    features = [
        (intern(name[:_LONGEST_NAME]), value, limit)
        for item in mappings(found.get("features"))
        if (name := text(item, "name"))
        and (value := number(item.get("value"))) is not None
        and (limit := number(item.get("limit"))) is not None
    ]
    return DriftVerdict(state, datetime.fromtimestamp(int(since), UTC), tuple(features[:_WORST]))
