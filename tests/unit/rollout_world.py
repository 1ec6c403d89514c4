"""A fleet as it is, and as the API server knows it: machines that die, links that flap, devices that are broken.

What the operator decides is applied to the API server's side only. Machines follow it while they have power and a link,
and say how they do while they have both; nothing else is known to the operator, and nothing but the cluster remembers.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from snapshots import LABEL, NOW, REPORT, Cluster, failed_selftest, key_of, model, node, profile
from snapshots import SETTINGS as PLAIN

from edgesmith.api.names import daemon_set_name
from edgesmith.api.units import parse_share
from edgesmith.api.window import DAYS, Window
from edgesmith.decide import decide
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import Image, Pod, SelfTest, Snapshot

GRACE = timedelta(seconds=40)
"""After how long without a heartbeat the node controller says NotReady."""
SETTINGS = replace(PLAIN, node_grace_seconds=50)
STEP = 5.0
PLANNED_TWICE = 10
"""Every how many passes the plan is made a second time: where it were made for each, half the time went there."""
GOOD, BAD, DEADLY, FRAGILE, UNPLUGS = "good", "bad", "deadly", "fragile", "unplugs"
DEVICE = "squat.ai/edgetpu"
ASKING = {"runtime": {"resources": {"limits": {DEVICE: 1}}}}
"""What a profile has whose servers ask for a device."""


@dataclass
class Device:
    """A machine."""

    broken: bool = False
    """Every server fails on it."""
    fragile: bool = False
    """Fragile revisions fail on it."""
    device: bool = True
    """Whether its kubelet offers what the model's servers ask for; where not, they fail."""
    link: bool = True
    power: bool = True
    offered: bool = True
    """Whether the API server was told that it offers the device."""
    back: datetime | None = None
    """When the power comes back."""
    heard: datetime = NOW
    delay: float = 10.0
    """Seconds a server takes to become ready, or to fail."""
    runs: str | None = None
    """The revision that its kubelet runs."""
    started: datetime = NOW
    restarts: int = 0
    boots: int = 0
    told: int = 0
    """Which start of the machine the API server knows of."""
    silent: int = 0
    """For how many ticks its kubelet has yet to say how its pods do: after a start it says first that it is there."""


