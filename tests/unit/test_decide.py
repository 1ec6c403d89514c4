"""Whole passes: what is decided and what is said, for one EdgeModel at a time."""

from __future__ import annotations

import copy
from dataclasses import replace

from clusters import Cluster, labels, publish, three_nodes
from snapshots import (
    LABEL,
    NOW,
    REPORT,
    SETTINGS,
    image,
    key_of,
    model,
    node,
    profile,
    said,
    sentence,
    snapshot,
)

from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.decide import decide, sweep, wanted
from edgesmith.decide.snapshot import RegistryProblem, SelfTest


def test_from_apply_to_every_node() -> None:
    cluster = three_nodes()
    plan = cluster.run(1)
    assert len(plan.builds) == 1
    assert said(plan)["Reconciling"] == ("True", "Building")
    plan = cluster.run(1)
    assert [move.node for move in plan.moves] == ["e1"]
    assert said(plan)["RolloutComplete"] == ("False", "Canary")
    plan = cluster.run(20)
    assert said(plan) == {
        "Ready": ("True", "Succeeded"),
        "ProfilesResolved": ("True", "Succeeded"),
        "SourceResolved": ("True", "Succeeded"),
        "BuildsReady": ("True", "Succeeded"),
        "RolloutComplete": ("True", "Succeeded"),
    }
    assert sentence(plan) == "Serving on 3 of 3 nodes."
    variant = plan.status.variants[0]
    assert (variant.state, variant.precision, variant.latency, variant.size) == ("Complete", "int8", "12.3ms", 4711)
    assert (variant.accuracy, variant.accuracy_drop, variant.accuracy_drop_error) == ("98.00%", "1.00%", "0.85%")
    assert (variant.agreement, variant.warnings) == ("97.75%", ("the drop is hardly known",))
    assert variant.changed_answers is not None
    assert variant.changed_answers.model_dump() == {"lost": 6, "gained": 2, "samples": 400}
    assert plan.status.nodes.model_dump(by_alias=True) == {
        "desired": 3,
        "updated": 3,
        "ready": 3,
        "notReady": 0,
        "tainted": 0,
        "deviceMissing": 0,
        "diskFull": 0,
        "failed": 0,
    }
    assert (plan.builds, plan.moves, plan.deletes, plan.events, plan.look_again) == ((), (), (), (), None)


def test_an_error_is_said_in_the_unit_of_the_labels() -> None:
    of = model(evaluation={"uri": "s3://models/parts/set.npz", "sha256": "e" * 64, "metric": "RMSE"})
    candidate = REPORT.candidates[0].model_copy(update={"accuracy": 12.34567})
    found = replace(image(of), report=REPORT.model_copy(update={"candidates": (candidate,)}))
    (variant,) = decide(snapshot(of, images={key_of(of): found}), NOW).status.variants
    assert (variant.metric, variant.accuracy, variant.accuracy_drop) == ("RMSE", "12.3457", "1.00%")


def test_a_settled_model_says_the_same_for_ever() -> None:
    cluster = three_nodes()
    before = cluster.run(20).status
    after = cluster.run(5, seconds=3600).status
    assert after == before


def test_one_node_is_moved_at_a_time_and_the_canary_bakes() -> None:
    cluster = three_nodes()
    seen = []
    for _ in range(16):
        plan = cluster.run(1)
        seen += [(move.node, (cluster.now - NOW).total_seconds()) for move in plan.moves]
    assert [name for name, _ in seen] == ["e1", "e2", "e3"]
    assert seen[1][1] - seen[0][1] >= 30


def test_a_bad_source_is_rolled_back_on_its_canary_and_nobody_else_is_touched() -> None:
    cluster = three_nodes()
    cluster.run(16)
    before, uids = labels(cluster), {name: one.created for name, one in cluster.pods.items()}
    cluster.refuse.add("b" * 64)
    publish(cluster, "b")
    plan = cluster.run(10)
    assert labels(cluster) == before
    assert not {name for name, one in cluster.pods.items() if one.created != uids[name]}, "its server goes on, too"
    assert said(plan)["Stalled"] == ("True", "RolledBack")
    assert said(plan)["Ready"] == ("False", "RolledBack")
    assert "Reconciling" not in said(plan)
    for words in ("e1 failed with GoldenMismatch: 3 of 8 golden samples differ", "publish a new source"):
        assert words in sentence(plan)
    assert plan.status.nodes.ready == 3
    assert "Warning RolledBack" in cluster.events
    assert plan.look_again is None

    publish(cluster, "c", generation=3)
    plan = cluster.run(16)
    assert said(plan)["Ready"] == ("True", "Succeeded")


