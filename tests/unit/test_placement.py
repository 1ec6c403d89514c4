"""What labels say that a node was given."""

from __future__ import annotations

from dataclasses import replace

import pytest
from snapshots import LABEL, NEXT, node

from edgesmith.api.names import parse_next, parse_node_label, staging_value
from edgesmith.decide.placement import Placement, placement


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, Placement(None)),
        ({LABEL: "old"}, Placement("old")),
        ({LABEL: "old", NEXT: "new"}, Placement("new", "old")),
        ({LABEL: "old", NEXT: "new.staging"}, Placement("new", "old", staging=True)),
        ({NEXT: "new"}, Placement("new", "")),
        ({LABEL: "new", NEXT: "new"}, Placement("new")),
    ],
)
def test_labels_say_what_a_node_was_given(labels: dict[str, str], expected: Placement) -> None:
    found = replace(node("e1"), labels=labels)
    assert placement(found, LABEL) == expected


def test_the_next_label_is_the_operator_s_own_and_reads_back() -> None:
    assert parse_node_label(NEXT) == parse_node_label(LABEL) == ("plant", "parts")
    assert NEXT.partition("/")[0].endswith(".node-restriction.kubernetes.io"), "no kubelet may write it"
    assert parse_next(staging_value("abc")) == ("abc", True)
