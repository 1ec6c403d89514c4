"""A fleet as it is, and as the API server knows it: machines that die, links that flap, devices that are broken.

What the operator decides is applied to the API server's side only. Machines follow it while they have power and a link,
and say how they do while they have both; nothing else is known to the operator, and nothing but the cluster remembers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar

from ending_rules import Endings, note_end
from machines import GRACE, Beside, Device, Server
from partition_rules import Passed
from rollout_rules import check
from shared_node_rules import Begun
from snapshots import REPORT, Cluster, failed_selftest, key_of, model, node, profile
from snapshots import SETTINGS as PLAIN
from step_rules import Served

from edgesmith.api.names import daemon_set_name, parse_next
from edgesmith.decide import decide
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import Image, Node, Pod, SelfTest, Snapshot
from edgesmith_builder.contract import BuildReport

SETTINGS = replace(PLAIN, node_grace_seconds=50)
STEP = 5.0
GOOD, BAD, DEADLY, FRAGILE, UNPLUGS, FAULTY = "good", "bad", "deadly", "fragile", "unplugs", "faulty"
DEVICE = "squat.ai/edgetpu"
ASKING = {"runtime": {"resources": {"limits": {DEVICE: 1}}}}
"""What a profile has whose servers ask for a device."""

_PASSED, _FAILED = SelfTest(True, "", ""), failed_selftest()
_JUDGED = failed_selftest("ErrorRateExceeded", "60 of 90 requests failed.")
_QUIET = 3
"""After how many passes without any change a fleet is at rest: a server takes less than that to start."""
_span = cache(lambda seconds: timedelta(seconds=seconds))


@dataclass
class World(Cluster):
    """A cluster, its machines, and what its models do to them."""

    devices: dict[str, Device] = field(default_factory=dict)
    """With several EdgeModels, all worlds have the same nodes and machines."""
    servers: dict[str, Server] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    """Digit of a source to what it does."""
    dies_after: float = 20.0
    """Seconds after a deadly server is ready until its machine dies."""
    outage: float | None = None
    """Seconds until a machine that died of its model is back; None: never."""
    dies_staged: bool = False
    """Whether the self-test of a deadly revision takes the machine down, too."""
    ends_after: float = 30.0
    """Seconds after a faulty server is ready until it has seen enough of its requests fail to end itself."""
    serial: int = 0
    passes: int = 0
    touched: dict[str, set[str]] = field(default_factory=dict)
    """Digit to the nodes that got its label."""
    gone: frozenset[str] = frozenset()
    """Images that the registry lost."""
    others: list[World] = field(default_factory=list, repr=False)
    """Those of the other EdgeModels on the same nodes."""
    claimed: frozenset[str] = frozenset()
    """Nodes that passes about them are moving at this moment."""
    begun: dict[str, Begun] = field(default_factory=dict)
    """What `shared_node_rules` saw."""
    passed: Passed = field(default_factory=dict)
    entered: set[tuple[str, str]] = field(default_factory=set)
    """What `partition_rules` saw: the partitions that a revision was seen to go to, by its name."""
    lent: set[str] = field(default_factory=set)
    """Nodes that gave up a server for a trial and have not been given a revision since; `trial_rules` keeps it."""
    endings: Endings = field(default_factory=Endings)
    """What `ending_rules` saw."""
    served: Served = field(default_factory=Served)
    """What `step_rules` saw."""
    clock_was_set: bool = False
    _shown: dict[str, tuple[object, Node]] = field(default_factory=dict)
    """Each node as the API server showed it last, with what it was made of: most are as they were."""
    _asked: tuple[object, frozenset[str]] = (None, frozenset())
    """The build keys that are asked for, with the spec and the profiles that they were made of."""

    def add(self, name: str, device_class: str = "amd64", **more: Any) -> None:
        """A new node with its machine."""
        self.nodes[name] = node(name, device_class)
        self.devices[name] = Device(heard=self.now, **more)
        for world in (self, *self.others):
            world.servers[name] = Server()

    def remove(self, name: str) -> None:
        """A node leaves the cluster."""
        del self.nodes[name], self.devices[name]
        for world in (self, *self.others):
            del world.servers[name]
            for pods in (world.pods, world.next_pods):
                pods.pop(name, None)

    def digit(self, revision: str) -> str:
        """Which source a revision is of."""
        found = self.revisions.get(f"{self.name}-{revision}")
        return str(found.build["source"]["sha256"][0]) if found else ""

    def kind(self, revision: str) -> str:
        """What a revision does."""
        return self.kinds.get(self.digit(revision), GOOD)

    def kills(self, revision: str) -> bool:
        """Whether a revision takes down the machines that serve it."""
        return self.kind(revision) == DEADLY

    def reachable(self, name: str) -> bool:
        """Whether the API server takes a node for ready."""
        return self.now - self.devices[name].heard <= GRACE

    def snapshot(self) -> Snapshot:
        """What the gatherer would see."""
        made_of = (self.edge_model.spec, self.profiles)
        if self._asked[0] != made_of:
            self._asked = made_of, frozenset(key_of(self.edge_model, one) for one in self.profiles)
        keys = self._asked[1]
        return Snapshot(
            self.edge_model,
            SETTINGS,
            self.profiles,
            tuple(self._seen(name, one) for name, one in self.nodes.items()),
            (*self.pods.values(), *self.next_pods.values()),
            tuple(self.jobs.values()),
            tuple(self.revisions.values()),
            {key: self.registry.get(key) for key in keys},
            staging=self.staging_sets(),
            holding=self.holding_sets(),
            trial_pods=tuple(self.trial_pods.values()),
            gone=self.gone,
            others=tuple(one.edge_model for one in self.others),
            claimed=self.claimed,
        )

    def _seen(self, name: str, one: Node) -> Node:
        """A node as the API server shows it."""
        device = self.devices[name]
        unheard = None if self.reachable(name) else device.heard + GRACE
        made_of = (one.labels, one.records, one.taints, unheard, device.offered, device.told)
        shown = self._shown.get(name)
        if shown is None or shown[0] != made_of:
            offers, boot = {DEVICE: int(device.offered)}, f"{name}-{device.told}"
            seen = replace(one, ready=unheard is None, unheard=unheard, offers=offers, boot=boot)
            shown = self._shown[name] = (made_of, seen)
        return shown[1]

    def offers(self, name: str) -> bool:
        """Whether the API server takes a node for one that has what its profile's servers ask for."""
        asking = {one.metadata.name for one in self.profiles if one.spec.runtime.resources}
        return self.devices[name].offered or self.nodes[name].labels["device"] not in asking

    def serves(self, name: str) -> bool:
        """Whether a machine serves, whoever knows it."""
        server = self.servers[name]
        beside = server.beside
        surged = beside is not None and not beside.staging and self.ready(name, beside.revision, beside.started)
        return surged or self.ready(name, server.runs, server.started)

    def ready(self, name: str, revision: str | None, started: datetime) -> bool:
        """Whether what a machine started then is ready."""
        device = self.devices[name]
        return device.power and revision is not None and self._late(device, started) and not self.fails(name, revision)

    def _late(self, device: Device, started: datetime) -> bool:
        """Whether what a machine started then has had the time that it takes to become ready, or to fail."""
        return self.now >= started + _span(device.delay)

    def fails(self, name: str, revision: str) -> bool:
        """Whether a revision fails on a device."""
        device, kind = self.devices[name], self.kind(revision)
        return device.broken or not device.device or kind == BAD or (kind == FRAGILE and device.fragile)

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        pass_time((self,), seconds)

    def end_builds(self) -> None:
        """Every build that was started is in the registry."""
        for key_job, job in self.jobs.items():
            if not job.finished:
                self.jobs[key_job] = replace(job, finished=True, succeeded=True, finished_at=self.now)
                image = Image(f"{SETTINGS.repository}/plant/models@sha256:{job.key * 2}", self.report_of(job.key))
                self.registry[job.key] = image

    def report_of(self, key: str) -> BuildReport:
        """What the build of a key says."""
        return self._report((key * 2)[:63]) if self.latencies else REPORT

    def try_on(self) -> None:
        """Trials go on where the machine is there and, but for what only pulls, no server holds its device."""
        there = {name: pod for name, pod in self.trial_pods.items() if pod.node in self.nodes}
        self.trial_pods = {
            name: self._go_on(pod) if (on := self.devices[pod.node]).power and on.link and on.device else pod
            for name, pod in there.items()
        }

    def holds_device(self, on: str) -> bool:
        """Whether a server on a machine holds what a trial there would need, whatever the API server knows of it."""
        return self.servers[on].runs is not None and super().holds_device(on)

    def rests(self, name: str, device: Device) -> bool:
        """Whether all that happens on a machine is that it says that it is there: it serves what it is to serve.

        Most do most of the time, and to go through all the rest for them took half of the time.
        """
        labels, pod, server = self.nodes[name].labels, self.pods.get(name), self.servers[name]
        if pod is None or not (device.link and device.power and device.device and device.offered):
            return False
        settled = pod.ready and not pod.terminating and pod.selftest is _PASSED and pod.restarts == server.restarts
        follows = (
            pod.revision == server.runs == labels.get(self.label) and f"{self.name}-{pod.revision}" in self.revisions
        )
        alone = self.next_label not in labels and name not in self.next_pods and server.beside is None
        known = device.told == device.boots and not device.silent
        if not (settled and follows and alone and known):
            return False
        harmless = self.kind(pod.revision) not in {DEADLY, UNPLUGS, FAULTY} and not self.fails(name, pod.revision)
        return harmless and self._late(device, server.started)

    def control(self, name: str) -> None:
        """The DaemonSet controller: one pod for each label; another revision's pod ends once its kubelet says so."""
        label = self.nodes[name].labels.get(self.label)
        self._promote(name)
        wanted = label if label and daemon_set_name(self.name, label) in self.revisions else None
        self._follow_label(name, self.pods, wanted, staging=False)
        upcoming, staging = parse_next(self.nodes[name].labels.get(self.next_label))
        there = upcoming in self.staging if staging else daemon_set_name(self.name, upcoming or "") in self.revisions
        self._follow_label(name, self.next_pods, upcoming if there else None, staging=staging)

    def _follow_label(self, name: str, pods: dict[str, Pod], wanted: str | None, *, staging: bool) -> None:
        pod = pods.get(name)
        if pod and (pod.revision, pod.staging) != (wanted, staging):
            if self.devices[name].power and self.devices[name].link:
                del pods[name]
            else:
                pods[name] = replace(pod, terminating=True)
        if wanted and name not in pods:
            self.serial += 1
            made = Pod(f"pod-{self.serial}", name, wanted, self.now, False, False, 0, None, None, None)
            pods[name] = replace(made, staging=staging)

    def kubelet(self, name: str, device: Device) -> bool:
        """A kubelet follows what it hears, and says how its pods do; whether its machine dies of what it runs."""
        server = self.servers[name]
        if device.link:
            served = self.serves(name)
            self._follow(name, server)
            if served and not self.serves(name):
                note_end(self, name)
        if device.link and device.silent <= 1:
            self._report_pods(name, server)
        self._judge(name, server)
        ready = self.ready(name, server.runs, server.started)
        if ready and self.kind(server.runs or "") == UNPLUGS:
            device.device = False
        return self._dies(device, server.runs, server.started, ready=ready) or self._dies_beside(name, device)

    def _judge(self, name: str, server: Server) -> None:
        """Servers that judge themselves by their requests: each does so once in the life of its pod."""
        beside = server.beside if server.beside and not server.beside.staging else None
        if not server.ended and self._faulty(name, server.runs, server.started):
            server.restarts += 1
            server.ended, server.started = server.restarts, self.now
        if beside and not beside.ended and self._faulty(name, beside.revision, beside.started):
            beside.restarts += 1
            beside.ended, beside.started = beside.restarts, self.now

    def _faulty(self, name: str, revision: str | None, started: datetime) -> bool:
        """Whether a server has seen enough of its requests fail."""
        device = self.devices[name]
        if not device.asked or self.kind(revision or "") != FAULTY or not self.ready(name, revision, started):
            return False
        return self.now - started >= _span(device.delay + self.ends_after)

    def _dies_beside(self, name: str, device: Device) -> bool:
        """Whether a machine dies of what it makes ready beside its server."""
        beside = self.servers[name].beside
        if beside is None or (beside.staging and not self.dies_staged):
            return False
        tested = not (beside.staging and self.staging.get(beside.revision) == "Pull")
        ready = tested and self.ready(name, beside.revision, beside.started)
        return self._dies(device, beside.revision, beside.started, ready=ready)

    def _dies(self, device: Device, revision: str | None, started: datetime, *, ready: bool) -> bool:
        """Whether a revision takes its machine down now."""
        if not ready or not self.kills(revision or ""):
            return False
        return self.now - started - _span(device.delay) >= _span(self.dies_after)

    def _report_pods(self, name: str, server: Server) -> None:
        """A kubelet says how its pods do."""
        pod = self.pods.get(name)
        if pod and pod.revision == server.runs:
            self.pods[name] = self._reported(name, pod, server)
        beside, pod = server.beside, self.next_pods.get(name)
        if pod and beside and (pod.revision, pod.staging) == (beside.revision, beside.staging):
            self.next_pods[name] = self._reported(name, pod, beside)

    def _reported(self, name: str, pod: Pod, server: Server | Beside) -> Pod:
        late = self._late(self.devices[name], server.started)
        tests = not (pod.staging and self.staging.get(pod.revision) == "Pull")
        ready = self.ready(name, pod.revision, server.started) if tests else late
        test = _FAILED if tests and late and self.fails(name, pod.revision) else None
        test = test or (_PASSED if ready else None)
        said = _JUDGED if server.told else None
        test, ended = test if ready else said or test, said if ready else None
        pulled = pod.pulled or self.now >= server.started + _span(self.devices[name].delay / 2)
        shown = (ready, server.restarts, test, ended, pulled)
        if (pod.ready, pod.restarts, pod.selftest, pod.ended, pod.pulled) == shown:
            return pod
        return replace(pod, ready=ready, restarts=server.restarts, selftest=test, ended=ended, pulled=pulled)

    def _follow(self, name: str, server: Server) -> None:
        """A kubelet that hears of another pod ends its server and starts the other."""
        pod, beside = self.pods.get(name), server.beside
        wanted = pod.revision if pod and not pod.terminating else None
        if server.runs != wanted and beside and not beside.staging and beside.revision == wanted:
            server.runs, server.started, server.restarts = wanted, beside.started, beside.restarts
            server.ended, server.beside = beside.ended, None
        elif server.runs != wanted:
            server.runs, server.started, server.restarts, server.ended = wanted, self.now, 0, 0
        upcoming = self.next_pods.get(name)
        if upcoming is None or upcoming.terminating:
            server.beside = None
        elif server.beside is None or (server.beside.revision, server.beside.staging) != (
            upcoming.revision,
            upcoming.staging,
        ):
            server.beside = Beside(upcoming.revision, upcoming.staging, self.now)

    def pass_(self, calls: int | None = None) -> Plan:
        """One pass of the operator, checked; cut short after so many calls where it is killed."""
        plan = self.decided()
        self.apply(plan, calls)
        return plan

    def decided(self) -> Plan:
        """What one pass decides, checked."""
        plan = decide(self.snapshot(), self.now)
        check(self, plan)
        self.passes += 1
        for move in plan.moves:
            if move.revision:
                new = {one.revision: str(one.build.source.sha256)[0] for one in plan.revisions}
                digit = self.digit(move.revision) or new[move.revision]
                self.touched.setdefault(digit, set()).add(move.node)
        return plan

    def publish(self, digit: str, kind: str = GOOD, **spec: Any) -> None:
        """Make a source what the spec asks for."""
        self.kinds[digit] = kind
        source = {"uri": f"s3://models/parts/{digit}/model.onnx", "sha256": digit * 64}
        kept = {"rollout": self.edge_model.spec.rollout.model_dump(by_alias=True)}
        names = {"deviceProfiles": {"names": sorted(one.metadata.name for one in self.profiles)}}
        fresh = model(
            name=self.name, generation=self.edge_model.metadata.generation + 1, source=source, **(kept | names | spec)
        )
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

    def settle(self, limit: int, every: float = 20.0) -> Plan:
        """So many passes, or fewer where nothing happens any more: each one after that would be the last one again.

        Every machine is there, nothing was seen to change for three passes, and the plan awaits no time.
        """
        seen, quiet = self.snapshot(), 0
        for _ in range(limit):
            plan, before = self.pass_(), seen
            seen = self.snapshot()
            there = all(one.power and one.link and not one.silent for one in self.devices.values())
            quiet = quiet + 1 if there and plan.look_again is None and seen == before else 0
            if quiet == _QUIET:
                break
            self.tick(every)
        return plan

    def labelled(self, digit: str) -> set[str]:
        """Nodes whose label names a revision of a source."""
        return {name for name, one in self.nodes.items() if self.digit(one.labels.get(self.label, "")) == digit}

    def newest(self, field_name: str) -> dict[str, Any]:
        """A field of the status' revisions by the digit of their source."""
        return {self.digit(one["name"]): one.get(field_name) for one in self.edge_model.status["revisions"]}