def test_an_event_is_told_once_and_names_the_profile_once() -> None:
    cluster = three_nodes()
    cluster.refuse.add("a" * 64)
    publish(cluster, "a")
    told = []
    for _ in range(16):
        told += [(event.reason, event.message) for event in decide(cluster.snapshot(), cluster.now).events]
        cluster.run(1)
    (message,) = [message for reason, message in told if reason == "RolledBack"]
    assert message.startswith("Revision ")
    assert " for amd64 was rolled back (CanaryFailed): e1 failed with GoldenMismatch" in message
    assert all(message.count("amd64") == 1 for reason, message in told if reason == "Canary")
    cluster.refuse.clear()
    publish(cluster, "c", generation=3)
    serving = []
    for _ in range(16):
        serving += [event.message for event in decide(cluster.snapshot(), cluster.now).events]
        cluster.run(1)
    assert serving[-2:] == ["Serving on 3 of 3 nodes.", "amd64: Serving on 3 of 3 nodes."]


def test_what_a_node_that_left_with_the_revision_did_is_said_in_its_order() -> None:
    cluster = three_nodes()
    cluster.run(16)
    publish(cluster, "b")
    cluster.run(3)
    cluster.nodes["e1"] = replace(cluster.nodes["e1"], ready=False)
    plan = cluster.run(1)
    assert "is in its first step; e1 became NotReady after it got the revision." in sentence(plan)


def test_the_retry_annotation_starts_the_next_try_and_its_removal_does_not() -> None:
    cluster = three_nodes()
    cluster.run(16)
    cluster.refuse.add("b" * 64)
    publish(cluster, "b")
    cluster.run(10)
    cluster.refuse.clear()
    again = model(generation=2, source={"uri": "s3://models/parts/b/model.onnx", "sha256": "b" * 64})
    cluster.edge_model = again.model_copy(update={"status": cluster.edge_model.status})
    variant = cluster.run(3).status.variants[0]
    assert (variant.state, variant.reason) == ("RolledBack", "RolledBack")
    metadata = again.metadata.model_copy(update={"annotations": {RETRY_ANNOTATION: "1"}})
    cluster.edge_model = cluster.edge_model.model_copy(update={"metadata": metadata})
    assert cluster.run(16).status.variants[0].state == "Complete"


def test_the_first_revision_ever_has_a_canary_too_and_none_to_go_back_to() -> None:
    cluster = three_nodes()
    cluster.refuse.add("a" * 64)
    plan = cluster.run(10)
    assert set(labels(cluster).values()) == {None}
    assert said(plan)["Stalled"] == ("True", "NoRevisionLeft")


def test_going_back_to_a_source_that_held_needs_no_canary_and_makes_it_the_one_to_return_to() -> None:
    cluster = three_nodes()
    cluster.run(16)
    first = labels(cluster)["e1"]
    publish(cluster, "b")
    cluster.run(16)
    publish(cluster, "a", generation=3)
    plan = cluster.run(2, seconds=5)
    assert plan.status.variants[0].state == "RollingOut"
    cluster.run(10)
    assert set(labels(cluster).values()) == {first}
    cluster.refuse.add("c" * 64)
    publish(cluster, "c", generation=4)
    cluster.run(10)
    assert set(labels(cluster).values()) == {first}


def test_a_serving_port_is_a_new_revision_of_the_same_image() -> None:
    cluster = three_nodes()
    cluster.run(16)
    images = {one.image for one in cluster.revisions.values()}
    publish(cluster, "a", serving={"port": 9000})
    plan = cluster.run(16)
    assert said(plan)["Ready"][0] == "True"
    assert len(cluster.revisions) == 2
    assert {one.image for one in cluster.revisions.values()} == images


def test_a_rollout_goes_on_with_the_registry_down() -> None:
    cluster = three_nodes()
    cluster.run(3)
    for key in cluster.registry:
        cluster.registry[key] = RegistryProblem("The registry does not answer.", forbidden=False)
    plan = cluster.run(16)
    assert said(plan)["Ready"] == ("True", "Succeeded")
    assert plan.status.variants[0].precision == "int8"


def test_a_new_source_in_mid_build_ends_the_old_build() -> None:
    cluster = three_nodes()
    plan = decide(cluster.snapshot(), cluster.now)
    cluster.apply(plan)
    old = next(iter(cluster.jobs))
    publish(cluster, "b")
    plan = decide(cluster.snapshot(), cluster.now)
    assert [delete.name for delete in plan.deletes] == [old]
    assert len(plan.builds) == 1


