"""What pods need of a node: the same, whether a profile says so or the DaemonSet that was made of it."""

from __future__ import annotations

from typing import Any

import pytest
from made import applied
from snapshots import model, profile

from edgesmith.decide.needs import Needs, needs_in, needs_of

CORAL = "squat.ai/edgetpu"
TOLERATIONS = [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}]
RUNTIMES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a limit": {"resources": {"limits": {CORAL: 1, "memory": "1Gi"}}},
    "a request": {"resources": {"requests": {CORAL: "2", "cpu": "500m"}}},
    "tolerations": {"tolerations": TOLERATIONS},
    "both": {"resources": {"limits": {CORAL: 1, "nvidia.com/gpu": 2}}, "tolerations": TOLERATIONS},
}


@pytest.mark.parametrize("case", RUNTIMES)
def test_a_daemonset_says_what_its_profile_said(case: str) -> None:
    board = profile(runtime=RUNTIMES[case])
    found = needs_in(applied(board))
    assert found == needs_of(board, model())
    assert (found == Needs()) is (case == "nothing")


def test_what_the_edgemodel_asks_for_stands_there_too() -> None:
    serving: dict[str, Any] = {"serving": {"resources": {"limits": {CORAL: 3}}}}
    assert needs_in(applied(**serving)) == needs_of(profile(), model(**serving)) == Needs(devices={CORAL: 3})


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {"containers": None, "tolerations": "all"},
        {"containers": [None, {}, {"resources": None}, {"resources": {"limits": []}}]},
        {"containers": [{"resources": {"limits": {CORAL: "a few"}}}]},
    ],
)
def test_what_somebody_else_wrote_there_needs_nothing(spec: Any) -> None:
    assert needs_in({"spec": {"template": {"spec": spec}}}) == Needs()
    assert needs_in({}) == Needs()
