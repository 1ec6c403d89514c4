"""The status of EdgeModels as it is written: whole, and only where it does not read like that already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgesmith.api.status import EdgeModelStatus
from edgesmith.cluster.client import Client, Object
from edgesmith.cluster.errors import Missing
from edgesmith.cluster.kinds import EDGE_MODEL
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.table import ObjectKey
from edgesmith.decide.snapshot import Snapshot


class Statuses:
    """Writes statuses."""

    def __init__(self, client: Client, objects: Objects) -> None:
        """Know of none yet.

        Args:
            client: The API server.
            objects: Gets what is written.
        """
        self._client = client
        self._objects = objects
        self._read: dict[ObjectKey, tuple[Mapping[str, Any], Object | None]] = {}
        """The status that was compared last, and how it would be written; for speed alone."""
        self._left: dict[ObjectKey, tuple[str, ...]] = {}
        """What could not be read after a write: it is another manager's, and no further write takes it away."""

    async def write(self, status: EdgeModelStatus, snapshot: Snapshot) -> bool:
        """Write a status unless it reads like that already; says whether it was written.

        Where the EdgeModel is gone, nothing is: one of the same name that was made since has a pass of its own.

        Raises:
            ClusterError: It could not be written.
        """
        metadata = snapshot.model.metadata
        wanted = status_manifest(status)
        known = self._objects.models.get(metadata.namespace, metadata.name)
        if known is None or known.metadata.uid != metadata.uid:
            return False
        key = (metadata.namespace, metadata.name)
        spoiled = known.unread and known.unread != self._left.get(key)
        if not spoiled and self._reading(key, known.status) == wanted:
            return False
        try:
            result = await self._client.apply_status(EDGE_MODEL, metadata.namespace, metadata.name, wanted)
        except Missing:
            # Deleted in mid-pass: its children go with it, and the next pass takes its labels off the nodes.
            return False
        self._objects.put(EDGE_MODEL, result)
        found = self._objects.models.get(*key)
        self._left[key] = found.unread if found else ()
        return True

    def forget(self, namespace: str, name: str) -> None:
        """Forget an EdgeModel that is gone."""
        self._read.pop((namespace, name), None)
        self._left.pop((namespace, name), None)

    def _reading(self, key: ObjectKey, live: Mapping[str, Any]) -> Object | None:
        """How a status that was read would be written; None where it cannot be read."""
        before = self._read.get(key)
        if before is None or before[0] is not live:
            before = self._read[key] = (live, _as_written(live))
        return before[1]


def status_manifest(status: EdgeModelStatus) -> Object:
    """A status as it is written: what is None is left out, so that it goes away."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _as_written(live: Mapping[str, Any]) -> Object | None:
    try:
        return status_manifest(EdgeModelStatus.model_validate(live))
    except ValueError:
        return None
