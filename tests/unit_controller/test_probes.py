"""When we ask to be started anew."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edgesmith.controller.metrics import METRICS, PASSES, Numbers
from edgesmith.controller.probes import SILENT_SECONDS, Probes


@dataclass
class Facts:
    age: float | None = 1.0
    renewed: float | None = 1.0
    dead: list[str] = field(default_factory=list)
    synced: bool = True
    held: bool = True

    def probes(self) -> Probes:
        return Probes(lambda: self.age, lambda: self.renewed, lambda: self.dead, lambda: self.synced, lambda: self.held)


SILENT = SILENT_SECONDS + 1


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        pytest.param(Facts(), None, id="healthy"),
        pytest.param(Facts(age=None, renewed=None, synced=False, held=False), None, id="waiting-for-the-lease"),
        pytest.param(
            Facts(age=SILENT),
            "The watch has not shown our own Lease for 61 s; it was renewed 1 s ago.",
            id="silent-watch",
        ),
        pytest.param(Facts(age=SILENT, renewed=SILENT), None, id="api-server-down"),
        pytest.param(Facts(dead=["nodes", "pods"]), "The watch of nodes, pods has ended.", id="dead-watch"),
        pytest.param(Facts(dead=["nodes"], synced=False), None, id="not-watching-yet"),
    ],
)
def test_unhealthy(facts: Facts, says: str | None) -> None:
    assert facts.probes().unhealthy() == says


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (Facts(), None),
        (Facts(held=False), "Another operator holds the Lease."),
        (Facts(synced=False), "The cluster has not been read yet."),
    ],
)
def test_unready(facts: Facts, says: str | None) -> None:
    assert facts.probes().unready() == says


def test_metrics_are_all_there_from_the_start_and_count() -> None:
    numbers = Numbers()
    numbers.count(PASSES, label="failed")
    numbers.count(PASSES, label="failed")
    text = numbers.render()
    assert 'edgesmith_passes_total{result="failed"} 2\n' in text
    assert 'edgesmith_passes_total{result="changed"} 0\n' in text
    for metric in METRICS:
        assert f"# TYPE {metric.name} {metric.type}\n" in text
        assert any(line.startswith((f"{metric.name} ", f"{metric.name}{{")) for line in text.splitlines())
