"""What `edgesmith plan` says of how nodes change their revision."""

from __future__ import annotations

from typing import Any

from clusters import three_nodes
from snapshots import model

from edgesmith.cli import plan as planning
from edgesmith.decide import decide


def strategy_lines(**spec: Any) -> list[str]:
    cluster = three_nodes()
    cluster.edge_model = model(**spec)
    seen = cluster.snapshot()
    text = planning.as_text([planning.Planned(seen, decide(seen, cluster.now), None)])
    return [line for line in text.splitlines() if line.startswith("  strategy ")]


def test_where_it_is_another_than_the_spec_asks_for_the_plan_says_why() -> None:
    assert strategy_lines(serving={"expose": {"type": "HostPort"}}) == [
        "  strategy  amd64: Replace, since spec.serving.expose.type is HostPort, and one pod of a node can have a port."
    ]


def test_it_says_nothing_where_the_spec_is_followed() -> None:
    assert strategy_lines() == []
    assert strategy_lines(rollout={"strategy": "Replace"}, serving={"expose": {"type": "HostPort"}}) == []
