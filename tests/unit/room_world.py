"""A simulated fleet whose images are large, and on some of whose machines there is no room for one at times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from machines import Beside, Server
from rollout_world import World

from edgesmith.api.names import daemon_set_name, trial_pod_name
from edgesmith.decide.plan import StartTrial
from edgesmith.decide.record import parse_record
from edgesmith.decide.snapshot import Pod, TrialPod
from edgesmith_builder.contract import LARGE, BuildReport

SIZE = LARGE + 1
LACKS = "its disk has 100 MiB free, and 300 MiB are needed: 257 for what is pulled, and 43 that stay free"


@dataclass
class RoomWorld(World):
    """Every image is large: who pulls one looks for room first, and pulls nothing where there is none."""

    full: set[str] = field(default_factory=set)
    """Machines without room for another image."""
    found: dict[str, str] = field(default_factory=dict)
    """By node: the pod that has found room; it does not look again."""
    images: set[tuple[str, str]] = field(default_factory=set)
    """Which machine has which image, be it of a server or of a candidate that it tried."""
    asked_for: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """By trial pod: the images of its finalists."""
    sought: dict[str, int] = field(default_factory=dict)
    """By trial pod: the bytes that it looks for; 0 where it looks for none."""
    pulled: list[tuple[str, str]] = field(default_factory=list)
    """What machines that had no room, and did not go back, pulled without a look: the machine and the image."""

    def report_of(self, key: str) -> BuildReport:
        """What the build of a key says."""
        report = super().report_of(key)
        finalists = tuple(one.model_copy(update={"footprint": SIZE}) for one in report.finalists)
        told = {"footprint": SIZE, "base": f"sha256:{'b' * 64}", "finalists": finalists}
        return report.model_copy(update=told)

    def _try(self, start: StartTrial) -> None:
        super()._try(start)
        name = trial_pod_name(self.name, start.trial, start.node, list(start.images))
        self.sought[name] = start.room.size if start.room else 0
        self.asked_for[name] = start.images
        if start.room is None and not any(pod.node == start.node and pod.roomy for pod in self.trial_pods.values()):
            self.pulled.append((start.node, name))

    def _go_on(self, pod: TrialPod) -> TrialPod:
        """A pod that tries or pulls looks before all else."""
        if self.sought[pod.name] and not (pod.roomy or pod.over):
            if pod.node in self.full:
                return replace(pod, over=True, lacks=LACKS)
            pod = replace(pod, roomy=True)
        pod = super()._go_on(pod)
        self.images |= {(pod.node, self.asked_for[pod.name][finalist]) for finalist in pod.ended}
        return pod

    def _reported(self, name: str, pod: Pod, server: Server | Beside) -> Pod:
        looks = pod.staging and self.rooms.get(pod.revision) is not None
        if looks and self.found.get(name) != pod.name:
            if name in self.full:
                server.started = self.now  # nothing is pulled before there is room
                return replace(pod, lacks=LACKS)
            self.found[name], server.started = pod.name, self.now
            pod = replace(pod, lacks="")
        reported = super()._reported(name, pod, server)
        image = (name, self._image(pod.revision))
        if reported.pulled and image not in self.images:
            if name in self.full and not looks and not self._goes_back(name):
                self.pulled.append(image)
            self.images.add(image)
        return reported

    def _image(self, revision: str) -> str:
        found = self.revisions.get(daemon_set_name(self.name, revision))
        return found.image if found else revision

    def _goes_back(self, name: str) -> bool:
        """Whether a node leaves what failed on it or was rolled back."""
        kept = parse_record(self.nodes[name].records.get(self.label), self.now)
        marks = self.edge_model.status["revisions"]
        left = {one["name"] for one in marks if one.get("rolledBack")}
        return kept is not None and (bool(kept.failures) or kept.previous in left)
