"""Trial pods as decisions know them. Pure; every field is checked."""

from __future__ import annotations

from edgesmith.api.names import TRIAL_LABEL
from edgesmith.cluster.fields import Raw, at, mapping, mappings, number, text
from edgesmith.cluster.parse import labels_of, pod, selftest
from edgesmith.cluster.parse_room import has_found
from edgesmith.decide.snapshot import Ended, TrialPod
from edgesmith.resources.room import ROOM


def trial_pod(raw: Raw) -> TrialPod:
    """A pod that tries finalists; each of its containers is named after one."""
    seen, phase = pod(raw), text(raw, "status", "phase")
    statuses = list(mappings(at(raw, "status", "initContainerStatuses")))
    statuses += mappings(at(raw, "status", "containerStatuses"))
    # Where the node ended the pod, or somebody deleted it, a container that was killed says nothing about its model.
    killed = seen.terminating or bool(text(raw, "status", "reason"))
    found = {text(status, "name"): _ended(status, killed=killed) for status in statuses if text(status, "name") != ROOM}
    return TrialPod(
        name=seen.name,
        trial=labels_of(raw).get(TRIAL_LABEL, ""),
        node=seen.node,
        terminating=seen.terminating,
        over=phase in ("Failed", "Succeeded"),
        ended={name: ended for name, ended in found.items() if ended is not None},
        waiting=_waiting(seen.waiting, seen.waiting_message, seen.stage),
        lacks=seen.lacks,
        roomy=has_found(raw),
    )


def _ended(status: Raw, *, killed: bool) -> Ended | None:
    """How a finalist's container ended; None where it has not, or its end says nothing."""
    terminated = mapping(at(status, "state", "terminated"))
    if not terminated:
        return None
    finding = selftest(terminated.get("message"))
    if finding is None and killed:
        return None
    code = int(number(terminated.get("exitCode")) or 0)
    return Ended(finding, ", ".join(part for part in (text(terminated, "reason"), f"exit code {code}") if part))


def _waiting(reason: str | None, message: str | None, stage: str) -> str | None:
    if reason:
        return f"{reason}: {message}" if message else reason
    return stage if "cannot be scheduled" in stage else None
