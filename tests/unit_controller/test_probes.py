"""When we ask to be started anew."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edgesmith.controller.metrics import METRICS, PASSES, Numbers
from edgesmith.controller.probes import ECHO_SECONDS, STUCK_SECONDS, Health


@dataclass
class Facts:
    age: float | None = 1.0
    dead: list[str] = field(default_factory=list)
    longest: float = 0.0
    synced: bool = True
    held: bool = True

    def health(self) -> Health:
        return Health(lambda: self.age, lambda: self.dead, lambda: self.longest, lambda: self.synced, lambda: self.held)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        pytest.param(Facts(), None, id="well"),
        pytest.param(Facts(age=None, synced=False, held=False), None, id="waiting-for-the-lease"),
        pytest.param(Facts(age=ECHO_SECONDS + 1), "The watch has not shown our own Lease for 61 s", id="no-echo"),
        pytest.param(Facts(dead=["nodes", "pods"]), "Nobody watches nodes, pods any more.", id="dead-watch"),
        pytest.param(Facts(dead=["nodes"], synced=False), None, id="not-watching-yet"),
        pytest.param(Facts(longest=STUCK_SECONDS + 1), "An EdgeModel has been waiting for 181 s.", id="stuck"),
    ],
)
def test_sick(facts: Facts, says: str | None) -> None:
    found = facts.health().sick()
    assert found is None if says is None else found is not None and found.startswith(says)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (Facts(), None),
        (Facts(held=False), "Another operator holds the Lease."),
        (Facts(synced=False), "The cluster has not been read yet."),
    ],
)
def test_unready(facts: Facts, says: str | None) -> None:
    assert facts.health().unready() == says


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