@dataclass
class World(Cluster):
    """A cluster, its machines, and what its models do to them."""

    devices: dict[str, Device] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    """Digit of a source to what it does."""
    dies_after: float = 20.0
    """Seconds after a deadly server is ready until its machine dies."""
    outage: float | None = None
    """Seconds until a machine that died of its model is back; None: never."""
    serial: int = 0
    passes: int = 0
    touched: dict[str, set[str]] = field(default_factory=dict)
    """Digit to the nodes that got its label."""
    gone: frozenset[str] = frozenset()
    """Images that the registry lost."""

    def add(self, name: str, device_class: str = "amd64", **more: Any) -> None:
        """A new node with its machine."""
        self.nodes[name] = node(name, device_class)
        self.devices[name] = Device(heard=self.now, **more)

    def digit(self, revision: str) -> str:
        """Which source a revision is of."""
        found = self.revisions.get(daemon_set_name("parts", revision))
        return str(found.build["source"]["sha256"][0]) if found else ""

    def kind(self, revision: str) -> str:
        """What a revision does."""
        return self.kinds.get(self.digit(revision), GOOD)

    def reachable(self, name: str) -> bool:
        """Whether the API server takes a node for ready."""
        return self.now - self.devices[name].heard <= GRACE

    def snapshot(self) -> Snapshot:
        """What the gatherer would see."""
        keys = {key_of(self.edge_model, one) for one in self.profiles}
        return Snapshot(
            self.edge_model,
            SETTINGS,
            self.profiles,
            tuple(
                replace(
                    one,
                    ready=self.reachable(name),
                    unheard=None if self.reachable(name) else self.devices[name].heard + GRACE,
                    offers={DEVICE: int(self.devices[name].offered)},
                    boot=f"{name}-{self.devices[name].told}",
                )
                for name, one in self.nodes.items()
            ),
            tuple(self.pods.values()),
            tuple(self.jobs.values()),
            tuple(self.revisions.values()),
            {key: self.registry.get(key) for key in keys},
            gone=self.gone,
        )

    def offers(self, name: str) -> bool:
        """Whether the API server takes a node for one that has what its profile's servers ask for."""
        asking = {one.metadata.name for one in self.profiles if one.spec.runtime.resources}
        return self.devices[name].offered or self.nodes[name].labels["device"] not in asking

    def serves(self, name: str) -> bool:
        """Whether a machine serves, whoever knows it."""
        device = self.devices[name]
        if not device.power or device.runs is None:
            return False
        return self.now >= device.started + timedelta(seconds=device.delay) and not self.fails(name, device.runs)

    def fails(self, name: str, revision: str) -> bool:
        """Whether a revision fails on a device."""
        device, kind = self.devices[name], self.kind(revision)
        return device.broken or not device.device or kind == BAD or (kind == FRAGILE and device.fragile)

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        while seconds > 0:
            self.now += timedelta(seconds=min(seconds, STEP))
            seconds -= STEP
            for key_job, job in self.jobs.items():
                if not job.finished:
                    self.jobs[key_job] = replace(job, finished=True, succeeded=True, finished_at=self.now)
                    image = Image(f"{SETTINGS.repository}/plant/models@sha256:{job.key * 2}", REPORT)
                    self.registry[job.key] = image
            for name in self.devices:
                self._control(name)
                self._machine(name)

    def _control(self, name: str) -> None:
        """The DaemonSet controller: one pod for the label; another revision's pod ends once its kubelet says so."""
        label = self.nodes[name].labels.get(LABEL)
        wanted = label if label and daemon_set_name("parts", label) in self.revisions else None
        pod = self.pods.get(name)
        if pod and pod.revision != wanted:
            if self.devices[name].power and self.devices[name].link:
                del self.pods[name]
            else:
                self.pods[name] = replace(pod, terminating=True)
        if wanted and name not in self.pods:
            self.serial += 1
            self.pods[name] = Pod(f"pod-{self.serial}", name, wanted, self.now, False, False, 0, None, None, None)

    def _machine(self, name: str) -> None:
        """The machine and its kubelet."""
        device = self.devices[name]
        if not device.power and device.back and self.now >= device.back:
            device.power, device.back, device.started = True, None, self.now
            device.restarts += 1
            device.boots += 1
            device.silent = 3
        if not device.power:
            return
        if device.link:
            device.heard, device.offered, device.told = self.now, device.device, device.boots
            self._follow(name, device)
        ready = self.serves(name)
        device.silent = max(device.silent - 1, 0)
        if device.link and not device.silent and (pod := self.pods.get(name)) and pod.revision == device.runs:
            late = self.now >= device.started + timedelta(seconds=device.delay)
            test = failed_selftest() if late and self.fails(name, pod.revision) else None
            self.pods[name] = replace(
                pod, ready=ready, restarts=device.restarts, selftest=test or (SelfTest(True, "", "") if ready else None)
            )
        if ready and self.kind(device.runs or "") == UNPLUGS:
            device.device = False
        lived = self.now - device.started - timedelta(seconds=device.delay)
        if ready and self.kind(device.runs or "") == DEADLY and lived >= timedelta(seconds=self.dies_after):
            device.power = False
            device.back = self.now + timedelta(seconds=self.outage) if self.outage is not None else None

    def _follow(self, name: str, device: Device) -> None:
        """A kubelet that hears of another pod ends its server and starts the other."""
        pod = self.pods.get(name)
        wanted = pod.revision if pod and not pod.terminating else None
        if device.runs != wanted:
            device.runs, device.started, device.restarts = wanted, self.now, 0

    def pass_(self, calls: int | None = None) -> Plan:
        """One pass of the operator, checked; cut short after so many calls where it is killed."""
        plan = decide(self.snapshot(), self.now)
        check(self, plan)
        self.passes += 1
        for move in plan.moves:
            if move.revision:
                new = {one.revision: str(one.build.source.sha256)[0] for one in plan.revisions}
                digit = self.digit(move.revision) or new[move.revision]
                self.touched.setdefault(digit, set()).add(move.node)
        self.apply(plan, calls)
        return plan

    def publish(self, digit: str, kind: str = GOOD, **spec: Any) -> None:
        """Make a source what the spec asks for."""
        self.kinds[digit] = kind
        source = {"uri": f"s3://models/parts/{digit}/model.onnx", "sha256": digit * 64}
        kept = {"rollout": self.edge_model.spec.rollout.model_dump(by_alias=True)}
        names = {"deviceProfiles": {"names": sorted(one.metadata.name for one in self.profiles)}}
        fresh = model(generation=self.edge_model.metadata.generation + 1, source=source, **(kept | names | spec))
        annotations = self.edge_model.metadata.annotations
        self.edge_model = fresh.model_copy(
            update={
                "status": self.edge_model.status,
                "metadata": fresh.metadata.model_copy(update={"annotations": annotations}),
            }
        )

    def ask(self, **rollout: Any) -> None:
        """Edit `spec.rollout` and nothing else."""
        spec = self.edge_model.spec
        kept = spec.rollout.model_dump(by_alias=True)
        changed = spec.model_copy(update={"rollout": type(spec.rollout).model_validate(kept | rollout)})
        generation = self.edge_model.metadata.generation + 1
        metadata = self.edge_model.metadata.model_copy(update={"generation": generation})
        self.edge_model = self.edge_model.model_copy(update={"spec": changed, "metadata": metadata})

    def asked(self, digit: str) -> list[str]:
        """The revisions of a source that have a DaemonSet."""
        return sorted(one.revision for one in self.revisions.values() if self.digit(one.revision) == digit)

    def run_until(self, *states: str, limit: int = 400, every: float = 20.0) -> Plan:
        """Pass after pass, until every variant is in one of these states and nothing moves.

        Raises:
            AssertionError: That takes more passes than it may.
        """
        for _ in range(limit):
            plan = self.pass_()
            if not plan.moves and all(one.state in states for one in plan.status.variants):
                return plan
            self.tick(every)
        raise AssertionError(f"not {states}: {[(one.state, one.message) for one in plan.status.variants]}")

    def labelled(self, digit: str) -> set[str]:
        """Nodes whose label names a revision of a source."""
        return {name for name, one in self.nodes.items() if self.digit(one.labels.get(LABEL, "")) == digit}

    def newest(self, field_name: str) -> dict[str, Any]:
        """A field of the status' revisions by the digit of their source."""
        return {self.digit(one["name"]): one.get(field_name) for one in self.edge_model.status["revisions"]}