def test_a_model_on_its_way_out_is_left_alone() -> None:
    cluster = three_nodes()
    cluster.run(5)
    metadata = cluster.edge_model.metadata.model_copy(update={"deletion_timestamp": "2030-01-01T12:00:00Z"})
    cluster.edge_model = cluster.edge_model.model_copy(update={"metadata": metadata})
    plan = decide(cluster.snapshot(), cluster.now)
    assert not any((plan.builds, plan.revisions, plan.moves, plan.deletes, plan.events, plan.service))
    assert plan.status.conditions


def test_inputs_are_not_touched_and_the_same_input_gives_the_same_plan() -> None:
    cluster = three_nodes()
    for _ in range(20):
        seen = cluster.snapshot()
        kept = copy.deepcopy(seen)
        assert decide(seen, cluster.now) == decide(kept, cluster.now)
        assert seen == kept
        cluster.run(1)


def test_two_variants_fail_and_succeed_on_their_own() -> None:
    both = {"names": ["amd64", "arm64"]}
    cluster = Cluster(
        edge_model=model(deviceProfiles=both),
        profiles=(profile(), profile("arm64", platform={"architecture": "arm64"})),
        nodes={"a1": node("a1"), "a2": node("a2"), "b1": node("b1", "arm64"), "b2": node("b2", "arm64")},
    )
    plan = cluster.run(30)
    assert said(plan)["Ready"] == ("True", "Succeeded")
    assert len(cluster.revisions) == 2
    assert [variant.state for variant in plan.status.variants] == ["Complete", "Complete"]


def test_without_any_node_nothing_was_delivered() -> None:
    assert said(decide(snapshot(), NOW))["Ready"] == ("False", "NoNodes")


def test_a_node_that_was_picked_and_is_of_no_profile_is_a_hint_and_stalls_nothing() -> None:
    plan = decide(snapshot(model(nodeSelector={"zone": "x"}), nodes=(node("hub", "none", zone="x"),)), NOW)
    assert "Stalled" not in said(plan)
    assert "though spec.nodeSelector picks 1 node" in sentence(plan)
    plan = decide(
        snapshot(model(nodeSelector={"zone": "x"}), nodes=(node("hub", "none", zone="x"), node("e1", zone="x"))), NOW
    )
    assert "Stalled" not in said(plan)
    assert [move.node for move in plan.moves] == ["e1"]


def test_a_transition_time_moves_with_the_status_only() -> None:
    cluster = three_nodes()
    cluster.run(1)
    first = {one["type"]: one for one in cluster.edge_model.status["conditions"]}
    cluster.run(1, seconds=5)
    second = {one["type"]: one for one in cluster.edge_model.status["conditions"]}
    assert second["Ready"]["reason"] != first["Ready"]["reason"]
    assert second["Ready"]["lastTransitionTime"] == first["Ready"]["lastTransitionTime"]
    assert second["BuildsReady"]["lastTransitionTime"] != first["BuildsReady"]["lastTransitionTime"]


def test_labels_of_models_that_are_gone_are_swept() -> None:
    nodes = (node("e1", revision="abc"), node("e2"))
    assert sweep(nodes, [("plant", "parts")]) == ()
    assert sweep(nodes, [("other", "parts")]) == (("e1", LABEL),)


def test_wanted_names_resolved_profiles_only() -> None:
    found = wanted(model(deviceProfiles={"names": ["amd64", "nobody"]}), (profile(), profile("idle")), SETTINGS)
    assert set(found) == {("amd64", None)}


def test_what_devices_say_is_not_as_it_should_be_is_in_the_status_once_whatever_the_number_of_nodes() -> None:
    cluster = three_nodes()
    cluster.run(22)
    (variant,) = cluster.run(1).status.variants
    assert variant.device_warnings == ()
    for name, words in {
        "e1": "runs on the CPU: no library.",
        "e2": "runs on the CPU: no library.",
        "e3": "is odd",
    }.items():
        old = cluster.pods[name]
        cluster.pods[name] = replace(old, selftest=SelfTest(True, "Passed", "", p95_ms=1.0, warning=words))
    plan = cluster.run(1)
    (variant,) = plan.status.variants
    assert variant.device_warnings == (
        "On e3 the model is odd",
        "On e1 and 1 more node the model runs on the CPU: no library",
    )
    assert variant.warnings == ("the drop is hardly known",), "what a build measured is kept apart"
    assert said(plan)["Ready"] == ("True", "Succeeded")
