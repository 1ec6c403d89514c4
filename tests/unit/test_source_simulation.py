"""Many passes over EdgeModels whose files change under them: with failures, killed operators and few slots.

Whatever happens: no build is made of bytes that the status does not have, there are never more Jobs than slots, and a
change is in the status at the latest an interval and a Job's time after it was made, where a look is possible.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from clusters import Cluster
from snapshots import NOW, SETTINGS, model

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide import decide
from edgesmith.decide.plan import Plan, StartBuild, StartLook
from edgesmith.decide.retry import LONGEST_PAUSE
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
    since: dict[str, datetime] = field(default_factory=dict)
    """When what lies there was put there."""
    ends: dict[str, datetime] = field(default_factory=dict)
    """When each Job will end."""
    asked: dict[str, tuple[FileToResolve, ...]] = field(default_factory=dict)
    building: dict[str, StartBuild] = field(default_factory=dict)
    failing: float = 0.0
    """How probable it is that a Job fails, or leaves no words."""
    mismatches: int = 0

    def put(self, name: str) -> None:
        """Other bytes, or now and then those of before."""
        digest = "".join(self.dice.choice("0123456789abcdef") for _ in range(64))
        self.lies[name], self.since[name] = digest, self.now

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
        self._begin(name)

    def _look(self, start: StartLook) -> None:
        before = set(self.resolve_jobs)
        super()._look(start)
        (name,) = set(self.resolve_jobs) - before
        self.asked[name] = start.files
        self._begin(name)

    def _begin(self, name: str) -> None:
        self.ends[name] = self.now + timedelta(seconds=self.dice.uniform(1, JOB.total_seconds()))

    def tick(self, seconds: float) -> None:
        """Jobs end; each sees what lies there when it ends."""
        self.now += timedelta(seconds=seconds)
        for name, look in self.resolve_jobs.items():
            if not look.finished and self.ends[name] <= self.now:
                self.resolve_jobs[name] = self._looked(name, look)
        for name, build in self.jobs.items():
            if not build.finished and self.ends[name] <= self.now:
                self.jobs[name] = self._built(name, build)

    def _looked(self, name: str, job: ResolveJob) -> ResolveJob:
        if self.dice.random() < self.failing:
            failure = BuildFailure(reason="SourceUnreachable", message="It does not answer.", retry=True)
            return replace(job, finished=True, finished_at=self.now, failure=self.dice.choice((failure, None)))
        if self.dice.random() < self.failing:
            return replace(job, finished=True, succeeded=True, finished_at=self.now)
        found = []
        for file in self.asked[name]:
            validator = f"tag {self.lies[file.field][:8]}"
            digest = file.sha256 if file.sha256 and file.validator == validator else self.lies[file.field]
            found.append(ResolvedFile(field=file.field, sha256=digest, validator=validator))
        answer = ResolveResult(files=tuple(found))
        return replace(job, finished=True, succeeded=True, finished_at=self.now, found=answer)

    def _built(self, name: str, job: BuildJob) -> BuildJob:
        build = self.building[name].build
        there = {"source": build.source.sha256}
        if build.evaluation:
            there["evaluation"] = build.evaluation.sha256
        if there != self.lies:
            self.mismatches += 1
            failure = BuildFailure(reason="DigestMismatch", message="Other bytes.", retry=False)
            return replace(job, finished=True, finished_at=self.now, failure=failure)
        if self.dice.random() < self.failing:
            failure = BuildFailure(reason="RegistryUnreachable", message="It does not answer.", retry=True)
            return replace(job, finished=True, finished_at=self.now, failure=failure)
        self.registry[job.key] = Image(
            f"{SETTINGS.repository}/plant/parts@sha256:{job.key * 2}", self._report(self.digests)
        )
        return replace(job, finished=True, succeeded=True, finished_at=self.now)


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


@pytest.mark.parametrize("seed", range(3))
def test_a_change_is_in_the_status_after_an_interval_and_a_job(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same dice for the same seed
    everybody = worlds(dice, 2)
    # A pass starts the Job, one sees its end; another may be in the way, and one may have been cut off before.
    late = INTERVAL + 2 * JOB + 4 * STEP
    for _ in range(150):
        if dice.random() < 0.03:
            dice.choice(everybody).put(dice.choice(FIELDS))
        step(everybody, dice, killed=0.0)
        for world in everybody:
            for name in FIELDS:
                assert world.known().get(name) == world.lies[name] or world.now - world.since[name] <= late
    for world in everybody:
        assert world.registry, "something was built"


@pytest.mark.parametrize("seed", range(3))
def test_whatever_fails_the_last_change_is_built_in_the_end(seed: int) -> None:
    dice = random.Random(1000 + seed)  # noqa: S311 - as above
    everybody = worlds(dice, 3, failing=0.3)
    for _ in range(120):
        if dice.random() < 0.05:
            dice.choice(everybody).put(dice.choice(FIELDS))
        step(everybody, dice, killed=0.3)
    for world in everybody:
        world.failing = 0.0
    end = everybody[0].now + INTERVAL + timedelta(seconds=LONGEST_PAUSE) + 6 * (JOB + STEP)
    while everybody[0].now < end:
        step(everybody, dice, killed=0.0)
    for world in everybody:
        assert world.known() == world.lies
        built = [(one.build["source"]["sha256"], one.build["evaluation"]["sha256"]) for one in world.revisions.values()]
        assert (world.lies["source"], world.lies["evaluation"]) in built
        assert len(world.resolve_jobs) <= 1, "what was recorded is cleared away"


def test_files_that_change_between_look_and_build_are_met_and_looked_at_at_once() -> None:
    dice = random.Random(7)  # noqa: S311 - as above
    (world,) = worlds(dice, 1)
    for _ in range(30):
        step([world], dice, killed=0.0)
        if any(not job.finished for job in world.jobs.values()):
            world.put("source")
            changed = world.now
            break
    while world.known()["source"] != world.lies["source"]:
        step([world], dice, killed=0.0)
    assert world.mismatches == 1
    assert world.now - changed < 2 * JOB + 4 * STEP < INTERVAL
    assert changed > NOW
