"""Whose word on drift counts, and what becomes of an episode, while the spec asks for another source than nodes run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from clusters import UNREACHABLE, Cluster, labels, publish
from snapshots import ROLLOUT, SETTINGS, node, profile
from test_retraining import STEADY, drift_on, drifted, episode, feedback, rolled_out

from edgesmith.decide import decide
from edgesmith.decide.watched import sources_of
from edgesmith.resources import retraining_job

REFUSED: dict[str, dict[str, Any]] = {
    "by its gates": UNREACHABLE,
    "by its nodes": {},
    "for a digest": {"calibration": {"uri": "s3://models/parts/set.npz"}},
}
"""Why a newer source is not rolled out, and the fields of the spec that bring it about."""


def publish_refused(cluster: Cluster, why: str) -> None:
    """A newer source that is not rolled out."""
    if why == "by its nodes":
        cluster.refuse.add("b" * 64)
    publish(cluster, "b", generation=3, feedback=feedback(), **REFUSED[why])


def gone_back() -> Cluster:
    """Three nodes that run the first source again, as rollbackTo asks for."""
    cluster = rolled_out()
    publish(cluster, "b", generation=3, feedback=feedback())
    cluster.run(40)
    first, second = revision_of(cluster, "a"), revision_of(cluster, "b")
    assert cluster.reporting.keys() == {second}
    back = ROLLOUT | {"rollbackTo": [{"from": second, "revision": first}]}
    publish(cluster, "b", generation=4, feedback=feedback(), rollout=back)
    cluster.run(40)
    return cluster


def revision_of(cluster: Cluster, digit: str) -> str:
    """The revision that was built of a source."""
    (found,) = (one for one in cluster.revisions.values() if one.build["source"]["sha256"] == digit * 64)
    return found.revision


def assert_watched(cluster: Cluster) -> None:
    """The nodes run the first source, and what they say of drift is heard."""
    first = revision_of(cluster, "a")
    assert set(labels(cluster).values()) == {first}
    assert cluster.reporting.keys() == {first}
    cluster.verdicts = dict.fromkeys(cluster.nodes, drifted())
    cluster.run(1)
    (found,) = (one for one in cluster.edge_model.status["conditions"] if one["type"] == "Drifted")
    assert found["status"] == "True"


def test_what_rollback_to_puts_in_the_place_of_another_is_watched() -> None:
    assert_watched(gone_back())


@pytest.mark.parametrize("why", REFUSED)
def test_what_nodes_keep_is_watched_where_the_newer_source_is_refused(why: str) -> None:
    cluster = rolled_out()
    publish_refused(cluster, why)
    cluster.run(40)
    assert_watched(cluster)


@pytest.mark.parametrize("why", REFUSED)
def test_a_source_that_is_not_rolled_out_ends_no_episode(why: str) -> None:
    cluster = rolled_out()
    drift_on(cluster, 0)
    cluster.run(3)
    first = episode(cluster)["id"]
    publish_refused(cluster, why)
    for _ in range(40):
        cluster.run(1)
        assert (episode(cluster)["id"], episode(cluster).get("ended")) == (first, None)
    publish(cluster, "a", generation=4, feedback=feedback())
    cluster.run(10)
    assert (episode(cluster)["id"], episode(cluster).get("ended")) == (first, None)
    assert len(cluster.fired) == 2


@pytest.mark.parametrize("back", [False, True])
def test_what_is_trained_anew_is_what_drifts_whatever_the_spec_asks_for(*, back: bool) -> None:
    cluster = gone_back() if back else rolled_out()
    if not back:
        publish_refused(cluster, "by its gates")
        cluster.run(40)
    drift_on(cluster, 0)
    plan = decide(cluster.snapshot(), cluster.now)
    assert len(plan.retraining) == 2
    for one in plan.retraining:
        (container,) = retraining_job(cluster.edge_model, one, SETTINGS)["spec"]["template"]["spec"]["containers"]
        told = {entry["name"]: entry.get("value", "") for entry in container["env"]}
        facts = json.loads(told.get("EDGESMITH_DRIFT") or told["EDGESMITH_EVENT"])
        source = (facts.get("data") or facts)["source"]
        assert source == {"uri": "s3://models/parts/a/model.onnx", "sha256": "a" * 64}


def test_one_profile_that_comes_first_ends_no_episode_of_the_others() -> None:
    of = {"deviceProfiles": {"names": ["amd64", "other"]}, "feedback": feedback()}
    nodes = {name: node(name, device) for name, device in (("e1", "amd64"), ("o1", "other"))}
    cluster = Cluster(profiles=(profile(), profile("other")), nodes=nodes)
    publish(cluster, "a", generation=2, **of)
    cluster.run(30)
    cluster.nodes["o1"] = replace(cluster.nodes["o1"], ready=False)
    drift_on(cluster, 0)
    cluster.run(3)
    first = episode(cluster)["id"]
    publish(cluster, "b", generation=3, **of)
    cluster.verdicts = {"e1": STEADY, "o1": drifted()}
    cluster.run(30)
    assert (episode(cluster)["id"], episode(cluster).get("ended")) == (first, None)
    assert len(cluster.fired) == 2


def test_a_daemon_set_that_does_not_say_what_it_was_built_of_is_left_out() -> None:
    snapshot = rolled_out().snapshot()
    (one,) = snapshot.revisions
    assert sources_of(snapshot, ()) == {one.revision: ("s3://models/parts/a/model.onnx", "a" * 64)}
    strange: tuple[dict[str, Any], ...] = ({}, {"source": 5}, {"source": {"uri": "s3://m", "sha256": 7}})
    for build in strange:
        assert sources_of(replace(snapshot, revisions=(replace(one, build=build),)), ()) == {}
