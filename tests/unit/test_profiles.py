"""Which profiles an EdgeModel names, and of which of them a node is."""

from __future__ import annotations

from typing import Any

import pytest
from snapshots import model, node, profile

from edgesmith.api.selection import LabelSelector
from edgesmith.decide.profiles import assign, resolve, selects


def requirement(operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "class", "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        pytest.param({}, {}, True, id="empty picks all"),
        pytest.param({"matchLabels": {"class": "pi"}}, {"class": "pi"}, True, id="label"),
        pytest.param({"matchLabels": {"class": "pi"}}, {}, False, id="label missing"),
        pytest.param(requirement("In", "pi", "nuc"), {"class": "nuc"}, True, id="In"),
        pytest.param(requirement("In", "pi"), {}, False, id="In without label"),
        pytest.param(requirement("NotIn", "pi"), {"class": "pi"}, False, id="NotIn"),
        pytest.param(requirement("NotIn", "pi"), {}, True, id="NotIn without label"),
        pytest.param(requirement("Exists"), {"class": ""}, True, id="Exists"),
        pytest.param(requirement("DoesNotExist"), {"class": ""}, False, id="DoesNotExist"),
    ],
)
def test_selectors(selector: dict[str, Any], labels: dict[str, str], expected: bool) -> None:  # noqa: FBT001 -- a column of the table
    assert selects(LabelSelector.model_validate(selector), labels) is expected


def test_names_come_in_one_order_and_say_who_is_missing() -> None:
    found = resolve(model(deviceProfiles={"names": ["z", "amd64", "a"]}), (profile(), profile("a")))
    assert [one.metadata.name for one in found.profiles] == ["a", "amd64"]
    assert found.missing == ("z",)


@pytest.mark.parametrize(
    ("allowed", "may"),
    [
        pytest.param(None, True, id="absent is every namespace"),
        pytest.param(["*"], True, id="star"),
        pytest.param(["other", "plant"], True, id="named"),
        pytest.param(["other", "plant-2"], False, id="not named"),
    ],
)
def test_a_profile_says_which_namespaces_may_use_it(allowed: list[str] | None, may: bool) -> None:  # noqa: FBT001 -- a column of the table
    limited = profile("secret", **({"allowedNamespaces": allowed} if allowed else {}))
    named = resolve(model(deviceProfiles={"names": ["secret", "amd64", "gone"]}), (profile(), limited))
    assert [one.metadata.name for one in named.profiles] == (["amd64", "secret"] if may else ["amd64"])
    assert (named.missing, tuple(named.refused)) == (("gone",), () if may else ("secret",))
    selected = resolve(model(deviceProfiles={"selector": {}}), (profile(), limited))
    assert [one.metadata.name for one in selected.profiles] == (["amd64", "secret"] if may else ["amd64"])
    assert selected.unusable == ()


def test_a_node_needs_the_labels_of_both_selectors() -> None:
    nodes = (node("n1", zone="x"), node("n2", zone="y"), node("n3", "other", zone="x"))
    found = assign(model(nodeSelector={"zone": "x"}), (profile(),), nodes)
    assert found.profile_of == {"n1": "amd64"}
    assert found.unmatched == ("n3",)


def test_without_a_node_selector_nobody_is_unmatched() -> None:
    assert assign(model(), (profile(),), (node("n", "other"),)).unmatched == ()


def test_a_node_of_two_profiles_is_of_neither() -> None:
    found = assign(model(), (profile(), profile("twin", nodeSelector={"device": "amd64"})), (node("n"),))
    assert found.profile_of == {}
    assert found.ambiguous == {"n": ("amd64", "twin")}
