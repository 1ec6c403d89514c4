"""A plan as calls, in the order of its fields: a DaemonSet before its nodes, the status last, events after the status.

Whatever is as it should be already is not written. An error ends the plan where it stands: what follows depends on what
came before, and the next pass reads where it was.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from edgesmith.api.conditions import ConditionType, Reason
from edgesmith.api.names import (
    ATTEMPT_ANNOTATION,
    COMPLETED_ANNOTATION,
    PROVEN_ANNOTATION,
    WITHDRAWN_ANNOTATION,
    node_label,
)
from edgesmith.api.status import Condition, EdgeModelStatus
from edgesmith.cluster.client import Client, Object
from edgesmith.cluster.errors import ClusterError, Missing, Stalled
from edgesmith.cluster.events import event_manifest
from edgesmith.cluster.kinds import DAEMON_SET, EDGE_MODEL, EVENT, JOB, NODE, kind_of
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.parse import without_bookkeeping
from edgesmith.decide.plan import Annotate, Plan
from edgesmith.decide.snapshot import Snapshot
from edgesmith.resources import build_job, daemon_set, service

log = logging.getLogger(__name__)

REAPPLY_SECONDS = 600.0
"""After how long an object that is not watched (the Service) is applied again, whoever changed it."""

_VOLATILE = ("resourceVersion", "generation", "uid", "creationTimestamp", "deletionTimestamp")


@dataclass
class Done:
    """What a pass changed; counted, for the log and the metrics."""

    builds: int = 0
    applied: int = 0
    moves: int = 0
    deleted: int = 0
    status: bool = False
    events: int = 0
    names: list[str] = field(default_factory=list)
    """What was changed, in words."""

    def __bool__(self) -> bool:
        return bool(self.builds or self.applied or self.moves or self.deleted or self.status)


class _Applied(NamedTuple):
    intent: str
    """Hash of what we applied."""
    result: str
    """Hash of what the API server made of it."""
    at: float


class Applier:
    """Applies plans."""

    def __init__(self, client: Client, objects: Objects, *, instance: str, clock: Callable[[], float]) -> None:
        """Make an applier.

        Args:
            client: The API server.
            objects: Told of everything that is written, so that the next pass sees it.
            instance: The name events are reported under.
            clock: Seconds that only grow.
        """
        self._client = client
        self._objects = objects
        self._instance = instance
        self._clock = clock
        self._memory: dict[tuple[str, str, str], _Applied] = {}

    async def apply(self, plan: Plan, snapshot: Snapshot, now: datetime) -> Done:
        """Do what a plan says.

        Raises:
            Stalled: The API server refuses a child; the EdgeModel's status says so.
            ClusterError: of another kind, for a call that is to be tried again.
        """
        done = Done()
        status = plan.status
        try:
            await self._children(plan, snapshot, done)
        except Stalled as error:
            status = refused(status, str(error), snapshot, now)
            await self._status(status, snapshot, done)
            raise
        await self._status(status, snapshot, done)
        if done.status:
            await self._events(plan, snapshot, now, done)
        return done

    async def remove_label(self, node: str, key: str) -> None:
        """Take a label off a node; a node that is gone needs none taken."""
        await self._label(node, key, None)

    def forget(self, namespace: str) -> None:
        """Forget what was applied in a namespace whose EdgeModel is gone."""
        for reference in [reference for reference in self._memory if reference[1] == namespace]:
            del self._memory[reference]

    async def _children(self, plan: Plan, snapshot: Snapshot, done: Done) -> None:
        model, settings = snapshot.model, snapshot.settings
        namespace = model.metadata.namespace
        for start in plan.builds:
            manifest = build_job(model, start, settings)
            # Made, never applied: a Job is made once, and one that is on its way out must not be taken for it.
            self._objects.put(JOB, await self._client.create(manifest))
            done.builds += 1
            done.names.append(f"Job {manifest['metadata']['name']}")
        for revision in plan.revisions:
            manifest = daemon_set(model, revision, settings)
            live = next((r.manifest for r in snapshot.revisions if r.name == manifest["metadata"]["name"]), None)
            await self._ensure(manifest, live, done)
        for annotate in plan.annotations:
            await self._annotate(annotate, snapshot, done)
        key = node_label(namespace, model.metadata.name)
        for move in plan.moves:
            if await self._label(move.node, key, move.revision):
                done.moves += 1
                done.names.append(f"Node {move.node} to {move.revision or 'nothing'}")
        for delete in plan.deletes:
            await self._client.delete(JOB if delete.kind == "Job" else DAEMON_SET, namespace, delete.name)
            self._memory.pop((delete.kind, namespace, delete.name), None)
            done.deleted += 1
            done.names.append(f"{delete.kind} {delete.name} away")
        if plan.service:
            await self._ensure(service(model), None, done)

    async def _ensure(self, manifest: Mapping[str, Any], live: Mapping[str, Any] | None, done: Done) -> None:
        """Apply an object unless we did so before and it still is what came of it.

        What came of it is remembered, not computed: the API server adds defaults and rewrites quantities, and a
        comparison of its answer with our intent would differ for ever.
        """
        metadata = manifest["metadata"]
        reference = (str(manifest["kind"]), str(metadata.get("namespace", "")), str(metadata["name"]))
        before, intent = self._memory.get(reference), _digest(manifest)
        if before and before.intent == intent:
            same = before.result == _digest(_lasting(live)) if live else False
            recent = live is None and kind_of(dict(manifest)) is not DAEMON_SET
            if same or (recent and self._clock() - before.at < REAPPLY_SECONDS):
                return
        result = await self._client.apply(manifest)
        if manifest["kind"] == DAEMON_SET.kind:
            self._objects.put(DAEMON_SET, result)
        now = _Applied(intent, _digest(_lasting(result)), self._clock())
        self._memory[reference] = now
        was = before.result if before else (_digest(_lasting(live)) if live else "")
        if was != now.result:
            done.applied += 1
            done.names.append(f"{reference[0]} {reference[2]}")

    async def _annotate(self, annotate: Annotate, snapshot: Snapshot, done: Done) -> None:
        """Annotate a revision that the spec does not ask for any more: its old template stays as it is."""
        wanted = {
            PROVEN_ANNOTATION: _rfc3339(annotate.proven),
            COMPLETED_ANNOTATION: _rfc3339(annotate.completed),
            WITHDRAWN_ANNOTATION: annotate.withdrawn,
            ATTEMPT_ANNOTATION: annotate.attempt or None,
        }
        namespace = snapshot.model.metadata.namespace
        try:
            result = await self._client.annotate_daemon_set(namespace, annotate.name, wanted)
        except Missing:
            # Deleted in between: nothing is left to be said of it.
            return
        self._objects.put(DAEMON_SET, result)
        done.applied += 1
        done.names.append(f"DaemonSet {annotate.name} annotated")

    async def _label(self, node: str, key: str, value: str | None) -> bool:
        """Set or remove a node's label; says whether that was needed."""
        known = self._objects.nodes.get("", node)
        if known and known.labels.get(key) == value:
            return False
        try:
            self._objects.put(NODE, await self._client.mark_node(node, key, label=value))
        except Missing:
            # A node that left the cluster in between: the plan of the next pass does without it.
            return False
        return True

    async def _status(self, status: EdgeModelStatus, snapshot: Snapshot, done: Done) -> None:
        metadata = snapshot.model.metadata
        wanted = status_manifest(status)
        if same_status(snapshot.model.status, wanted):
            return
        try:
            result = await self._client.apply_status(EDGE_MODEL, metadata.namespace, metadata.name, wanted)
        except Missing:
            # Deleted in mid-pass: its children go with it, and the next pass takes its labels off the nodes.
            return
        self._objects.put(EDGE_MODEL, result)
        done.status = True

    async def _events(self, plan: Plan, snapshot: Snapshot, now: datetime, done: Done) -> None:
        """Record what the plan has to tell. An event that is lost is no reason to run the pass again."""
        for event in plan.events:
            try:
                await self._client.create(event_manifest(snapshot.model, event, now, self._instance), EVENT)
                done.events += 1
            except ClusterError as error:
                log.warning("the event %s was not recorded: %s", event.reason, error)


