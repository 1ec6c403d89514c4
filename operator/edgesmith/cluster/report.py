"""Writes into the status of an EdgeModel that it cannot be read, and leaves everything else there as it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from edgesmith.api.conditions import ConditionType, Reason
from edgesmith.cluster.client import Client, Object
from edgesmith.cluster.errors import Missing
from edgesmith.cluster.fields import Raw, mappings, text
from edgesmith.cluster.unreadable import Unreadable

_REPLACED = (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED)


async def report_unreadable(client: Client, found: Unreadable, now: datetime) -> bool:
    """Write Ready=False and Stalled=True into the status of an EdgeModel that cannot be read, as one looked at.

    Who reads a status by its `observedGeneration`, as kstatus and Argo CD do, would wait for ever without the latter.
    Every other condition and field of the status is written back as it was read, so that it stays: what an apply leaves
    out goes away, and which revisions were proven is kept there. Where the API server refuses that, nothing is written.

    Args:
        client: The API server.
        found: The EdgeModel.
        now: When.

    Returns:
        Whether something had to be written.

    Raises:
        ClusterError: The API server could not be asked, or refuses the status.
    """
    conditions = _conditions(found, now)
    told = _by_type(conditions) == _by_type(found.status.get("conditions"))
    if told and found.status.get("observedGeneration") == found.generation:
        return False
    status = {**found.status, "observedGeneration": found.generation, "conditions": conditions}
    try:
        await client.apply_status(found.kind, found.namespace, found.name, status)
    except Missing:
        return False
    return True


def _conditions(found: Unreadable, now: datetime) -> list[Object]:
    before = _by_type(found.status.get("conditions"))

    def condition(kind: ConditionType, status: str) -> Object:
        was = before.get(kind, {})
        since = text(was, "lastTransitionTime") if was.get("status") == status else ""
        return {
            "type": str(kind),
            "status": status,
            "reason": str(Reason.UNREADABLE),
            "message": found.message,
            "lastTransitionTime": since or now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "observedGeneration": found.generation,
        }

    kept = [dict(one) for kind, one in before.items() if kind not in _REPLACED]
    return [condition(ConditionType.READY, "False"), condition(ConditionType.STALLED, "True"), *kept]


def _by_type(conditions: Any) -> dict[str, Raw]:
    return {text(condition, "type"): condition for condition in mappings(conditions) if text(condition, "type")}