def fleet(
    size: int, rollout: dict[str, Any], *, profiles: tuple[str, ...] = ("amd64",), seed: int = 0, asking: bool = False
) -> World:
    """A fleet that serves source `a` on every node; its servers ask for a device where `asking`."""
    more = ASKING if asking else {}
    world = World(edge_model=model(rollout=rollout), profiles=tuple(profile(name, **more) for name in profiles))
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again, not a secret
    for index in range(size):
        world.add(f"n{index:04}", profiles[index % len(profiles)], delay=rng.choice((5.0, 10.0, 25.0)))
    world.publish("a", rollout=rollout | {"maxUnavailable": "100%"})
    world.run_until("Complete", "NoNodes")
    world.publish("a", rollout=rollout)
    return world


def check(world: World, plan: Plan) -> None:
    """What must hold of every plan, whatever it is for; counted from the machines, not from the planner's table."""
    if world.passes % PLANNED_TWICE == 0:
        assert decide(world.snapshot(), world.now) == plan, "the same snapshot gives the same plan"
    assert len({move.node for move in plan.moves}) == len(plan.moves), "a node is moved once"
    rolled_back = {one.name for one in plan.status.revisions if one.rolled_back}
    wanted = {one.revision for one in plan.revisions}
    for move in plan.moves:
        label = world.nodes[move.node].labels.get(LABEL)
        assert move.reason
        assert move.revision != label, "a move changes something"
        assert move.revision not in rolled_back, "never to a revision that was rolled back"
        known = daemon_set_name("parts", label or "") in world.revisions
        assert world.reachable(move.node) or label in rolled_back or not known, "a NotReady node is left alone"
        left = label in rolled_back or not known or move.revision is None
        assert left or world.offers(move.node), "a node without the device is left alone"
    _check_servers(world, plan, rolled_back)
    _check_marks(world, plan, wanted)
    _check_hold(world, plan)


def _check_hold(world: World, plan: Plan) -> None:
    """While paused, and outside of windows, nodes go back or get their first revision, and nothing else happens."""
    rollout = world.edge_model.spec.rollout
    closed = bool(rollout.windows) and not open_by_the_clock(rollout.windows, world.now)
    if not (rollout.paused or closed):
        return
    free = set(rollout.override) if not rollout.paused else set()
    left = {entry.from_ for entry in rollout.rollback_to}
    marks = {one.name: one for one in plan.status.revisions}
    asked = {one.revision for one in plan.revisions}
    for move in plan.moves:
        label = world.nodes[move.node].labels.get(LABEL)
        known = daemon_set_name("parts", label or "") in world.revisions
        if not known:
            assert move.revision in free & asked or (move.revision and marks[move.revision].completed_time), move
            continue
        back = bool(marks.get(label or "") and marks[label or ""].rolled_back) or label in left
        failed = not _works(world, move.node)
        assert back or failed or move.revision in free & asked, (move, rollout)


