"""A plan as calls, in the order of its fields: a DaemonSet before its nodes, the status before the moves it speaks of.

Whatever is as it should be already is not written. What the API server refuses of one variant does not keep the others
back: refusals are collected, and the status says them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from edgesmith.api.names import next_label, node_label
from edgesmith.cluster.client import Client, Object
from edgesmith.cluster.done import Done, collected, each
from edgesmith.cluster.errors import ClusterError, Conflict, Missing
from edgesmith.cluster.events import event_manifest
from edgesmith.cluster.job_names import JobNames
from edgesmith.cluster.kinds import DAEMON_SET, EVENT, JOB, KINDS, NODE, POD, SERVICE, Kind, kind_of
from edgesmith.cluster.node_writes import differs_besides
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.parse import owner_of, without_bookkeeping
from edgesmith.cluster.refusals import Refusal, with_refusals
from edgesmith.cluster.refused_nodes import RefusedNodes
from edgesmith.cluster.services import check_service
from edgesmith.cluster.status import Statuses
from edgesmith.cluster.table import ObjectChange
from edgesmith.decide.plan import Keep, Move, Plan, StartBuild
from edgesmith.decide.snapshot import Snapshot
from edgesmith.resources import (
    build_job,
    daemon_set,
    holding_daemon_set,
    reporting_daemon_set,
    resolve_job,
    retraining_job,
    service,
    staging_daemon_set,
    trial_pod,
)

log = logging.getLogger(__name__)

SERVICE_SECONDS = 600.0
"""After how long the Service, which is not watched, is read again."""
MOVES_PER_PASS = 64
"""Nodes that one pass moves before it is judged again how the fleet does. What has to go back goes in one pass."""
RECORDS_PER_PASS = 128
"""Records that one pass writes of nodes that it does not move."""
RECORDS_BESIDE_MOVES = 16
"""The same where it moves nodes, as long as no other EdgeModel waits for what a record says: moves come first."""

_VOLATILE = ("resourceVersion", "generation", "uid", "creationTimestamp", "deletionTimestamp")


class _Applied(NamedTuple):
    intent: str
    """Hash of what we applied."""
    result: str
    """Hash of what the API server made of it."""
    at: float


class Applier:
    """Applies plans."""

    def __init__(
        self,
        client: Client,
        objects: Objects,
        names: JobNames,
        *,
        changed: Callable[[Iterable[ObjectChange]], None],
        instance: str,
        clock: Callable[[], float],
    ) -> None:
        """Make an applier.

        Args:
            client: The API server.
            objects: Gets everything that is written, so that the next pass sees it.
            names: Names of Jobs that are not given again yet.
            changed: Told what answers say besides what was written: no watch reports it again.
            instance: The name events are reported under.
            clock: Seconds that only grow.
        """
        self._client = client
        self._objects = objects
        self._job_names = names
        self._changed = changed
        self._instance = instance
        self._clock = clock
        self._memory: dict[tuple[str, str, str], _Applied] = {}
        self._refused: dict[tuple[str, str], list[Refusal]] = {}
        """What the API server refused last time after the status was written, but for nodes, by EdgeModel."""
        self._nodes_refused: dict[tuple[str, str], RefusedNodes] = {}
        self._statuses = Statuses(client, objects)

    async def apply(self, plan: Plan, snapshot: Snapshot, now: datetime) -> Done:
        """Do what a plan says.

        Returns:
            What was done, and what the API server did not do: the status says what it refuses.

        Raises:
            ClusterError: The status could not be written; then no node was moved.
        """
        done = Done()
        key = _key(snapshot)
        await self._revisions(plan, snapshot, done)
        nodes = self._nodes_refused.setdefault(key, RefusedNodes())
        of_revisions = list(done.refusals)
        # What comes after the status was refused last time, and may still be: saying so now keeps the status steady.
        expected = [*of_revisions, *nodes.refusals, *self._refused.get(key, ())]
        said = with_refusals(plan.status, expected, snapshot.model, now)
        done.status = await self._statuses.write(said, snapshot)
        await self._nodes(plan, snapshot, nodes, done)
        before = len(done.refusals)
        await self._rest(plan, snapshot, done)
        self._refused[key] = done.refusals[before:]
        found = [*of_revisions, *nodes.refusals, *self._refused[key]]
        if (says := with_refusals(plan.status, found, snapshot.model, now)) is not said:
            done.status = await self._statuses.write(says, snapshot) or done.status
        if done.status:
            await self._events(plan, snapshot, now, done)
        return done

    async def remove_marks(self, node: str, key: str) -> None:
        """Take a label and the record of the same key off a node; a node that is gone needs none taken."""
        await self._mark(node, key, labels={key: None}, record=None)

    def forget(self, namespace: str, name: str) -> None:
        """Forget what was applied and refused for an EdgeModel that is gone."""
        self._refused.pop((namespace, name), None)
        self._nodes_refused.pop((namespace, name), None)
        self._statuses.forget(namespace, name)
        for reference in [reference for reference in self._memory if reference[1] == namespace]:
            del self._memory[reference]

    async def _revisions(self, plan: Plan, snapshot: Snapshot, done: Done) -> None:
        """Apply the DaemonSets, each by itself."""
        for revision in plan.revisions:
            manifest = daemon_set(snapshot.model, revision, snapshot.settings)
            live = next((r.manifest for r in snapshot.revisions if r.name == manifest["metadata"]["name"]), None)
            await collected(self._ensure(manifest, live, done), done, revision.profile.metadata.name)
            if revision.staging:
                staging = staging_daemon_set(snapshot.model, revision, snapshot.settings)
                live = next((one.manifest for one in snapshot.staging if one.revision == revision.revision), None)
                await collected(self._ensure(staging, live, done), done, revision.profile.metadata.name)

        for report in plan.reports:
            reporting = reporting_daemon_set(snapshot.model, report, snapshot.settings)
            live = next((one.manifest for one in snapshot.reporting if one.revision == report.revision), None)
            await collected(self._ensure(reporting, live, done), done, report.profile.metadata.name)
        for hold in plan.holds:
            holding = holding_daemon_set(snapshot.model, hold, snapshot.settings)
            live = next((one.manifest for one in snapshot.holding if one.revision == hold.revision), None)
            await collected(self._ensure(holding, live, done), done, hold.profile.metadata.name)

    async def _nodes(self, plan: Plan, snapshot: Snapshot, refused: RefusedNodes, done: Done) -> None:
        """Move nodes, those that have to go back first, and write what is to be kept of the others."""
        metadata = snapshot.model.metadata
        key = node_label(metadata.namespace, metadata.name)
        existing = {entry.noun.revision for _, entry in self._objects.revisions.of_model(*_key(snapshot))}
        staging = {entry.noun.revision for _, entry in self._objects.staging.of_model(*_key(snapshot))}
        possible = [
            move
            for move in plan.moves
            if move.revision is None or move.revision in (staging if move.staging else existing)
        ]
        urgent = [move for move in possible if move.urgent]
        others = refused.last(move for move in possible if not move.urgent)
        records = refused.last(plan.records)
        moving = [*urgent, *others[:MOVES_PER_PASS]]
        keeping = records[: RECORDS_BESIDE_MOVES if possible and not snapshot.others else RECORDS_PER_PASS]
        refusals: dict[str, Refusal] = {}

        async def write(one: Move | Keep) -> None:
            work = self._move(one, key, done) if isinstance(one, Move) else self._keep(one, key, done)
            if refusal := await collected(work, done):
                refusals[one.node] = refusal

        await each(moving, write)
        await each(keeping, write)
        wanted: list[Move | Keep] = [*urgent, *others, *records]
        tried: list[Move | Keep] = [*moving, *keeping]
        refused.after(wanted, tried, refusals)
        done.left = len(wanted) > len(tried) and bool(done.moves or done.records)

    async def _rest(self, plan: Plan, snapshot: Snapshot, done: Done) -> None:
        """Start builds, a look at files and trials, delete what is no longer wanted, and see to the Service."""
        model = snapshot.model
        for start in plan.builds:
            work = self._build(build_job(model, start, snapshot.settings), model.metadata.uid, done)
            await collected(work, done, _profile(start))
        if plan.look:
            await collected(self._look(resolve_job(model, plan.look, snapshot.settings), done), done)
        for begun in plan.retraining:
            await collected(self._retrain(retraining_job(model, begun, snapshot.settings), done), done)
        for trial in plan.trials:
            work = self._trial(trial_pod(model, trial, snapshot.settings), done)
            await collected(work, done, trial.profile.metadata.name)
        for delete in plan.deletes:
            await collected(self._delete(delete.kind, model.metadata.namespace, delete.name, done), done)
        if plan.service:
            await collected(self._service(service(model), done), done)

    async def _build(self, manifest: Object, owner: str, done: Done) -> None:
        """Make a build Job, unless another EdgeModel of the namespace has just made the same: then that is waited for.

        Raises:
            ClusterError: of the fitting kind; `Conflict` where a Job of that name is our own, `Waiting` where one has
                only just gone.
        """
        try:
            await self._job(manifest, done)
        except Conflict:
            metadata = manifest["metadata"]
            live = await self._client.get(JOB, metadata["namespace"], metadata["name"])
            if live is None or owner_of(live) == owner:
                raise
            self._take(JOB, live)
            return
        done.builds += 1

    async def _look(self, manifest: Object, done: Done) -> None:
        await self._job(manifest, done)
        done.looks += 1

    async def _job(self, manifest: Object, done: Done) -> None:
        metadata = manifest["metadata"]
        self._job_names.check(metadata["namespace"], metadata["name"])
        # Made, never applied: a Job is made once, and one that is on its way out must not be taken for it.
        self._objects.put(JOB, await self._client.create(manifest))
        done.names.append(f"Job {metadata['name']}")

    async def _retrain(self, manifest: Object, done: Done) -> None:
        """Make a Job that an episode starts; one that is there is that Job, since its name has the episode's."""
        try:
            await self._job(manifest, done)
        except Conflict:
            metadata = manifest["metadata"]
            live = await self._client.get(JOB, metadata["namespace"], metadata["name"])
            if live is None or owner_of(live) != owner_of(manifest):
                raise
            self._take(JOB, live)
            return
        done.retraining += 1

    def _take(self, kind: Kind, live: Object) -> None:
        """Take in what somebody else made, and pass on that it is new."""
        if change := self._objects.put(kind, live):
            self._changed([change])

    async def _trial(self, manifest: Object, done: Done) -> None:
        self._objects.put(POD, await self._client.create(manifest))
        done.trials += 1
        done.names.append(f"Pod {manifest['metadata']['name']}")

    async def _delete(self, kind: str, namespace: str, name: str, done: Done) -> None:
        await self._client.delete(KINDS[kind], namespace, name)
        self._memory.pop((kind, namespace, name), None)
        done.deleted += 1
        done.names.append(f"deleted {kind} {name}")

    async def _service(self, manifest: Object, done: Done) -> None:
        """Apply the Service unless one of its name is somebody else's.

        A new one is applied too: fields that a create would set could not be taken away by an apply later.

        Raises:
            NameTaken: It is.
            Waiting: It is of an EdgeModel that is gone, and goes with it.
        """
        metadata = manifest["metadata"]
        reference = ("Service", str(metadata["namespace"]), str(metadata["name"]))
        before = self._memory.get(reference)
        if before and before.intent == _digest(manifest) and self._clock() - before.at < SERVICE_SECONDS:
            return
        live = await self._client.get(SERVICE, metadata["namespace"], metadata["name"])
        if live is not None:
            check_service(live, manifest)
        await self._ensure(manifest, live, done)

    async def _ensure(self, manifest: Mapping[str, Any], live: Mapping[str, Any] | None, done: Done) -> None:
        """Apply an object unless we did so before and it still is what came of it.

        What came of it is remembered, not computed: the API server adds defaults and rewrites quantities, and a
        comparison of its answer with our intent would differ for ever.
        """
        metadata = manifest["metadata"]
        reference = (str(manifest["kind"]), str(metadata.get("namespace", "")), str(metadata["name"]))
        before, intent = self._memory.get(reference), _digest(manifest)
        was = _digest(_lasting(live)) if live else ""
        if before and before.intent == intent and before.result == was:
            self._memory[reference] = before._replace(at=self._clock())
            return
        result = await self._client.apply(manifest)
        if kind_of(dict(manifest)) is DAEMON_SET:
            self._objects.put(DAEMON_SET, result)
        now = _Applied(intent, _digest(_lasting(result)), self._clock())
        self._memory[reference] = now
        if was != now.result:
            done.applied += 1
            done.names.append(f"{reference[0]} {reference[2]}")

    async def _move(self, move: Move, key: str, done: Done) -> None:
        """Set or remove a node's labels, together with its record."""
        known, upcoming = self._objects.nodes.get("", move.node), next_label(key)
        labels = {key: move.label}
        if move.next or not known or upcoming in known.labels:
            labels[upcoming] = move.next
        if known and all(known.labels.get(one) == value for one, value in labels.items()):
            return
        if await self._mark(move.node, key, labels=labels, record=move.record):
            done.moves += 1
            beside = f" beside {move.beside}" if move.beside else ""
            done.names.append(f"Node {move.node} to {move.revision or 'nothing'}{beside}")

    async def _keep(self, kept: Keep, key: str, done: Done) -> None:
        """Write a node's record."""
        if await self._mark(kept.node, key, record=kept.record):
            done.records += 1

    async def _mark(self, node: str, key: str, **marks: Any) -> bool:
        """Write to a node, and pass on what else its answer says is new; says whether the node is there."""
        try:
            change = self._objects.put(NODE, await self._client.mark_node(node, key, **marks))
        except Missing:
            # A node that left the cluster in between: the plan of the next pass does without it.
            return False
        if change and differs_besides(change, {key, *marks.get("labels", {})}):
            self._changed([change])
        return True

    async def _events(self, plan: Plan, snapshot: Snapshot, now: datetime, done: Done) -> None:
        """Record what the plan has to tell. An event that is lost is no reason to run the pass again."""
        for event in plan.events:
            try:
                await self._client.create(event_manifest(snapshot.model, event, now, self._instance), EVENT)
                done.events += 1
            except ClusterError as error:
                log.warning("the event %s was not recorded: %s", event.reason, error)


def _profile(start: StartBuild) -> str:
    return start.profile.metadata.name


def _key(snapshot: Snapshot) -> tuple[str, str]:
    return snapshot.model.metadata.namespace, snapshot.model.metadata.name


def _lasting(raw: Mapping[str, Any] | None) -> Object:
    """What of an object only a write of somebody changes."""
    kept = without_bookkeeping(raw or {})
    metadata = {key: value for key, value in kept.get("metadata", {}).items() if key not in _VOLATILE}
    return kept | {"metadata": metadata}


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
