"""Kubelets and the machines under them: what they run, what they say of it, and what their models do to them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache

from clusters import Cluster
from machines import Beside, Device, Server
from snapshots import failed_selftest

from edgesmith.api.names import daemon_set_name, parse_next
from edgesmith.decide.plan import Delete
from edgesmith.decide.snapshot import Pod, SelfTest

GOOD, BAD, DEADLY, FRAGILE, UNPLUGS, FAULTY = "good", "bad", "deadly", "fragile", "unplugs", "faulty"

_PASSED, _FAILED = SelfTest(True, "", ""), failed_selftest()
_JUDGED = failed_selftest("ErrorRateExceeded", "60 of 90 requests failed.")
_span = cache(lambda seconds: timedelta(seconds=seconds))


@dataclass
class Kubelets(Cluster):
    """A cluster whose machines follow it while they have power and a link."""

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
    """Pods that were made."""
    remade: int = 0
    """Pods that the operator deleted, so that others take their place."""

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

    def serves(self, name: str) -> bool:
        """Whether a machine serves, whoever knows it."""
        server = self.servers[name]
        beside = server.beside
        surged = beside is not None and not beside.staging and self.ready(name, beside.revision, beside.started)
        return surged or self.ready(name, server.runs, server.started)

    def ready(self, name: str, revision: str | None, started: datetime) -> bool:
        """Whether what a machine started then is ready."""
        device = self.devices[name]
        made = device.power and revision is not None and self.servers[name].address == device.address
        return made and self._late(device, started) and not self.fails(name, revision or "")

    def _late(self, device: Device, started: datetime) -> bool:
        """Whether what a machine started then has had the time that it takes to become ready, or to fail."""
        return self.now >= started + _span(device.delay)

    def fails(self, name: str, revision: str) -> bool:
        """Whether a revision fails on a device."""
        device, kind = self.devices[name], self.kind(revision)
        return device.broken or not device.device or kind == BAD or (kind == FRAGILE and device.fragile)

    def rests(self, name: str, device: Device) -> bool:
        """Whether all that happens on a machine is that it says that it is there: it serves what it is to serve.

        Most do most of the time, and to go through all the rest for them took half of the time.
        """
        labels, pod, server = self.nodes[name].labels, self.pods.get(name), self.servers[name]
        if pod is None or device.unused or not (device.link and device.power and device.device and device.offered):
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
        if wanted and name not in pods and not self.nodes[name].taints:
            self.serial += 1
            made = Pod(f"pod-{self.serial}", name, wanted, self.now, False, False, 0, None, None, None)
            pods[name] = replace(made, staging=staging)

    def _delete(self, delete: Delete) -> None:
        """A pod that is deleted ends, and its DaemonSet makes another; anything else as ever."""
        name = next((on for on, pod in self.pods.items() if (delete.kind, delete.name) == ("Pod", pod.name)), None)
        if name is None:
            super()._delete(delete)
            return
        del self.pods[name]
        self.servers[name].runs = None
        self.remade += 1

    def kubelet(self, name: str, device: Device) -> bool:
        """A kubelet follows what it hears, and says how its pods do; whether its machine dies of what it runs."""
        server = self.servers[name]
        if device.link:
            served = self.serves(name)
            self._follow(name, server)
            if served and not self.serves(name):
                self.note_end(name)
        if device.unused and server.runs is not None and self._late(device, server.started):
            device.unused, device.address = False, device.address + 1
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
        gone = self.servers[name].address != self.devices[name].address
        test = (test or _PASSED) if gone else test
        waiting = "CreateContainerError" if gone else None
        shown = (ready, server.restarts, test, ended, pulled, waiting)
        if (pod.ready, pod.restarts, pod.selftest, pod.ended, pod.pulled, pod.waiting) == shown:
            return pod
        kept = replace(pod, ready=ready, restarts=server.restarts, selftest=test, ended=ended, pulled=pulled)
        return replace(kept, waiting=waiting)

    def _follow(self, name: str, server: Server) -> None:
        """A kubelet that hears of another pod ends its server and starts the other."""
        pod, beside = self.pods.get(name), server.beside
        wanted = pod.revision if pod and not pod.terminating else None
        if server.runs != wanted and beside and not beside.staging and beside.revision == wanted:
            server.runs, server.started, server.restarts = wanted, beside.started, beside.restarts
            server.ended, server.beside = beside.ended, None
        elif server.runs != wanted:
            server.runs, server.started, server.restarts, server.ended = wanted, self.now, 0, 0
            server.address = self.devices[name].address
        upcoming = self.next_pods.get(name)
        if upcoming is None or upcoming.terminating:
            server.beside = None
        elif server.beside is None or (server.beside.revision, server.beside.staging) != (
            upcoming.revision,
            upcoming.staging,
        ):
            server.beside = Beside(upcoming.revision, upcoming.staging, self.now)

    def note_end(self, name: str) -> None:
        """A server that worked ends, since its kubelet heard of another label."""
