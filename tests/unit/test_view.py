"""A snapshot, seen by profile: of which variant each node is, and what its label, pods and marks say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from snapshots import NOW, image, key_of, model, node, pod, profile, snapshot

from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.decide.fleet import NodeState, ServerState
from edgesmith.decide.snapshot import Revision
from edgesmith.decide.taints import Taint
from edgesmith.decide.view import View

TWO = {"names": ["amd64", "twin"]}
BOTH = (profile(), profile("twin", nodeSelector={"device": "amd64"}))


def revision(name: str, of: str = "amd64") -> Revision:
    return Revision(f"parts-{name}", name, of, "registry:5000/x@sha256:0", NOW, {})


def status(**marks: Any) -> dict[str, Any]:
    """A status that knows one revision, `r`."""
    return {"revisions": [{"name": "r", "profile": "amd64", **marks}]}


def view(of: Any = None, **more: Any) -> View:
    facts = {"revisions": (revision("r"),)} | more
    seen = snapshot(of or model(), **facts)
    return View(seen, NOW)


def only(found: View, of: str = "amd64") -> NodeState:
    """The one node of a profile."""
    (one,) = found.nodes[of]
    return one


def leaving(found: View) -> list[str]:
    return [one.name for one in found.leaving]


def test_a_node_is_of_its_profile_and_one_without_a_label_is_of_none() -> None:
    found = view(nodes=(node("b"), node("a"), node("c", "other"), node("d", "other", revision="r")))
    assert [one.name for one in found.nodes["amd64"]] == ["a", "b"]
    assert leaving(found) == ["d"]


def test_the_profiles_tolerations_are_its_nodes() -> None:
    tainted = replace(node("n", revision="r"), taints=(Taint("edge", "", "NoSchedule"),))
    assert only(view(nodes=(tainted,))).taint == "edge:NoSchedule"
    tolerant = profile(runtime={"tolerations": [{"key": "edge", "operator": "Exists"}]})
    assert only(view(nodes=(tainted,), profiles=(tolerant,))).taint == ""


def test_a_label_of_another_profiles_revision_is_foreign_and_may_be_gone_back_to() -> None:
    found = view(nodes=(node("n", revision="r"),), revisions=(revision("r", "other"), revision("own")))
    assert only(found).foreign
    assert found.variants()[0].usable == {"r"}
    assert not only(view(nodes=(node("n", revision="r"),))).foreign


def test_a_server_without_a_daemonset_is_still_a_server() -> None:
    there = node("n", revision="unseen")
    assert only(view(nodes=(there,), pods=(pod("n", "unseen"),))).server is ServerState.SERVING
    assert only(view(nodes=(there,), pods=(pod("n", "unseen", ready=False),))).server is ServerState.NONE
    assert only(view(nodes=(there,), pods=(pod("n", "r"),))).server is ServerState.NONE


@pytest.mark.parametrize(
    ("marks", "unfinished"),
    [({}, True), ({"provenTime": "2030-01-01T00:00:00Z"}, True), ({"completedTime": "2030-01-01T00:00:00Z"}, False)],
)
def test_it_matters_that_a_node_is_lost_until_its_revision_is_completed(marks: Any, unfinished: bool) -> None:  # noqa: FBT001 -- a column of the table
    of = model().model_copy(update={"status": status(**marks)})
    assert only(view(of, nodes=(node("n", revision="r"),))).unfinished is unfinished


def test_a_node_of_two_profiles_keeps_what_it_runs_unless_that_was_rolled_back() -> None:
    twice = {"profiles": BOTH, "nodes": (node("n", revision="r"), node("m"))}
    found = view(model(deviceProfiles=TWO), **twice)
    assert (found.nodes, leaving(found)) == ({"amd64": [], "twin": []}, [])
    bad = model(deviceProfiles=TWO).model_copy(update={"status": status(rolledBack=True)})
    assert leaving(view(bad, **twice)) == ["n"]


@pytest.mark.parametrize("unreadable", [(), ("gone",)])
def test_nodes_of_a_profile_that_is_missing_or_unreadable_keep_what_they_run(unreadable: tuple[str, ...]) -> None:
    names = ["amd64", "gone"] if not unreadable else ["amd64"]
    of = model(deviceProfiles={"names": names}, nodeSelector={"site": "lab"})
    theirs = revision("r", "gone")
    nodes = (node("a", "gone", revision="r", site="lab"), node("b", "gone", revision="r", site="hall"))
    found = view(of, nodes=nodes, revisions=(theirs,), unreadable_profiles=unreadable)
    assert [one.name for one in found.nodes["gone"]] == ["a"]
    assert leaving(found) == ["b"], "but not where spec.nodeSelector leaves them out"


def test_a_node_of_two_profiles_is_not_counted_to_a_third_that_is_missing() -> None:
    names = {"names": ["amd64", "gone", "twin"]}
    theirs = (revision("r", "gone"),)
    found = view(model(deviceProfiles=names), profiles=BOTH, nodes=(node("n", revision="r"),), revisions=theirs)
    assert found.nodes.get("gone", []) == []


RETRIES = {"none asked for": ("", False), "the one that failed": ("1", False), "a later one": ("2", True)}


@pytest.mark.parametrize("case", RETRIES)
def test_a_later_retry_word_gives_a_revision_that_was_rolled_back_another_try(case: str) -> None:
    word, again = RETRIES[case]
    asked = model(annotations={RETRY_ANNOTATION: word} if word else {})
    images = {key_of(asked): image(asked)}
    (target,) = view(asked, images=images).targets.values()
    marks = {"revisions": [{"name": target, "profile": "amd64", "rolledBack": True, "attempt": "1"}]}
    found = view(asked.model_copy(update={"status": marks}), images=images, revisions=(revision(target),))
    (state,) = found.terms.states["amd64"]
    assert (bool(state.rolled_back), target in found.terms.retried) == (not again, again)


def test_marks_are_of_their_revisions_and_a_target_without_a_daemonset_is_new() -> None:
    of = model().model_copy(update={"status": status(steps=1)})
    found = view(of)
    (target,) = found.targets.values()
    assert {one.revision: (one.steps, one.created) for one in found.terms.states["amd64"]} == {
        "r": (1, NOW),
        target: (0, NOW),
    }
