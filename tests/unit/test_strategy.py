"""How a revision takes over from another on a node, by what the node can hold."""

from __future__ import annotations

from typing import Any

import pytest
from snapshots import model, profile

from edgesmith.decide.strategy import strategy_of

SMALL = {"hardware": {"memory": "1Gi"}}


CORAL = {"runtime": {"resources": {"limits": {"google.com/coral": 1}}}}


@pytest.mark.parametrize(
    ("at", "spec", "expected"),
    [
        ({}, {}, ("Surge", "", "")),
        ({"hardware": {"memory": "2Gi"}}, {}, ("Surge", "", "")),
        (SMALL, {}, ("Replace", "may use 2048Mi of memory", "Pull")),
        (SMALL, {"serving": {"resources": {"limits": {"memory": "300Mi"}}}}, ("Surge", "", "")),
        (CORAL, {}, ("Replace", "google.com/coral", "Pull")),
        ({}, {"serving": {"expose": {"type": "HostPort", "httpPort": 80}}}, ("Replace", "HostPort", "Test")),
        ({}, {"serving": {"expose": {"type": "NodePort"}}}, ("Surge", "", "")),
    ],
)
def test_where_a_node_cannot_hold_two_servers_the_strategy_is_replace_and_says_why(
    at: dict[str, Any], spec: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    found = strategy_of(profile(**at), model(**spec))
    assert (found.name, found.staging) == (expected[0], expected[2])
    assert expected[1] in found.why
    assert bool(found.why) == bool(expected[1])
    rollout = {"rollout": {"strategy": "Replace"}}
    asked = strategy_of(profile(**at), model(**(spec | rollout)))
    assert (asked.name, asked.why, asked.staging) == ("Replace", "", expected[2] or "Test")