def open_by_the_clock(windows: tuple[Window, ...], now: datetime) -> bool:
    """Whether a window in UTC is open: the plain reading of a clock without any change."""
    for one in windows:
        assert one.time_zone == "UTC"
        start, end = time.fromisoformat(one.start), time.fromisoformat(one.end)
        for day in (now.date(), now.date() - timedelta(days=1)):
            begins = datetime.combine(day, start, UTC)
            ends = datetime.combine(day, end, UTC) + timedelta(days=int(end <= start))
            if (not one.days or DAYS[day.weekday()] in one.days) and begins <= now < ends:
                return True
    return False


def _check_servers(world: World, plan: Plan, rolled_back: set[str]) -> None:
    """Servers that work end only within the budget, and only where another one takes their place."""
    desired = plan.status.nodes.desired
    moved = {move.node: move.revision for move in plan.moves}
    profiles = {name: one.labels["device"] for name, one in world.nodes.items()}
    served = {one.metadata.name for one in world.profiles}
    ends = [name for name in moved if _works(world, name)]
    for name in ends:
        assert moved[name] is not None or profiles[name] not in served, f"{name} serves and gets nothing instead"
    # Nodes that are no longer to run the model but still do are part of the fleet that a percentage is of.
    leaving = sum(
        profiles[name] not in served and (name in moved or LABEL in found.labels) for name, found in world.nodes.items()
    )
    limit = parse_share(world.edge_model.spec.rollout.max_unavailable, desired + leaving)
    down = [name for name in world.nodes if _down(world, name) and moved.get(name, name)]
    broken = [name for name in down if _broken(world, name)]
    excused = min(len(broken), max(parse_share(world.edge_model.spec.rollout.max_failed, desired), 1))
    forward = [name for name in ends if world.nodes[name].labels.get(LABEL) not in rolled_back]
    assert not forward or len(down) - excused + len(ends) <= limit, (down, excused, ends, limit)
    # Off a revision that was rolled back, what it broke must not keep the rest on it: nodes on their way count, and one
    # that waits for its device is not.
    awaited = [name for name in down if world.reachable(name) and world.offers(name)]
    starting = [name for name in awaited if name in moved or not world.pods[name].selftest]
    assert not ends or len(starting) + len(ends) <= limit, (starting, ends, limit)


def _broken(world: World, name: str) -> bool:
    """Whether a node is down for a reason of its device: it is broken, is gone, or fails what others completed."""
    label = world.nodes[name].labels.get(LABEL, "")
    completed = any(one["name"] == label and one.get("completedTime") for one in world.edge_model.status["revisions"])
    fails = completed and world.reachable(name) and world.fails(name, label)
    return world.devices[name].broken or not world.offers(name) or fails


def _works(world: World, name: str) -> bool:
    """Whether a server works and the API server knows it; one that took its machine down twice does not."""
    device = world.devices[name]
    deadly = world.kind(device.runs or "") == DEADLY and device.restarts > 1
    return world.reachable(name) and world.serves(name) and not _down(world, name) and not deadly


def _down(world: World, name: str) -> bool:
    """Whether a reachable node was given a revision and does not serve it, or its machine died of it.

    A node whose device went away from a revision that is completed went as a NotReady one does.
    """
    device = world.devices[name]
    label = world.nodes[name].labels.get(LABEL)
    if label is None or not world.revisions.get(daemon_set_name("parts", label)):
        return False
    pod = world.pods.get(name)
    completed = any(one["name"] == label and one.get("completedTime") for one in world.edge_model.status["revisions"])
    if completed and not world.offers(name):
        return False
    if world.reachable(name):
        return not (pod and pod.revision == label and pod.ready)
    return not device.power and device.runs == label and world.kind(label) == DEADLY


def _check_marks(world: World, plan: Plan, wanted: set[str]) -> None:
    """A revision is completed only where enough nodes serve it; what an earlier one is known for does not change."""
    before = {one["name"]: one for one in world.edge_model.status.get("revisions", [])}
    for one in plan.status.revisions:
        was = before.get(one.name, {})
        if one.completed_time and not was.get("completedTime"):
            own = [name for name, found in world.nodes.items() if found.labels.get(LABEL) == one.name]
            serving = sum((pod := world.pods.get(name)) is not None and pod.ready for name in own)
            desired = sum(found.labels["device"] == one.profile for found in world.nodes.values())
            allowed = max(
                parse_share(world.edge_model.spec.rollout.max_unavailable, desired), parse_share("10%", desired)
            )
            assert serving >= max(1, desired - allowed), "completed by too few"
        if one.rolled_back and not was.get("rolledBack"):
            if one.reason == "RollbackRequested":
                assert any(one.name == entry.from_ for entry in world.edge_model.spec.rollout.rollback_to), (
                    "nobody asked"
                )
                continue
            assert one.name in wanted, "only what the spec asks for is rolled back"
            assert not one.completed_time, "never what was completed, but by request"