Made = TypeVar("Made", bound=World)


def pass_time(worlds: Sequence[World], seconds: float) -> None:
    """Let time pass for the machines that some EdgeModels share.

    Args:
        worlds: One for each EdgeModel, with the same nodes and machines.
        seconds: How much.
    """
    first = worlds[0]
    resting: set[str] = set()
    """Machines that nothing happens to before the next pass: time alone changes nothing about one that rests."""
    while seconds > 0:
        now = first.now + timedelta(seconds=min(seconds, STEP))
        seconds -= STEP
        for world in worlds:
            world.now = now
            world.end_builds()
            world.try_on()
        for name, device in first.devices.items():
            if name in resting or all(world.rests(name, device) for world in worlds):
                resting.add(name)
                device.heard = now
            else:
                for world in worlds:
                    world.control(name)
                _live_on(worlds, name, device)


def _live_on(worlds: Sequence[World], name: str, device: Device) -> None:
    """A machine and its kubelet."""
    now = worlds[0].now
    if not device.power and device.back and now >= device.back:
        device.power, device.back, device.silent = True, None, 3
        device.boots += 1
        for world in worlds:
            world.servers[name].start_anew(now)
    if not device.power:
        return
    if device.link:
        device.heard, device.offered, device.told = now, device.device, device.boots
    dead = [world for world in worlds if world.kubelet(name, device)]
    device.silent = max(device.silent - 1, 0)
    if dead:
        outage = dead[0].outage
        device.power, device.back = False, now + timedelta(seconds=outage) if outage is not None else None


