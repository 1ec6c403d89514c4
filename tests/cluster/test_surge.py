"""Requests through the Service of every node while it goes from one revision to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.load import Load
from edgesmith_stage.waiting import until

pytestmark = pytest.mark.timeout(600)

NAME = "steady-parts"
ROLLOUT: dict[str, Any] = {"steps": [{"nodes": 1, "bake": "1s"}, {"nodes": "100%", "bake": "0s"}], "maxUnavailable": 2}
LONGEST_PAUSE = 15.0
"""Seconds for which a node may be without an answer with Replace; docs/rollout.md has what was measured."""


def test_no_request_is_lost_with_surge_and_with_replace_a_node_pauses(fleet: Fleet, tmp_path: Path) -> None:
    fleet.apply(fleet.manifest(NAME, fleet.publish("1"), rollout=ROLLOUT))
    fleet.wait_settled(NAME, 300)
    nodes = sorted(fleet.servers(NAME))
    assert set(nodes) == set(surface.EDGES)

    pods = fleet.pods(NAME)
    with Load(fleet, NAME, nodes, tmp_path / "surge") as load:
        _answered(load)
        _another_revision(fleet, "Surge", pods)
        _answered(load)
    for node, answers in load.answers().items():
        assert not answers.lost, f"{node} lost {answers.lost[:3]}"

    pods = fleet.pods(NAME)
    with Load(fleet, NAME, nodes, tmp_path / "replace") as load:
        _answered(load)
        _another_revision(fleet, "Replace", pods)
        _answered(load)
    for node, answers in load.answers().items():
        assert answers.longest < LONGEST_PAUSE, f"{node} was without an answer for {answers.longest:.2f} s"


def _another_revision(fleet: Fleet, strategy: str, before: dict[str, str]) -> None:
    """Another limit is another revision of the same image: nothing is built."""
    limit = {"Surge": "300Mi", "Replace": "320Mi"}[strategy]
    serving = {"resources": {"limits": {"memory": limit}}}
    fleet.patch(NAME, {"serving": serving, "rollout": {**ROLLOUT, "strategy": strategy}})
    until(
        lambda: not set(before) & set(fleet.pods(NAME)) and not _waiting(fleet),
        seconds=150,
        what="every node to serve another revision",
        detail=lambda: str(fleet.model(NAME).get("status")),
    )
    fleet.wait_settled(NAME)
    assert {variant["strategy"] for variant in fleet.variants(NAME).values()} == {strategy}


def _waiting(fleet: Fleet) -> bool:
    """Whether a node still makes something ready beside its server."""
    nodes = fleet.ground.kube.list("nodes", None)
    return any(f"{fleet.namespace}.next." in key for node in nodes for key in node["metadata"]["labels"])


def _answered(load: Load) -> None:
    """Wait until every node has had twenty answers more."""
    before = {node: one.asked - len(one.lost) for node, one in load.answers().items()}
    until(
        lambda: all(one.asked - len(one.lost) >= before[node] + 20 for node, one in load.answers().items()),
        seconds=30,
        what="answers on every node",
        detail=lambda: str({node: one.lost[:1] for node, one in load.answers().items()}),
    )
