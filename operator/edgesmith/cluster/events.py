"""Events on EdgeModels, for `kubectl describe` and `kubectl events`."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from edgesmith.api import edgemodel
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import API_VERSION, GROUP
from edgesmith.decide.plan import Event

COMPONENT = f"{GROUP}/operator"
_NOTE_LIMIT = 1024
"""Of an event's message: a longer one is refused."""


def event_manifest(model: EdgeModel, event: Event, now: datetime, instance: str) -> dict[str, Any]:
    """One event as an object of the core group: the group that is also read to explain pods that cannot start.

    Args:
        model: What it is about.
        event: What happened.
        now: When.
        instance: Which operator says so: the pod's name.
    """
    metadata = model.metadata
    message = event.message if len(event.message) <= _NOTE_LIMIT else event.message[: _NOTE_LIMIT - 1] + "…"
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata.name}.{uuid.uuid4().hex[:16]}", "namespace": metadata.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": edgemodel.KIND,
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": message,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
        "source": {"component": COMPONENT, "host": instance[:128]},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance[:128],
    }