def fleet(
    size: int,
    rollout: dict[str, Any],
    *,
    profiles: tuple[str, ...] = ("amd64",),
    seed: int = 0,
    asking: bool = False,
) -> World:
    """A fleet that serves source `a` on every node; its servers ask for a device where `asking`.

    Fleets with an odd seed have the strategy Replace, where `rollout` says nothing of it.
    """
    return fleet_of(World, size, rollout, profiles=profiles, seed=seed, asking=asking)


def fleet_of(
    kind: type[Made],
    size: int,
    rollout: dict[str, Any],
    *,
    profiles: tuple[str, ...] = ("amd64",),
    seed: int = 0,
    asking: bool = False,
) -> Made:
    """The same of a kind of world."""
    more = ASKING if asking else {}
    rollout = {"strategy": ("Surge", "Replace")[seed % 2]} | rollout
    world = kind(edge_model=model(rollout=rollout), profiles=tuple(profile(name, **more) for name in profiles))
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again, not a secret
    for index in range(size):
        world.add(f"n{index:04}", profiles[index % len(profiles)], delay=rng.choice((5.0, 10.0, 25.0)))
    world.publish("a", rollout=rollout | {"maxUnavailable": "100%"})
    world.run_until("Complete", "NoNodes")
    world.publish("a", rollout=rollout)
    return world