def status_manifest(status: EdgeModelStatus) -> Object:
    """A status as it is written: what is None is left out, so that it goes away."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def same_status(live: Mapping[str, Any], wanted: Object) -> bool:
    """Whether writing would change nothing: both read alike."""
    try:
        return status_manifest(EdgeModelStatus.model_validate(live)) == wanted
    except ValueError:
        return False


def refused(status: EdgeModelStatus, message: str, snapshot: Snapshot, now: datetime) -> EdgeModelStatus:
    """A status that says that the API server refuses a child: only the user can know what to change.

    Args:
        status: What the plan had to say.
        message: The API server's sentence, which names the field.
        snapshot: For the generation and the conditions there were.
        now: When.
    """
    before = {str(c.get("type")): c for c in snapshot.model.status.get("conditions") or () if isinstance(c, Mapping)}

    def condition(kind: ConditionType, value: bool) -> Condition:  # noqa: FBT001 - a condition's status
        text = "True" if value else "False"
        was = before.get(kind, {})
        since = was.get("lastTransitionTime") if was.get("status") == text else None
        return Condition(
            type=kind,
            status="True" if value else "False",
            reason=Reason.SPEC_INVALID,
            message=message,
            last_transition_time=str(since or _rfc3339(now)),
            observed_generation=snapshot.model.metadata.generation,
        )

    replaced = {ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED}
    kept = [found for found in status.conditions if found.type not in replaced]
    mine = [condition(ConditionType.READY, False), condition(ConditionType.STALLED, True)]
    return status.model_copy(update={"conditions": (*mine, *kept)})


def _rfc3339(time: datetime | None) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else None


def _lasting(raw: Mapping[str, Any] | None) -> Object:
    """What of an object only a write of somebody changes."""
    kept = without_bookkeeping(raw or {})
    metadata = {key: value for key, value in kept.get("metadata", {}).items() if key not in _VOLATILE}
    return kept | {"metadata": metadata}


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
