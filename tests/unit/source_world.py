"""EdgeModels whose files change under them, with Jobs that take their time, fail, or find other bytes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta

from clusters import Cluster
from snapshots import SETTINGS, model

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide import decide
from edgesmith.decide.plan import Plan, StartBuild, StartLook
from edgesmith.decide.snapshot import BuildJob, Image, ResolveJob, Snapshot
from edgesmith_builder.contract import BuildFailure, FileToResolve, ResolvedFile, ResolveResult

SLOTS = 2
INTERVAL = timedelta(minutes=10)
JOB = timedelta(seconds=60)
"""The longest that a Job takes."""
STEP = timedelta(seconds=20)
"""The longest between two passes."""
FIELDS = ("source", "evaluation")


@dataclass
class World(Cluster):
    """One EdgeModel, and what lies where its files are."""

    dice: random.Random = field(default_factory=random.Random)
    lies: dict[str, str] = field(default_factory=dict)
    """Digests by field."""
    since: dict[str, timedelta] = field(default_factory=dict)
    """When what lies there was put there: how long it had gone on then."""
    ends: dict[str, timedelta] = field(default_factory=dict)
    """When each Job will end, in the same way."""
    asked: dict[str, tuple[FileToResolve, ...]] = field(default_factory=dict)
    building: dict[str, StartBuild] = field(default_factory=dict)
    failing: float = 0.0
    """How probable it is that a Job fails, or leaves no words."""
    mismatches: int = 0
    passed: timedelta = timedelta(0)
    """How long it has gone on, whatever its clocks say."""
    ahead: timedelta = timedelta(0)
    """How far Kubernetes' clock is ahead of the operator's."""
    looks: int = 0
    """How many Jobs have looked."""

    def put(self, name: str) -> None:
        """Other bytes, or now and then those of before."""
        digest = "".join(self.dice.choice("0123456789abcdef") for _ in range(64))
        self.lies[name], self.since[name] = digest, self.passed

    def known(self) -> dict[str, str]:
        """What the status says."""
        return {one["field"]: one["sha256"] for one in self.edge_model.status.get("sources", [])}

    def running(self) -> int:
        """Jobs that are at work."""
        return sum(not job.finished for job in (*self.jobs.values(), *self.resolve_jobs.values()))

    def _build(self, start: StartBuild) -> None:
        made = {"source": start.build.source.sha256}
        if start.build.evaluation:
            made["evaluation"] = start.build.evaluation.sha256
        assert made == self.known(), "a build is made of what stands in the status"
        before = set(self.jobs)
        super()._build(start)
        (name,) = set(self.jobs) - before
        self.building[name] = start
        self.jobs[name] = replace(self.jobs[name], started_at=self.now + self.ahead)
        self._begin(name)

    def _look(self, start: StartLook) -> None:
        before = set(self.resolve_jobs)
        super()._look(start)
        (name,) = set(self.resolve_jobs) - before
        self.resolve_jobs[name] = replace(self.resolve_jobs[name], started_at=self.now + self.ahead)
        self.asked[name] = start.files
        self.looks += 1
        self._begin(name)

    def _begin(self, name: str) -> None:
        self.ends[name] = self.passed + timedelta(seconds=self.dice.uniform(1, JOB.total_seconds()))

    def tick(self, seconds: float) -> None:
        """Jobs end; each sees what lies there when it ends."""
        self.now += timedelta(seconds=seconds)
        self.passed += timedelta(seconds=seconds)
        for name, look in self.resolve_jobs.items():
            if not look.finished and self.ends[name] <= self.passed:
                self.resolve_jobs[name] = self._looked(name, look)
        for name, build in self.jobs.items():
            if not build.finished and self.ends[name] <= self.passed:
                self.jobs[name] = self._built(name, build)

    def _looked(self, name: str, job: ResolveJob) -> ResolveJob:
        if self.dice.random() < self.failing:
            failure = BuildFailure(reason="SourceUnreachable", message="It does not answer.", retry=True)
            return replace(
                job, finished=True, finished_at=self.now + self.ahead, failure=self.dice.choice((failure, None))
            )
        if self.dice.random() < self.failing:
            return replace(job, finished=True, succeeded=True, finished_at=self.now + self.ahead)
        found = []
        for file in self.asked[name]:
            validator = f"tag {self.lies[file.field][:8]}"
            digest = file.sha256 if file.sha256 and file.validator == validator else self.lies[file.field]
            found.append(ResolvedFile(field=file.field, sha256=digest, validator=validator))
        answer = ResolveResult(files=tuple(found))
        return replace(job, finished=True, succeeded=True, finished_at=self.now + self.ahead, found=answer)

    def _built(self, name: str, job: BuildJob) -> BuildJob:
        build = self.building[name].build
        there = {"source": build.source.sha256}
        if build.evaluation:
            there["evaluation"] = build.evaluation.sha256
        if there != self.lies:
            self.mismatches += 1
            failure = BuildFailure(reason="DigestMismatch", message="Other bytes.", retry=False)
            return replace(job, finished=True, finished_at=self.now + self.ahead, failure=failure)
        if self.dice.random() < self.failing:
            failure = BuildFailure(reason="RegistryUnreachable", message="It does not answer.", retry=True)
            return replace(job, finished=True, finished_at=self.now + self.ahead, failure=failure)
        self.registry[job.key] = Image(
            f"{SETTINGS.repository}/plant/parts@sha256:{job.key * 2}", self._report(self.digests)
        )
        return replace(job, finished=True, succeeded=True, finished_at=self.now + self.ahead)


def loose(number: int, interval: str = "10m") -> EdgeModel:
    of = model(
        source={"uri": "s3://models/parts/model.onnx", "interval": interval},
        evaluation={"uri": "https://models.example/set.npz"},
    )
    return of.model_copy(update={"metadata": of.metadata.model_copy(update={"uid": f"uid-{number}"})})


def worlds(dice: random.Random, count: int, failing: float = 0.0) -> list[World]:
    found = [World(edge_model=loose(number), dice=dice, failing=failing) for number in range(count)]
    for world in found:
        for name in FIELDS:
            world.put(name)
    return found


def seen(world: World, everybody: list[World]) -> Snapshot:
    """A snapshot, with the slots that are taken and those that others wait for."""
    settings = replace(SETTINGS, max_concurrent_builds=SLOTS)
    running = sum(one.running() for one in everybody)
    return replace(world.snapshot(), settings=settings, builds_running=running)


def step(everybody: list[World], dice: random.Random, *, killed: float) -> None:
    """A pass over each, in any order, some of them cut off in the middle; then time goes on."""
    for world in dice.sample(everybody, len(everybody)):
        plan: Plan = decide(seen(world, everybody), world.now)
        calls = len(world.calls(plan))
        world.apply(plan, dice.randint(0, calls) if dice.random() < killed else None)
        assert sum(one.running() for one in everybody) <= SLOTS
    seconds = dice.uniform(1, STEP.total_seconds())
    for world in everybody:
        world.tick(seconds)
