"""A cluster as a dictionary that whole plans are applied to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from devices import Devices
from new_jobs import new_job, new_look
from snapshots import LABEL, NEXT, NOW, REPORT, SETTINGS, model, node, profile

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import (
    daemon_set_name,
    holding_name,
    job_name,
    next_label,
    node_label,
    reporting_name,
    resolve_job_name,
    retraining_name,
    staging_name,
)
from edgesmith.decide import decide
from edgesmith.decide.built_for_sites import wanted
from edgesmith.decide.drift import DriftVerdict
from edgesmith.decide.plan import (
    ApplyRevision,
    Delete,
    HoldImage,
    Move,
    Plan,
    StartBuild,
    StartLook,
    StartRetraining,
)
from edgesmith.decide.room import Room
from edgesmith.decide.snapshot import (
    BuildJob,
    HoldingSet,
    Image,
    Node,
    Pod,
    RegistryProblem,
    ReportingSet,
    ResolveJob,
    RetrainingJob,
    Revision,
    Snapshot,
    StagingSet,
    TrialPod,
)
from edgesmith.resources import daemon_set
from edgesmith_builder.contract import BuildReport, Candidate, Finalist

UNREACHABLE: dict[str, Any] = {
    "evaluation": {"uri": "s3://models/parts/set.npz", "sha256": "e" * 64},
    "gates": {"minAccuracy": "99%"},
}
"""Fields of a spec whose gates refuse every build."""


@dataclass
class Cluster(Devices):
    """A cluster as a dictionary."""

    edge_model: EdgeModel = field(default_factory=model)
    profiles: tuple[DeviceProfile, ...] = (profile(),)
    nodes: dict[str, Node] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    jobs: dict[str, BuildJob] = field(default_factory=dict)
    next_pods: dict[str, Pod] = field(default_factory=dict)
    """By node: the pod of what its next label names."""
    revisions: dict[str, Revision] = field(default_factory=dict)
    staging: dict[str, str] = field(default_factory=dict)
    """By revision that has a DaemonSet which stages it: Pull or Test."""
    rooms: dict[str, Room | None] = field(default_factory=dict)
    """By such a revision: what its pods look for before they pull the image."""
    reporting: dict[str, str] = field(default_factory=dict)
    """Revisions that have a DaemonSet which reports drift, with their profile."""
    retraining: dict[str, RetrainingJob] = field(default_factory=dict)
    """Jobs that episodes of drift started, by name."""
    verdicts: dict[str, DriftVerdict] = field(default_factory=dict)
    """By node: what its server says of drift of the revision that it runs."""
    holding: dict[str, HoldImage] = field(default_factory=dict)
    """By revision that has a DaemonSet which holds its image."""
    registry: dict[str, Image | RegistryProblem] = field(default_factory=dict)
    resolve_jobs: dict[str, ResolveJob] = field(default_factory=dict)
    trial_pods: dict[str, TrialPod] = field(default_factory=dict)
    trying: dict[str, list[str]] = field(default_factory=dict)
    """By trial pod: the finalists that it tries."""
    pulling: set[str] = field(default_factory=set)
    """Trial pods that only pull what is to be tried."""
    started: int = 0
    """How many trial pods were made that try something."""
    latencies: dict[str, float] = field(default_factory=dict)
    """What devices measure of a finalist, in ms; where there are some, builds have them as finalists."""
    deadly: set[str] = field(default_factory=set)
    """Finalists whose self-test is killed."""
    digests: str = "f" * 63
    """How the digests of a build's further finalists end."""
    device: dict[str, object] = field(default_factory=lambda: {"processor": "A72", "cores": 4})
    refuse: set[str] = field(default_factory=set)
    """Model file digests whose builds fail their self-test."""
    now: datetime = NOW
    events: list[str] = field(default_factory=list)
    fired: list[str] = field(default_factory=list)
    """Jobs that were made for episodes of drift, in order."""

    def __post_init__(self) -> None:
        self.name = self.edge_model.metadata.name
        self.label = node_label("plant", self.name)
        self.next_label = next_label(self.label)

    def snapshot(self) -> Snapshot:
        """What the gatherer would see."""
        keys = {build.key for build in wanted(self.edge_model, self.profiles, SETTINGS).values()}
        images = {key: self.registry.get(key) for key in keys}
        return Snapshot(
            self.edge_model,
            SETTINGS,
            self.profiles,
            tuple(self.nodes.values()),
            (*self.pods.values(), *self.next_pods.values()),
            tuple(self.jobs.values()),
            tuple(self.revisions.values()),
            images,
            staging=self.staging_sets(),
            holding=self.holding_sets(),
            reporting=tuple(ReportingSet(name, profile) for name, profile in self.reporting.items()),
            reports=self.reports(),
            retraining_jobs=tuple(self.retraining.values()),
            trial_pods=tuple(self.trial_pods.values()),
            resolve_jobs=tuple(self.resolve_jobs.values()),
        )

    def staging_sets(self) -> tuple[StagingSet, ...]:
        """The DaemonSets that stage revisions."""
        return tuple(StagingSet(name, room=self.rooms.get(name)) for name in self.staging)

    def holding_sets(self) -> tuple[HoldingSet, ...]:
        """The DaemonSets that hold images."""
        return tuple(HoldingSet(name, one.profile.metadata.name) for name, one in self.holding.items())

    def run(self, passes: int, seconds: float = 10) -> Plan:
        """Some passes, with time between them."""
        for _ in range(passes):
            plan = decide(self.snapshot(), self.now)
            self.apply(plan)
            self.tick(seconds)
        return plan

    def apply(self, plan: Plan, calls: int | None = None) -> None:
        """Do what a plan says, in the order of its fields; or its first calls, where the operator is killed."""
        for number, call in enumerate(self.calls(plan)):
            if calls is not None and number >= calls:
                return
            call()

    def calls(self, plan: Plan) -> list[Callable[[], None]]:
        """What a plan asks for, in order."""
        return [*self._precedes(plan), *self.follows(plan)]

    def _precedes(self, plan: Plan) -> list[Callable[[], None]]:
        """What is done before any node hears of it, the status last."""
        return [
            *(partial(self._apply_revision, applied) for applied in plan.revisions),
            *(partial(self.reporting.__setitem__, one.revision, one.profile.metadata.name) for one in plan.reports),
            *(partial(self.holding.__setitem__, hold.revision, hold) for hold in plan.holds),
            partial(self._write_status, plan),
        ]

    def follows(self, plan: Plan) -> list[Callable[[], None]]:
        """What a plan asks for after the status."""
        return [
            *(partial(self._move, move) for move in plan.moves),
            *(partial(self._keep, kept.node, kept.record) for kept in plan.records),
            *(partial(self._build, start) for start in plan.builds),
            *([partial(self._look, plan.look)] if plan.look else []),
            *(partial(self._retrain, start) for start in plan.retraining),
            *(partial(self._try, start) for start in plan.trials),
            *(partial(self._delete, delete) for delete in plan.deletes),
        ]

    def _write_status(self, plan: Plan) -> None:
        self.events += [f"{event.type} {event.reason}" for event in plan.events]
        status = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.edge_model = self.edge_model.model_copy(update={"status": status})

    def _build(self, start: StartBuild) -> None:
        name = job_name(start.build.key, start.attempt, start.tries)
        assert name not in self.jobs, "a Job is made once"
        self.jobs[name] = new_job(
            name,
            start.build.key,
            start.profile.metadata.name,
            start.attempt,
            start.at,
            number=start.number,
            tries=start.tries,
        )

    def _retrain(self, start: StartRetraining) -> None:
        """Make the Job; one of its name that is there is that Job."""
        assert start.drift.episode is not None
        said = self.edge_model.status["drift"]["episode"]
        assert said["id"] == start.drift.episode.id, "the status before what follows from it"
        name = retraining_name(self.name, start.drift.episode.id, start.what)
        if name not in self.retraining:
            self.retraining[name] = RetrainingJob(name, start.drift.episode.id, start.what)
            self.fired.append(name)

    def _look(self, start: StartLook) -> None:
        name = resolve_job_name(self.name, start.key, start.attempt, start.number)
        assert name not in self.resolve_jobs, "a Job is made once"
        made = new_look(name, start.key, start.attempt, start.at, number=start.number, tries=start.tries)
        self.resolve_jobs[name] = made

    def _move(self, move: Move) -> None:
        labels = {
            key: value
            for key, value in self.nodes[move.node].labels.items()
            if key not in (self.label, self.next_label)
        }
        if move.revision:
            assert daemon_set_name(self.name, move.revision) in self.revisions, "a DaemonSet before its nodes"
        assert not move.staging or move.revision in self.staging, "a DaemonSet before its nodes"
        labels |= {key: value for key, value in ((self.label, move.label), (self.next_label, move.next)) if value}
        self.nodes[move.node] = replace(self.nodes[move.node], labels=labels)
        self._keep(move.node, move.record)

    def _keep(self, on: str, record: str | None) -> None:
        others = {key: one for key, one in self.nodes[on].records.items() if key != self.label}
        self.nodes[on] = replace(self.nodes[on], records=others | ({self.label: record} if record else {}))

    def _delete(self, delete: Delete) -> None:
        others: tuple[tuple[dict[str, Any], Callable[[str], str]], ...]
        others = ((self.staging, staging_name), (self.holding, holding_name), (self.reporting, reporting_name))
        for sets, name_of in others:
            names = {name_of(daemon_set_name(self.name, one)): one for one in sets}
            if delete.name in names:
                del sets[names[delete.name]]
                return
        jobs = self.jobs if delete.name in self.jobs else self.resolve_jobs
        del {"Job": jobs, "DaemonSet": self.revisions, "Pod": self.trial_pods}[delete.kind][delete.name]

    def tick(self, seconds: float) -> None:
        """Builds end, pods are replaced and become ready."""
        self.now += timedelta(seconds=seconds)
        for name, one in self.jobs.items():
            if not one.finished:
                self.jobs[name] = replace(one, finished=True, succeeded=True, finished_at=self.now)
                self.registry[one.key] = Image(
                    f"{SETTINGS.repository}/plant/models@sha256:{one.key * 2}", self._report(self.digests)
                )
        self.go_on()

    def _report(self, rest: str) -> BuildReport:
        """What a build says; the digests of its further finalists end on `rest`."""
        names = list(self.latencies)
        finalists = tuple(
            Finalist(precision=name, digest=f"sha256:{number}{rest}" if number else None, size=1000 * (number + 1))
            for number, name in enumerate(names)
        )
        drops = (Candidate(precision=name, accuracy=0.98, accuracy_drop=0.02 / (n + 1)) for n, name in enumerate(names))
        told = {"candidates": tuple(drops), "finalists": finalists, "precision": names[0]} if len(names) > 1 else {}
        return REPORT.model_copy(update=told)

    def _apply_revision(self, applied: ApplyRevision) -> None:
        name = daemon_set_name(self.name, applied.revision)
        live = self.revisions.get(name)
        self.revisions[name] = Revision(
            name, applied.revision, applied.profile.metadata.name, applied.image, live.created if live else self.now,
            applied.build.model_dump(mode="json", by_alias=True, exclude_none=True), applied.built or "",
            live.manifest if live else daemon_set(self.edge_model, applied, SETTINGS),
        )  # fmt: skip
        if applied.staging:
            self.staging[applied.revision] = applied.staging
            self.rooms[applied.revision] = applied.room


def three_nodes() -> Cluster:
    """Three nodes that serve nothing yet."""
    return Cluster(nodes={name: node(name) for name in ("e1", "e2", "e3")})


def publish(cluster: Cluster, digit: str, generation: int = 2, **spec: Any) -> None:
    """A new source, with everything else as it was."""
    source = {"uri": f"s3://models/parts/{digit}/model.onnx", "sha256": digit * 64}
    fresh = model(generation=generation, source=source, **spec)
    cluster.edge_model = fresh.model_copy(update={"status": cluster.edge_model.status})


def upcoming(cluster: Cluster) -> dict[str, str | None]:
    """What each node makes ready beside its server."""
    return {name: one.labels.get(NEXT) for name, one in cluster.nodes.items()}


def labels(cluster: Cluster) -> dict[str, str | None]:
    """The revision that each node's label names."""
    return {name: one.labels.get(LABEL) for name, one in cluster.nodes.items()}
