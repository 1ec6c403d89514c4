"""A simulated fleet whose images are large, and on some of whose machines there is no room for one at times."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from machines import Beside, Server
from rollout_world import World
from snapshots import REPORT

from edgesmith.decide.snapshot import Pod
from edgesmith_builder.contract import LARGE, BuildReport

SIZE = LARGE + 1
LACKS = "its disk has 100 MiB free, and 300 MiB are needed: 257 for the image, and 43 that stay free"


@dataclass
class RoomWorld(World):
    """Every image is large: pods that stage one look for room first, and pull nothing where there is none."""

    full: set[str] = field(default_factory=set)
    """Machines without room for another image."""
    found: dict[str, str] = field(default_factory=dict)
    """By node: the pod that has found room; it does not look again."""
    pulled: list[tuple[str, str]] = field(default_factory=list)
    """What machines began to pull though they had no room, and the revision."""

    def report_of(self, key: str) -> BuildReport:
        """What the build of a key says."""
        assert not self.latencies, f"the build {key} has one candidate"
        finalists = tuple(one.model_copy(update={"footprint": SIZE}) for one in REPORT.finalists)
        told = {"footprint": SIZE, "base": f"sha256:{'b' * 64}", "finalists": finalists}
        return REPORT.model_copy(update=told)

    def _reported(self, name: str, pod: Pod, server: Server | Beside) -> Pod:
        looks = pod.staging and self.rooms.get(pod.revision) is not None
        if looks and self.found.get(name) != pod.name:
            if name in self.full:
                server.started = self.now  # nothing is pulled before there is room
                return replace(pod, lacks=LACKS)
            self.found[name], server.started = pod.name, self.now
            pod = replace(pod, lacks="")
        reported = super()._reported(name, pod, server)
        if reported.pulled and not pod.pulled and looks and name in self.full:
            self.pulled.append((name, pod.revision))
        return reported
