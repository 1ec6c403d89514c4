"""Everything one pass knows, read once: the objects in memory, and the registry's answers for the builds it wants."""

from __future__ import annotations

from dataclasses import replace

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import ClusterError
from edgesmith.cluster.images import Images
from edgesmith.cluster.kinds import DEVICE_PROFILE, EVENT, POD
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.parse_build import JOB_NAME_LABEL, BuildPod, with_pods
from edgesmith.cluster.provenance import Wanted
from edgesmith.decide.builds import wanted
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import BuildJob, Snapshot
from edgesmith.decide.trust import trusted_digests
from edgesmith.resources.names import repository

MOUNT_REASONS = ("FailedMount", "FailedAttachVolume")


class Gatherer:
    """Makes snapshots."""

    def __init__(self, objects: Objects, images: Images, settings: Settings, client: Client) -> None:
        """Make a gatherer.

        Args:
            objects: What is known of the cluster.
            images: What is known of the registry.
            settings: The installation's settings.
            client: For what no watch tells: why a pod's volumes cannot be mounted.
        """
        self.objects = objects
        self.settings = settings
        self._images = images
        self._client = client
        self._heard: set[tuple[str, str]] = set()

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
        jobs = await self._jobs(model)
        revisions = tuple(
            entry.noun for _, entry in objects.revisions.of_model(namespace, name) if entry.owner == model.metadata.uid
        )
        trusted = trusted_digests(model, jobs, revisions)
        builds = {build.key: build for build in wanted(model, profiles, self.settings).values()}
        images = await self._images.look_up(
            repository(model, self.settings),
            [Wanted(build, trusted.get(key, frozenset())) for key, build in sorted(builds.items())],
            {job.key for job in jobs if job.finished},
        )
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
        )

    def starting(self, model: EdgeModel) -> bool:
        """Whether a build pod waits to start: why is told by events only, so somebody must look again."""
        return any(pod.pending for pod in self._build_pods(model))

    async def _jobs(self, model: EdgeModel) -> tuple[BuildJob, ...]:
        """This EdgeModel's Jobs. Those of a deleted one of the same name are still there for a moment."""
        namespace, name = model.metadata.namespace, model.metadata.name
        own = [
            entry.noun for _, entry in self.objects.jobs.of_model(namespace, name) if entry.owner == model.metadata.uid
        ]
        if not own:
            return ()
        for job in own:
            await self._read_last_words(model, job)
        running = {job.name for job in own if not job.finished}
        pods = [
            await self._explained(namespace, pod) if pod.pending and not pod.problem and pod.job in running else pod
            for pod in self._build_pods(model)
        ]
        return tuple(with_pods(job, pods) for job in own)

    async def _read_last_words(self, model: EdgeModel, job: BuildJob) -> None:
        """Read the pods of a Job that has just ended, where we have none of their words.

        Jobs and pods are watched apart, and the Job's end may be seen before its pod's last words.
        """
        namespace = model.metadata.namespace
        if not job.finished or (namespace, job.name) in self._heard:
            return
        if job.succeeded and any(pod.job == job.name and pod.digest for pod in self._build_pods(model)):
            return
        self._heard.add((namespace, job.name))
        labels = f"{JOB_NAME_LABEL}={job.name}"
        try:
            async for raw in self._client.list(POD, namespace=namespace, labels=labels):
                self.objects.put(POD, raw)
        except ClusterError:
            # The watch tells it, if a little later.
            self._heard.discard((namespace, job.name))

    def _build_pods(self, model: EdgeModel) -> list[BuildPod]:
        namespace, name = model.metadata.namespace, model.metadata.name
        return [entry.noun for _, entry in self.objects.build_pods.of_model(namespace, name)]

    async def _explained(self, namespace: str, pod: BuildPod) -> BuildPod:
        """A pod with the reason its volumes cannot be mounted: a Secret that is missing shows in no status."""
        try:
            newest, message = "", ""
            fields = f"involvedObject.name={pod.name},involvedObject.uid={pod.uid}"
            async for event in self._client.list(EVENT, namespace=namespace, fields=fields):
                seen = str(event.get("lastTimestamp") or event.get("eventTime") or "")
                if event.get("reason") in MOUNT_REASONS and seen >= newest:
                    newest, message = seen, str(event.get("message") or "")
        except ClusterError:
            # The reason is a kindness; a pass does not fail for want of it.
            return pod
        return replace(pod, problem=message or None)
