"""Whole passes over nodes that leave, return, fail, or may not be touched."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from snapshots import labels, publish, said, sentence, three_nodes

from edgesmith.decide import decide
from edgesmith.decide.taints import Taint


def test_an_offline_node_is_caught_up_when_it_returns() -> None:
    cluster = three_nodes()
    cluster.nodes["e3"] = replace(cluster.nodes["e3"], online=False)
    plan = cluster.run(14)
    assert said(plan)["Ready"] == ("True", "NodesOffline")
    assert sentence(plan) == "Serving on 2 of 3 nodes, 1 offline."
    assert [(one.name, one.reason) for one in plan.status.pending] == [("e3", "NotReady")]
    assert "Reconciling" not in said(plan)
    cluster.nodes["e3"] = replace(cluster.nodes["e3"], online=True, online_since=cluster.now)
    plan = cluster.run(4)
    assert said(plan)["Ready"] == ("True", "Succeeded")
    assert len(set(labels(cluster).values())) == 1


def test_a_revision_that_was_taken_back_stays_so_with_every_node_away() -> None:
    cluster = three_nodes()
    cluster.run(16)
    cluster.refuse.add("b" * 64)
    publish(cluster, "b")
    cluster.run(10)
    cluster.nodes = {name: replace(one, online=False) for name, one in cluster.nodes.items()}
    assert said(cluster.run(1))["Ready"] == ("False", "RolledBack")


def test_with_every_node_away_nothing_is_wrong() -> None:
    cluster = three_nodes()
    cluster.nodes = {name: replace(one, online=False) for name, one in cluster.nodes.items()}
    plan = cluster.run(3)
    assert said(plan)["Ready"] == ("True", "NodesOffline")
    assert sentence(plan) == "Serving on 0 of 3 nodes, 3 offline."


def test_a_profile_that_disappears_leaves_its_nodes_serving() -> None:
    cluster = three_nodes()
    cluster.run(16)
    before = labels(cluster)
    cluster.profiles = ()
    plan = decide(cluster.snapshot(), cluster.now)
    assert plan.moves == ()
    assert plan.deletes == () or all(delete.kind == "Job" for delete in plan.deletes)
    assert said(plan)["Stalled"] == ("True", "ProfileNotFound")
    assert labels(cluster) == before
    assert plan.status.nodes.ready == 3


def test_a_node_that_leaves_the_profile_loses_its_label() -> None:
    cluster = three_nodes()
    cluster.run(16)
    cluster.nodes["e2"] = replace(cluster.nodes["e2"], labels={**cluster.nodes["e2"].labels, "device": "other"})
    plan = cluster.run(1)
    assert [(move.node, move.revision) for move in plan.moves] == [("e2", None)]


def test_a_node_that_fails_after_completion_is_named_and_withdraws_nothing() -> None:
    cluster = three_nodes()
    cluster.run(16)
    late = cluster.now - timedelta(minutes=10)
    cluster.pods["e2"] = replace(
        cluster.pods["e2"], ready=False, ready_since=None, created=late, unready_since=late, waiting="CrashLoopBackOff"
    )
    plan = decide(cluster.snapshot(), cluster.now)
    assert plan.moves == ()
    assert said(plan)["Stalled"] == ("True", "NodesNotReady")
    assert "e2" in sentence(plan)


def test_a_blip_of_a_pod_that_served_for_days_is_no_failure() -> None:
    cluster = three_nodes()
    cluster.run(16)
    old = cluster.now - timedelta(days=3)
    cluster.pods["e2"] = replace(
        cluster.pods["e2"], ready=False, ready_since=None, created=old, unready_since=cluster.now
    )
    plan = decide(cluster.snapshot(), cluster.now)
    assert said(plan)["Ready"] == ("False", "RollingOut")
    assert plan.look_again == 300


def test_an_image_that_cannot_be_pulled_is_named_at_once_and_judged_by_the_deadline() -> None:
    cluster = three_nodes()
    cluster.run(2)
    stuck = replace(cluster.pods["e1"], waiting="ImagePullBackOff", waiting_message="no route to registry:5000")
    cluster.pods["e1"] = stuck
    plan = decide(cluster.snapshot(), cluster.now)
    assert said(plan)["Reconciling"] == ("True", "ImagePullFailed")
    assert "no route to registry:5000" in sentence(plan)
    assert plan.moves == ()
    plan = decide(cluster.snapshot(), stuck.created + timedelta(minutes=5))
    assert [(move.node, move.revision) for move in plan.moves] == [("e1", None)]


def test_a_node_closed_by_a_taint_keeps_what_it_runs_and_is_caught_up_without_it() -> None:
    cluster = three_nodes()
    cluster.run(16)
    before, pod = labels(cluster)["e1"], cluster.pods["e1"]
    cluster.nodes["e1"] = replace(cluster.nodes["e1"], taints=(Taint("maintenance", "", "NoSchedule"),))
    publish(cluster, "b")
    plan = cluster.run(14)
    assert (labels(cluster)["e1"], cluster.pods["e1"]) == (before, pod)
    assert said(plan)["Ready"] == ("True", "NodesClosed")
    assert sentence(plan) == "Serving on 2 of 3 nodes, 1 closed by a taint."
    assert plan.status.pending[0].reason == "Tainted"
    assert plan.status.pending[0].message == (
        "It carries taint maintenance:NoSchedule, which the tolerations of its DeviceProfile leave out; "
        "it will be caught up when that ends."
    )
    cluster.nodes["e1"] = replace(cluster.nodes["e1"], taints=())
    plan = cluster.run(4)
    assert sentence(plan) == "Serving on 3 of 3 nodes."
    assert len(set(labels(cluster).values())) == 1
