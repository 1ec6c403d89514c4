"""Whole passes over nodes that leave, return, fail, or may not be touched."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from clusters import Cluster, labels, publish, three_nodes, upcoming
from snapshots import LABEL, ROLLOUT, key_of, model, node, profile, said, sentence

from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.decide import decide
from edgesmith.decide.taints import Taint

PAUSED = ROLLOUT | {"paused": True}


def test_a_node_that_is_not_ready_is_updated_when_it_returns() -> None:
    cluster = three_nodes()
    cluster.nodes["e3"] = replace(cluster.nodes["e3"], ready=False)
    plan = cluster.run(18)
    assert said(plan)["Ready"] == ("True", "NodesNotReady")
    assert sentence(plan) == "Serving on 2 of 3 nodes, 1 NotReady."
    assert [(one.name, one.reason) for one in plan.status.pending] == [("e3", "NotReady")]
    assert "Reconciling" not in said(plan)
    cluster.nodes["e3"] = replace(cluster.nodes["e3"], ready=True)
    plan = cluster.run(4)
    assert said(plan)["Ready"] == ("True", "Succeeded")
    assert len(set(labels(cluster).values())) == 1


def test_a_revision_that_was_rolled_back_stays_so_with_every_node_away() -> None:
    cluster = three_nodes()
    cluster.run(16)
    cluster.refuse.add("b" * 64)
    publish(cluster, "b")
    cluster.run(10)
    cluster.nodes = {name: replace(one, ready=False) for name, one in cluster.nodes.items()}
    assert said(cluster.run(1))["Ready"] == ("False", "RolledBack")


def test_with_every_node_away_before_anything_was_delivered_it_is_not_ready() -> None:
    cluster = three_nodes()
    cluster.nodes = {name: replace(one, ready=False) for name, one in cluster.nodes.items()}
    plan = cluster.run(3)
    assert said(plan)["Ready"] == ("False", "WaitingForNodes")
    assert said(plan)["Reconciling"] == ("True", "WaitingForNodes")
    assert sentence(plan).endswith("waits for a node: 3 desired, 3 NotReady.")


def test_a_node_that_returns_with_its_server_untouched_changes_nothing() -> None:
    """The node controller makes the pod unready, not its containers."""
    cluster = three_nodes()
    cluster.run(20)
    events = list(cluster.events)
    cluster.nodes["e2"] = replace(cluster.nodes["e2"], ready=False)
    plan = cluster.run(40)
    assert said(plan)["Ready"] == ("True", "NodesNotReady")
    cluster.nodes["e2"] = replace(cluster.nodes["e2"], ready=True)
    for _ in range(4):
        plan = cluster.run(1)
        assert said(plan)["Ready"] == ("True", "Succeeded")
        assert plan.moves == ()
    assert cluster.events == events


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


def test_a_node_that_fails_after_completion_is_named_and_rolls_nothing_back() -> None:
    cluster = three_nodes()
    cluster.run(20)
    cluster.pods["e2"] = replace(cluster.pods["e2"], ready=False, waiting="CrashLoopBackOff", restarts=5)
    plan = decide(cluster.snapshot(), cluster.now)
    assert plan.moves == ()
    assert said(plan)["Stalled"] == ("True", "NodesFailed")
    assert "e2" in sentence(plan)


def test_a_server_that_restarts_after_completion_gets_its_whole_deadline_on_the_hubs_clock() -> None:
    cluster = three_nodes()
    cluster.run(20)
    cluster.pods["e2"] = replace(cluster.pods["e2"], ready=False, created=cluster.now - timedelta(days=3))
    plan = decide(cluster.snapshot(), cluster.now)
    assert said(plan)["Ready"][0] == "True"
    assert plan.look_again == 300
    cluster.apply(plan)
    plan = decide(cluster.snapshot(), cluster.now + timedelta(seconds=301))
    assert said(plan)["Stalled"] == ("True", "NodesFailed")


def test_an_image_that_cannot_be_pulled_is_named_at_once_and_judged_by_the_deadline() -> None:
    cluster = three_nodes()
    cluster.run(2)
    stuck = replace(cluster.pods["e1"], waiting="ImagePullBackOff", waiting_message="no route to registry:5000")
    cluster.pods["e1"] = stuck
    plan = decide(cluster.snapshot(), cluster.now)
    assert said(plan)["Reconciling"] == ("True", "ImagePullFailed")
    assert "no route to registry:5000" in sentence(plan)
    assert plan.moves == ()
    cluster.apply(plan)
    plan = decide(cluster.snapshot(), cluster.now + timedelta(minutes=5))
    assert [(move.node, move.revision) for move in plan.moves] == [("e1", None)]


def test_a_tainted_node_keeps_what_it_runs_and_is_updated_without_the_taint() -> None:
    cluster = three_nodes()
    cluster.run(16)
    before, pod = labels(cluster)["e1"], cluster.pods["e1"]
    cluster.nodes["e1"] = replace(cluster.nodes["e1"], taints=(Taint("maintenance", "", "NoSchedule"),))
    publish(cluster, "b")
    plan = cluster.run(18)
    assert (labels(cluster)["e1"], cluster.pods["e1"]) == (before, pod)
    assert said(plan)["Ready"] == ("True", "NodesTainted")
    assert sentence(plan) == "Serving on 2 of 3 nodes, 1 tainted."
    assert plan.status.pending[0].reason == "Tainted"
    assert plan.status.pending[0].message == (
        "It has taint maintenance:NoSchedule, which the tolerations of its DeviceProfile leave out; "
        "it is updated when the taint is removed."
    )
    cluster.nodes["e1"] = replace(cluster.nodes["e1"], taints=())
    plan = cluster.run(4)
    assert sentence(plan) == "Serving on 3 of 3 nodes."
    assert len(set(labels(cluster).values())) == 1


def test_a_node_of_another_architecture_is_left_alone_and_named() -> None:
    cluster = three_nodes()
    wrong = {**cluster.nodes["e1"].labels, "kubernetes.io/arch": "arm64"}
    cluster.nodes["e1"] = replace(cluster.nodes["e1"], labels=wrong)
    plan = cluster.run(20)
    assert labels(cluster)["e1"] is None
    assert said(plan)["Stalled"] == ("True", "WrongArchitecture")
    assert plan.status.pending[0].reason == "WrongArchitecture"
    assert len({label for name, label in labels(cluster).items() if name != "e1"}) == 1
    assert not any(one.rolled_back for one in plan.status.revisions)


def test_a_daemonset_that_was_deleted_by_hand_loses_nothing_of_what_was_proven() -> None:
    cluster = three_nodes()
    before = cluster.run(20).status.revisions
    cluster.revisions.clear()
    plan = cluster.run(1)
    assert plan.status.revisions == before
    assert plan.moves == ()
    assert len(plan.revisions) == 1


def test_pending_nodes_are_in_order_over_all_profiles() -> None:
    nodes = {f"e{at}": node(f"e{at}", "amd64" if at % 2 else "arm64") for at in range(4)}
    profiles = (profile(), profile("arm64"))
    both: dict[str, Any] = {"deviceProfiles": {"names": ["amd64", "arm64"]}}
    cluster = Cluster(edge_model=model(**both, rollout=PAUSED), profiles=profiles, nodes=nodes)
    plan = cluster.run(4)
    assert [one.node for one in plan.pending] == ["e0", "e1", "e2", "e3"]
    assert [one.name for one in plan.status.pending] == ["e0", "e1", "e2", "e3"]


def test_paused_moves_no_node_forward() -> None:
    cluster = three_nodes()
    cluster.run(20)
    before = labels(cluster)
    publish(cluster, "b", rollout=PAUSED)
    plan = cluster.run(10)
    assert labels(cluster) == before
    assert said(plan)["Ready"] == ("False", "Paused")
    assert not {"Stalled", "Reconciling"} & set(said(plan))
    assert {one.reason for one in plan.status.pending} == {"Paused"}
    publish(cluster, "b", generation=3)
    cluster.run(25)
    assert labels(cluster) != before


def test_paused_still_takes_a_bad_revision_away() -> None:
    cluster = three_nodes()
    cluster.run(20)
    before = labels(cluster)
    cluster.refuse.add("b" * 64)
    publish(cluster, "b")
    cluster.run(2)
    assert set(upcoming(cluster).values()) != {None}
    publish(cluster, "b", generation=3, rollout=PAUSED)
    cluster.run(4)
    assert (labels(cluster), set(upcoming(cluster).values())) == (before, {None})


def test_a_revision_that_failed_while_another_was_asked_for_is_tried_once_more_when_it_is_asked_for_again() -> None:
    cluster = three_nodes()
    cluster.run(20)
    first = labels(cluster)["e1"]
    publish(cluster, "b")
    cluster.run(2)
    cluster.refuse.add("b" * 64)
    publish(cluster, "c", generation=3)
    cluster.registry.pop(key_of(cluster.edge_model), None)
    cluster.tick(10)
    plan = decide(cluster.snapshot(), cluster.now)
    assert [(move.node, move.revision) for move in plan.moves] == [("e1", first)]
    assert not any(one.rolled_back for one in plan.status.revisions)
    cluster.apply(plan)
    cluster.refuse.clear()
    again = model(
        generation=4,
        source={"uri": "s3://models/parts/b/model.onnx", "sha256": "b" * 64},
        annotations={RETRY_ANNOTATION: "1"},
    )
    cluster.edge_model = again.model_copy(update={"status": cluster.edge_model.status})
    states, proven = [], []
    for _ in range(30):
        variant = (plan := cluster.run(1)).status.variants[0]
        states.append(variant.state)
        proven += [one.proven_time for one in plan.status.revisions if one.name == variant.revision]
    assert list(dict.fromkeys(states)) == ["Canary", "RollingOut", "Complete"]
    assert len(set(proven)) == 2, "not proven, and then proven once"
    assert len(set(labels(cluster).values()) - {first}) == 1


def test_no_record_is_kept_of_a_settled_fleet_for_long() -> None:
    cluster = three_nodes()
    cluster.run(20)
    plan = cluster.run(1)
    assert (plan.records, plan.moves) == ((), ())
    gone = {name: replace(one, labels={**one.labels, "device": "other"}) for name, one in cluster.nodes.items()}
    cluster.nodes = gone
    cluster.run(6)
    assert set(labels(cluster).values()) == {None}
    assert not any(one.records for one in cluster.nodes.values())


def test_garbage_in_a_nodes_annotation_changes_nothing_but_its_record() -> None:
    cluster = three_nodes()
    cluster.run(20)
    before = labels(cluster)
    for garbage in ("[" * 100_000, "{}", '{"since":1}'):
        cluster.nodes["e2"] = replace(cluster.nodes["e2"], records={LABEL: garbage})
        plan = cluster.run(1)
        assert (labels(cluster), said(plan)["Ready"]) == (before, ("True", "Succeeded"))
        assert garbage not in cluster.nodes["e2"].records.values()


def test_a_node_that_tries_a_revision_keeps_it_while_the_next_one_is_built() -> None:
    cluster = three_nodes()
    cluster.run(20)
    publish(cluster, "b")
    cluster.run(5)
    trying = labels(cluster)
    assert len(set(trying.values())) == 2
    publish(cluster, "c", generation=3)
    plan = decide(cluster.snapshot(), cluster.now)
    assert plan.builds
    assert plan.moves == ()
    assert labels(cluster) == trying


def test_a_canary_whose_server_restarts_again_and_again_does_not_hold_its_step_for_ever() -> None:
    cluster = three_nodes()
    cluster.run(20)
    before = labels(cluster)
    publish(cluster, "b")
    cluster.run(5)
    (canary,) = (name for name, label in labels(cluster).items() if label != before[name])
    for restarts in range(40):
        cluster.pods[canary] = replace(cluster.pods[canary], restarts=restarts)
        plan = cluster.run(1)
        if labels(cluster) == before:
            break
    assert "restarted its server so often" in sentence(plan)
    assert said(plan)["Ready"] == ("False", "RollingBack")
    assert 34 <= restarts <= 37, "the deadline and the bake, 330 s after it was started anew for the first time"


def test_a_canary_that_is_started_anew_long_after_its_bake_bakes_once_more() -> None:
    rollout = {"steps": [{"nodes": 1, "bake": "1m"}, {"nodes": 2, "bake": "1m"}], "progressDeadline": "1m"}
    cluster = three_nodes()
    cluster.run(20)
    before = labels(cluster)
    publish(cluster, "b", rollout=rollout)
    cluster.run(6)
    publish(cluster, "b", 3, rollout=rollout | {"paused": True})
    (canary,) = (name for name, label in labels(cluster).items() if label != before[name])
    given = labels(cluster)[canary]
    for restarts in (1, 2, 3):
        plan = cluster.run(60)
        assert (plan.status.nodes.failed, labels(cluster)[canary]) == (0, given)
        cluster.pods[canary] = replace(cluster.pods[canary], restarts=restarts)
    assert cluster.run(1).status.nodes.failed == 1, "it went back alone, since the first step is held"


def test_a_server_that_restarts_after_its_revision_was_proven_is_no_failure() -> None:
    rollout = {"steps": [{"nodes": 1, "bake": "30s"}], "maxUnavailable": 1, "progressDeadline": "1m"}
    nodes = {f"e{number:02}": node(f"e{number:02}") for number in range(12)}
    cluster = Cluster(edge_model=model(rollout=rollout), nodes=nodes)
    cluster.run(14)
    cluster.pods["e00"] = replace(cluster.pods["e00"], restarts=1)
    plan = cluster.run(1)
    (one,) = plan.status.revisions
    assert (bool(one.proven_time), one.completed_time, plan.status.nodes.failed) == (True, None, 0)
