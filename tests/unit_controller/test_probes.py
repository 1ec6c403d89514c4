"""When we ask to be started anew."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edgesmith.controller.metrics import METRICS, PASS_SECONDS, PASSES, Numbers
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
        name = f"{metric.name}_count" if metric.type == "histogram" else metric.name
        if metric.type == "gauge" and metric.labels:
            continue  # of EdgeModels, of which there is none
        assert any(line.startswith((f"{name} ", f"{name}{{")) for line in text.splitlines())


def test_a_histogram_counts_by_upper_bounds() -> None:
    numbers = Numbers()
    for seconds in (0.004, 0.05, 0.051, 100.0):
        numbers.observe(PASS_SECONDS, seconds)
    lines = numbers.render().splitlines()
    found = {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith(PASS_SECONDS.name)}
    buckets = [found[f'edgesmith_pass_seconds_bucket{{le="{bound}"}}'] for bound in (0.01, 0.05, 0.1, 60.0, "+Inf")]
    assert buckets == [1, 2, 3, 3, 4]
    assert found["edgesmith_pass_seconds_count"] == 4
    assert found["edgesmith_pass_seconds_sum"] == pytest.approx(100.105)
