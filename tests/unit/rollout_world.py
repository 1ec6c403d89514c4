"""A fleet as it is, and as the API server knows it: machines that die, links that flap, devices that are broken.

What the operator decides is applied to the API server's side only. Machines follow it while they have power and a link,
and say how they do while they have both; nothing else is known to the operator, and nothing but the cluster remembers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ending_rules import Endings, note_end
from machines import GRACE, Device, Server
from partition_rules import Passed
from rollout_rules import check
from shared_node_rules import Begun
from simulated_kubelets import GOOD, Kubelets
from snapshots import REPORT, key_of, model, node
from snapshots import SETTINGS as PLAIN
from step_rules import Served

from edgesmith.decide import decide
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import Image, Node, Snapshot
from edgesmith_builder.contract import BuildReport

SETTINGS = replace(PLAIN, node_grace_seconds=50)
STEP = 5.0
DEVICE = "squat.ai/edgetpu"

_REFUSED = 1 / 8
"""Of the writes after the status, where the API server does not take all of them."""
_QUIET = 3
"""After how many passes without any change a fleet is at rest: a server takes less than that to start."""


@dataclass
class World(Kubelets):
    """A cluster with its machines, as the operator finds it pass after pass."""

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
    tried: dict[str, datetime] = field(default_factory=dict)
    """What `shared_node_rules` saw: what was begun on nodes, and since when each trial pod was there."""
    passed: Passed = field(default_factory=dict)
    entered: set[tuple[str, str]] = field(default_factory=set)
    """What `partition_rules` saw: the partitions that a revision was seen to go to, by its name."""
    lent: set[str] = field(default_factory=set)
    """Nodes that gave up a server for a trial and have not been given a revision since; `trial_rules` keeps it."""
    gave_up: dict[str, str] = field(default_factory=dict)
    ways_back: int = 0
    """What each of them gave up, and how often one was given a revision after that; `trial_rules` as well."""
    endings: Endings = field(default_factory=Endings)
    """What `ending_rules` saw."""
    served: Served = field(default_factory=Served)
    """What `step_rules` saw."""
    clock_was_set: bool = False
    spotty: random.Random | None = None
    """What decides which writes after the status the API server refuses; None: none."""
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

    def takes_pods(self, name: str) -> bool:
        """Whether a new pod of its profile may start on a node that can be reached."""
        return self.offers(name) and not self.nodes[name].taints

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

    def note_end(self, name: str) -> None:
        """What the operator may end is looked at when it is heard of."""
        note_end(self, name)

    def pass_(self, calls: int | None = None) -> Plan:
        """One pass of the operator, checked; cut short after so many calls where it is killed."""
        plan = self.decided()
        self.apply(plan, calls)
        return plan

    def follows(self, plan: Plan) -> list[Callable[[], None]]:
        """What a plan asks for after the status, but for what is refused."""
        dice = self.spotty
        return [call for call in super().follows(plan) if dice is None or dice.random() >= _REFUSED]

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
        device.unused = device.stick
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
