"""What the nodes of a cluster that is a dictionary do of themselves: pods start, are tested, and try candidates."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import daemon_set_name, parse_next, trial_pod_name
from edgesmith.decide.devices import devices_of
from edgesmith.decide.drift import DriftVerdict, Report
from edgesmith.decide.plan import StartTrial
from edgesmith.decide.snapshot import Ended, Node, Pod, Revision, SelfTest, TrialPod

MISMATCH = ("GoldenMismatch", "3 of 8 golden samples differ.")
"""What a device says of a bundle that it refuses, where nothing else is asked for."""


class Devices:
    """The nodes' part of a cluster; `clusters.Cluster` says what each field is."""

    edge_model: EdgeModel
    profiles: tuple[DeviceProfile, ...]
    nodes: dict[str, Node]
    pods: dict[str, Pod]
    next_pods: dict[str, Pod]
    revisions: dict[str, Revision]
    reporting: dict[str, str]
    verdicts: dict[str, DriftVerdict]
    trial_pods: dict[str, TrialPod]
    trying: dict[str, list[str]]
    pulling: set[str]
    started: int
    latencies: dict[str, float]
    deadly: set[str]
    device: dict[str, object]
    refuse: set[str]
    now: datetime
    name: str
    label: str
    next_label: str

    def reports(self) -> tuple[Report, ...]:
        """What reporters' pods told, one for each node whose revision has them."""
        return tuple(
            Report(name, revision, self.verdicts.get(name))
            for name, node in self.nodes.items()
            if (revision := node.labels.get(self.label, "")) in self.reporting
        )

    def go_on(self) -> None:
        """Trials go on, pods are replaced and become ready."""
        self.trial_pods = {name: self._go_on(one) for name, one in self.trial_pods.items() if one.node in self.nodes}
        for name, one_node in self.nodes.items():
            if one_node.ready:
                self._promote(name)
                self._pod(name, one_node.labels.get(self.label))
                self._next_pod(name, *parse_next(one_node.labels.get(self.next_label)))

    def _try(self, start: StartTrial) -> None:
        name = trial_pod_name(self.name, start.trial, start.node, list(start.images))
        assert name not in self.trial_pods, "a trial pod is made once"
        self.trying[name] = list(start.images)
        if start.keeps:
            self.pulling.add(name)
        else:
            self.started += 1
        self.trial_pods[name] = TrialPod(name, start.trial, start.node, False, False, {}, None)

    def _go_on(self, pod: TrialPod) -> TrialPod:
        """One more finalist is tried; one that is killed ends the pod."""
        waiting = [one for one in self.trying[pod.name] if one not in pod.ended]
        if not waiting or pod.over or not self.nodes[pod.node].ready:
            return pod
        if pod.name in self.pulling:
            return replace(pod, ended=dict.fromkeys(waiting, Ended(None, "Completed, exit code 0")))
        if self.holds_device(pod.node):
            return replace(pod, waiting="it cannot be scheduled: Insufficient example.com/tpu")
        name = waiting[0]
        if name in self.deadly:
            ended = Ended(None, "OOMKilled, exit code 137")
        else:
            found = SelfTest(True, "Passed", "fine", self.latencies[name], 1.0, 2**20, device=self.device)
            ended = Ended(found, "Completed, exit code 0")
        over = name in self.deadly or len(waiting) == 1
        return replace(pod, ended={**pod.ended, name: ended}, over=over)

    def holds_device(self, on: str) -> bool:
        """Whether a server on a node holds the device that a trial there would need."""
        return on in self.pods and any(devices_of(one, self.edge_model) for one in self.profiles)

    def _promote(self, on: str) -> None:
        """What was made ready beside the old server is the server once the label names it."""
        pod = self.next_pods.get(on)
        if pod and not pod.staging and pod.revision == self.nodes[on].labels.get(self.label):
            self.pods[on] = self.next_pods.pop(on)

    def _next_pod(self, on: str, revision: str | None, staging: bool) -> None:  # noqa: FBT001 -- as it is parsed
        if not revision:
            self.next_pods.pop(on, None)
            return
        old = self.next_pods.get(on)
        if old is None or (old.revision, old.staging) != (revision, staging):
            made = Pod(f"{on}-next-{revision}", on, revision, self.now, False, False, 0, None, None, None)
            self.next_pods[on] = replace(made, staging=staging)
        elif not old.ready:
            self.next_pods[on] = self._tested(old)

    def _tested(self, pod: Pod) -> Pod:
        """A pod whose self-test has ended."""
        bad = self.revisions[daemon_set_name(self.name, pod.revision)].build["source"]["sha256"] in self.refuse
        test = SelfTest(False, *MISMATCH) if bad else SelfTest(True, "Passed", "", p95_ms=12.34, device=self.device)
        return replace(pod, ready=not bad, selftest=test)

    def _pod(self, on: str, revision: str | None) -> None:
        if not revision or daemon_set_name(self.name, revision) not in self.revisions:
            self.pods.pop(on, None)
            return
        old = self.pods.get(on)
        if old is None or old.revision != revision:
            self.pods[on] = Pod(f"{on}-{revision}", on, revision, self.now, False, False, 0, None, None, None)
        elif not old.ready:
            self.pods[on] = self._tested(old)
