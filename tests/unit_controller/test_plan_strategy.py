"""What `edgesmith plan` says of how nodes change their revision."""

from __future__ import annotations

from typing import Any

import pytest
from clusters import three_nodes
from snapshots import model, profile

from edgesmith.cli import plan as planning
from edgesmith.decide import decide


def strategy_lines(of: Any = None, **spec: Any) -> list[str]:
    cluster = three_nodes()
    cluster.edge_model = model(**spec)
    cluster.profiles = (of or profile(),)
    seen = cluster.snapshot()
    text = planning.as_text([planning.Planned(seen, decide(seen, cluster.now), None)])
    return [line for line in text.splitlines() if line.startswith("  strategy ")]


def test_where_it_is_another_than_the_spec_asks_for_the_plan_says_why() -> None:
    assert strategy_lines(serving={"expose": {"type": "HostPort"}}) == [
        "  strategy  amd64: Replace, since spec.serving.expose.type is HostPort, and one pod of a node can have a port."
    ]


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (
            profile(runtime={"resources": {"limits": {"example.com/tpu": 1}}}),
            "the servers of amd64 ask for example.com/tpu, which one pod holds at a time.",
        ),
        (
            profile(hardware={"memory": "1Gi"}, runtime={"resources": {"limits": {"memory": "600Mi"}}}),
            "two servers of amd64 may use 1200Mi of memory, and spec.hardware.memory of the DeviceProfile is 1Gi.",
        ),
    ],
)
def test_so_it_does_where_a_node_cannot_hold_two_servers(of: Any, why: str) -> None:
    assert strategy_lines(of) == [f"  strategy  amd64: Replace, since {why}"]


def test_it_says_nothing_where_the_spec_is_followed() -> None:
    assert strategy_lines() == []
    assert strategy_lines(rollout={"strategy": "Replace"}, serving={"expose": {"type": "HostPort"}}) == []
