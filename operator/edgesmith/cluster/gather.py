"""Everything one pass knows, read once: the objects in memory, and the registry's answers for the builds it wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import ClusterError
from edgesmith.cluster.images import Images
from edgesmith.cluster.kinds import DEVICE_PROFILE, EVENT, POD
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.parse_build import JOB_NAME_LABEL, AnyJob, BuildPod, with_pods
from edgesmith.cluster.provenance import Wanted
from edgesmith.cluster.table import Entry, ObjectChange, T, Table
from edgesmith.decide.built_for_sites import wanted
from edgesmith.decide.requests import candidates
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import BuilderJob, BuildJob, Image, Snapshot
from edgesmith.decide.trust import trusted_digests
from edgesmith.resources.names import repository

MOUNT_REASONS = ("FailedMount", "FailedAttachVolume")
CREATE_REASONS = ("FailedCreate",)


class Gatherer:
    """Makes snapshots."""

    def __init__(
        self,
        objects: Objects,
        images: Images,
        settings: Settings,
        client: Client,
        changed: Callable[[Iterable[ObjectChange]], None] = lambda _: None,
    ) -> None:
        """Make a gatherer.

        Args:
            objects: What is known of the cluster.
            images: What is known of the registry.
            settings: The installation's settings.
            client: For what is not watched: why a pod's volumes cannot be mounted.
            changed: Told what was read before a watch reported it: none reports it again.
        """
        self.objects = objects
        self.settings = settings
        self._images = images
        self._client = client
        self._changed = changed
        self._read: set[str] = set()
        """UIDs of Jobs that have ended and whose pods were read for it; of those that are still there."""

    async def snapshot(self, namespace: str, name: str) -> Snapshot | None:
        """Everything known about one EdgeModel; None where it is not there or on its way out."""
        model = self.objects.models.get(namespace, name)
        if model is None or model.metadata.deletion_timestamp:
            return None
        return await self.snapshot_of(model)

    async def snapshot_of(self, model: EdgeModel) -> Snapshot:
        """Everything known about an EdgeModel that is at hand: one from a file, say."""
        objects = self.objects
        namespace, name = model.metadata.namespace, model.metadata.name
        profiles = objects.profiles.all()
        unreadable = tuple(sorted(name for _, name in objects.unreadable(DEVICE_PROFILE)))
        jobs = await self._jobs(model, _own(objects.jobs, model))
        resolve_jobs = await self._jobs(model, _own(objects.resolve_jobs, model))
        revisions = _nouns(objects.revisions, model)
        builds = {build.key: build for build in wanted(model, profiles, self.settings).values()}
        others = self._other_jobs(model, builds)
        trusted = trusted_digests(model, (*jobs, *others), revisions)
        images = await self._images.look_up(
            repository(model, self.settings),
            [Wanted(build, trusted.get(key, frozenset())) for key, build in sorted(builds.items())],
            {job.key for job in (*jobs, *others) if job.finished},
        )
        back = candidates(model, revisions)
        gone = await self._images.missing(back) if back else frozenset()
        shown = {one.image for one in revisions}
        shown |= {answer.reference for answer in images.values() if isinstance(answer, Image)}
        layers = await self._images.layers(shown)
        # What is read of nodes and of other EdgeModels is read last: from here on there is no await.
        return Snapshot(
            model=model,
            settings=self.settings,
            profiles=profiles,
            nodes=objects.nodes.all(),
            pods=tuple(entry.noun for _, entry in objects.pods.of_model(namespace, name)),
            jobs=jobs,
            revisions=revisions,
            images=images,
            unreadable_profiles=unreadable,
            other_jobs=others,
            trial_pods=_nouns(objects.trial_pods, model),
            resolve_jobs=resolve_jobs,
            gone=gone,
            layers=layers,
            staging=_nouns(objects.staging, model),
            holding=_nouns(objects.holding, model),
            reporting=_nouns(objects.reporting, model),
            retraining_jobs=_nouns(objects.retraining_jobs, model),
            reports=tuple(entry.noun for _, entry in objects.reports.of_model(namespace, name)),
            others=tuple(
                one
                for one in objects.models.all()
                if (one.metadata.namespace, one.metadata.name) != (namespace, name)
                and not one.metadata.deletion_timestamp
            ),
        )

    def starting(self, model: EdgeModel) -> bool:
        """Whether a build pod waits to be created or to start: events alone say why, so somebody must look again."""
        pods = self._build_pods(model)
        created = {pod.job for pod in pods}
        jobs: list[BuilderJob] = [entry.noun for entry in _own(self.objects.jobs, model)]
        jobs += [entry.noun for entry in _own(self.objects.resolve_jobs, model)]
        return any(pod.pending for pod in pods) or any(not job.finished and job.name not in created for job in jobs)

    async def _jobs(self, model: EdgeModel, own: list[Entry[AnyJob]]) -> tuple[AnyJob, ...]:
        """Jobs with the words of their pods."""
        namespace = model.metadata.namespace
        if not own:
            return ()
        for entry in own:
            await self._read_ended_pods(model, entry)
        running = {entry.noun.name for entry in own if not entry.noun.finished}
        pods = [
            await self._explained(namespace, pod) if pod.pending and not pod.problem and pod.job in running else pod
            for pod in self._build_pods(model)
        ]
        created = {pod.job for pod in pods}
        found = [
            await self._uncreated(namespace, entry)
            if entry.noun.name in running - created
            else with_pods(entry.noun, pods)
            for entry in own
        ]
        return tuple(found)

    def _other_jobs(self, model: EdgeModel, keys: Iterable[str]) -> tuple[BuildJob, ...]:
        """Jobs of other EdgeModels of the namespace for some builds, as far as what is watched tells of them."""
        namespace = model.metadata.namespace
        found = []
        for key in keys:
            for _, entry in self.objects.jobs.of_group(namespace, key):
                if entry.owner != model.metadata.uid:
                    pods = self.objects.build_pods.of_model(namespace, entry.model)
                    found.append(with_pods(entry.noun, (pod.noun for _, pod in pods)))
        return tuple(found)

    async def _read_ended_pods(self, model: EdgeModel, entry: Entry[AnyJob]) -> None:
        """Read the pods of a Job that has just ended, where none of their termination messages is known.

        Jobs and pods are watched apart, and the Job's end may be seen before its pod's termination message.
        """
        namespace = model.metadata.namespace
        job: BuilderJob = entry.noun
        if not job.finished or entry.uid in self._read:
            return
        if job.succeeded and any(pod.job == job.name and (pod.digest or pod.found) for pod in self._build_pods(model)):
            return
        self._read.intersection_update(self.objects.jobs.uids() | self.objects.resolve_jobs.uids())
        self._read.add(entry.uid)
        labels = f"{JOB_NAME_LABEL}={job.name}"
        try:
            async for raw in self._client.list(POD, namespace=namespace, labels=labels):
                if change := self.objects.put(POD, raw):
                    self._changed([change])
        except ClusterError:
            # The watch reports it, if a little later.
            self._read.discard(entry.uid)

    def _build_pods(self, model: EdgeModel) -> list[BuildPod]:
        namespace, name = model.metadata.namespace, model.metadata.name
        return [entry.noun for _, entry in self.objects.build_pods.of_model(namespace, name)]

    async def _explained(self, namespace: str, pod: BuildPod) -> BuildPod:
        """A pod with the reason its volumes cannot be mounted: a Secret that is missing shows in no status."""
        why = await self._why(namespace, pod.name, pod.uid, MOUNT_REASONS)
        return replace(pod, problem=why) if why else pod

    async def _uncreated(self, namespace: str, entry: Entry[AnyJob]) -> AnyJob:
        """A Job without a pod, with the reason the Job controller cannot create one: a quota, say."""
        why = await self._why(namespace, entry.noun.name, entry.uid, CREATE_REASONS)
        return replace(entry.noun, failure_message=why)

    async def _why(self, namespace: str, name: str, uid: str, reasons: tuple[str, ...]) -> str | None:
        """The message of an object's newest event with one of some reasons; None where there is none.

        None also where events cannot be read: the reason is only for the message, and a pass does not fail without it.
        """
        newest, message = "", ""
        try:
            fields = f"involvedObject.name={name},involvedObject.uid={uid}"
            async for event in self._client.list(EVENT, namespace=namespace, fields=fields):
                seen = str(event.get("lastTimestamp") or event.get("eventTime") or "")
                if event.get("reason") in reasons and seen >= newest:
                    newest, message = seen, str(event.get("message") or "")
        except ClusterError:
            return None
        return message or None


def _own(table: Table[T], model: EdgeModel) -> list[Entry[T]]:
    """The objects of an EdgeModel. Those of a deleted one of the same name are still there for a moment."""
    found = table.of_model(model.metadata.namespace, model.metadata.name)
    return [entry for _, entry in found if entry.owner == model.metadata.uid]


def _nouns(table: Table[T], model: EdgeModel) -> tuple[T, ...]:
    """The same, as decisions read them."""
    return tuple(entry.noun for entry in _own(table, model))
