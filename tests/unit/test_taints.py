"""Which taints keep pods away: the rules of Kubernetes, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from edgesmith.decide.taints import Taint, keeping_taint

LINE = Taint("line", "4", "NoSchedule")

CASES: dict[str, tuple[Taint, list[dict[str, Any]], bool]] = {
    "nothing tolerated": (LINE, [], True),
    "evicting": (Taint("line", "4", "NoExecute"), [], True),
    "only preferred": (Taint("line", "4", "PreferNoSchedule"), [], False),
    "cordoned": (Taint("node.kubernetes.io/unschedulable", "", "NoSchedule"), [], False),
    "a full disk, where the kubelet admits nothing": (
        Taint("node.kubernetes.io/disk-pressure", "", "NoSchedule"),
        [{"operator": "Exists"}],
        True,
    ),
    "out of reach": (Taint("node.kubernetes.io/unreachable", "", "NoExecute"), [], False),
    "without a network": (Taint("node.kubernetes.io/network-unavailable", "", "NoSchedule"), [], True),
    "equal": (LINE, [{"key": "line", "value": "4"}], False),
    "equal, said so": (LINE, [{"key": "line", "operator": "Equal", "value": "4", "effect": "NoSchedule"}], False),
    "another value": (LINE, [{"key": "line", "value": "5"}], True),
    "no value": (LINE, [{"key": "line"}], True),
    "another effect": (LINE, [{"key": "line", "operator": "Exists", "effect": "NoExecute"}], True),
    "exists": (LINE, [{"key": "line", "operator": "Exists"}], False),
    "another key": (LINE, [{"key": "row", "operator": "Exists"}], True),
    "everything": (LINE, [{"operator": "Exists"}], False),
    "the second of two": (LINE, [{"key": "row"}, {"key": "line", "operator": "Exists"}], False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_taint_and_tolerations(case: str) -> None:
    taint, tolerations, closed = CASES[case]
    assert keeping_taint([taint], tolerations) == (taint if closed else None)


def test_the_first_that_closes_is_named() -> None:
    tolerated = Taint("row", "", "NoSchedule")
    assert str(keeping_taint([tolerated, LINE], [{"key": "row"}])) == "line=4:NoSchedule"
