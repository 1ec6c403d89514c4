"""Gates are judged by what a build measured: changed ones build nothing, and roll out another candidate or none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from clusters import Cluster, labels, upcoming
from snapshots import model, node, said, sentence

from edgesmith.cli import report
from edgesmith.decide import decide
from edgesmith.decide.gates import gates_of
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import RegistryProblem
from edgesmith.decide.trust import trusted_digests
from edgesmith_builder.contract import Gates

NEVER = {"trial": "Never"}
DROPS = {"int8": 0.02, "fp16": 0.01, "fp32": 0.02 / 3}
"""What a build of three candidates measures."""


def cluster(*precisions: str, **spec: Any) -> Cluster:
    """Three nodes that serve nothing, and builds with these candidates, each as fast as its place in the ladder."""
    found = Cluster(nodes={name: node(name) for name in ("e1", "e2", "e3")})
    found.latencies = {name: 1.0 + number for number, name in enumerate(precisions)}
    found.edge_model = model(**spec)
    return found


def change(of: Cluster, **spec: Any) -> None:
    """Another spec, with the status as it is."""
    generation = (of.edge_model.metadata.generation or 0) + 1
    of.edge_model = model(generation=generation, **spec).model_copy(update={"status": of.edge_model.status})


def until(of: Cluster, state: str) -> Plan:
    for _ in range(60):
        plan = of.run(1)
        if plan.status.variants[0].state == state and (state != "Complete" or set(upcoming(of).values()) == {None}):
            return plan
    raise AssertionError(f"{state} was never reached; {plan.status.variants[0]}")


def built(of: Cluster) -> tuple[str, int]:
    """The build key, and how many Jobs there were."""
    return str(of.edge_model.status["variants"][0]["buildKey"]), len(of.jobs)


def test_every_gate_of_the_spec_reaches_the_judge() -> None:
    asked = {
        "maxAccuracyDrop": "1%",
        "minAccuracy": "0.9",
        "maxError": "0.75",
        "minAgreement": "95%",
        "maxImageSize": "1k",
    }
    assert gates_of(model(gates=asked)) == Gates(
        max_accuracy_drop=0.01, min_accuracy=0.9, max_error=0.75, min_agreement=0.95, max_image_size=1000
    )
    assert gates_of(model(gates={"maxLatency": "1ms"})) == Gates()


def test_a_tightened_gate_rolls_another_candidate_out_in_steps_and_builds_nothing() -> None:
    here = cluster("int8", "fp16", "fp32", optimize=NEVER)
    assert until(here, "Complete").status.variants[0].precision == "int8"
    before, of_int8 = built(here), labels(here)
    change(here, optimize=NEVER, gates={"maxAccuracyDrop": "1%"})
    plan = here.run(1)
    assert [move.node for move in plan.moves] == ["e1"], "the first step"
    (variant,) = plan.status.variants
    assert (variant.state, variant.precision, variant.accuracy_drop) == ("Canary", "fp16", "1.00%")
    assert [(one.precision, one.accuracy, one.accuracy_drop) for one in variant.refused] == [
        ("int8", "98.00%", "2.00%")
    ]
    assert variant.refused[0].message.endswith("at most 0.0100 is allowed by spec.gates.maxAccuracyDrop")
    until(here, "Complete")
    assert built(here) == before
    assert len(set(labels(here).values())) == 1
    assert labels(here) != of_int8
    change(here, optimize=NEVER)
    until(here, "RollingOut")
    until(here, "Complete")
    assert labels(here) == of_int8, "the revision that it was before"
    assert built(here) == before


def test_the_tag_is_remembered_whatever_is_rolled_out() -> None:
    """Another image than the tag's must not be taken for it: the build would count as somebody else's."""
    here = cluster("int8", "fp16", optimize=NEVER, gates={"maxAccuracyDrop": "1%"})
    plan = until(here, "Complete")
    (key, image), (applied,) = next(iter(here.registry.items())), plan.revisions
    digest = image.reference.partition("@")[2]  # type: ignore[union-attr]
    assert applied.built == plan.status.variants[0].built_image == image.reference  # type: ignore[union-attr]
    assert applied.image != applied.built
    for jobs, revisions in (((), ()), ((), tuple(here.revisions.values()))):
        assert trusted_digests(here.edge_model, jobs, revisions) == {key: {digest}}
    here.registry = {key: RegistryProblem("it does not answer", forbidden=False)}
    plan = here.run(1)
    assert plan.revisions[0].built == applied.built
    assert trusted_digests(here.edge_model, (), tuple(here.revisions.values())) == {key: {digest}}


def test_the_tag_is_remembered_while_nothing_is_rolled_out_yet() -> None:
    for gates, state in (
        ({"minAccuracy": "99%"}, "BuildFailed"),
        ({}, "Trial"),
        ({"maxLatency": "0.1ms"}, "TrialFailed"),
    ):
        here = cluster("int8", "fp16", gates=gates)
        until(here, state)
        ((key, image),) = here.registry.items()
        digest = image.reference.partition("@")[2]  # type: ignore[union-attr]
        for _ in range(3):
            assert trusted_digests(here.edge_model, (), ()) == {key: {digest}}, state
            here.registry = {key: RegistryProblem("it does not answer", forbidden=False)}
            assert here.run(1).revisions == ()


def test_a_gate_that_leaves_the_winner_moves_nobody() -> None:
    here = cluster("int8", "fp16", optimize=NEVER)
    until(here, "Complete")
    before, moved = built(here), labels(here)
    change(here, optimize=NEVER, gates={"maxAccuracyDrop": "2%", "minAccuracy": "90%", "maxImageSize": "1Gi"})
    for _ in range(5):
        plan = here.run(1)
        assert (plan.moves, plan.builds, plan.deletes) == ((), (), ())
    assert (plan.status.variants[0].state, built(here), labels(here)) == ("Complete", before, moved)


@pytest.mark.parametrize("optimize", [NEVER, {}], ids=["never", "auto"])
def test_where_no_candidate_keeps_the_gates_nodes_keep_what_they_run_and_nothing_is_built(
    optimize: dict[str, str],
) -> None:
    here = cluster("int8", "fp16", optimize=optimize)
    until(here, "Complete")
    before, serving = built(here), labels(here)
    change(here, optimize=optimize, gates={"minAccuracy": "99%"})
    plan = here.run(1)
    assert said(plan)["Stalled"] == ("True", "GatesFailed")
    assert sentence(plan, "BuildsReady") == (
        "amd64: No candidate keeps the gates: int8: accuracy is 0.9800; at least 0.9900 is asked by "
        "spec.gates.minAccuracy; fp16: accuracy is 0.9800; at least 0.9900 is asked by spec.gates.minAccuracy."
    )
    (variant,) = plan.status.variants
    assert (variant.state, variant.precision, variant.image) == ("BuildFailed", None, None)
    assert [one.accuracy_drop for one in variant.refused] == ["2.00%", "1.00%"]
    for _ in range(30):
        plan = here.run(1, seconds=600)
        assert (plan.builds, plan.trials, plan.moves, plan.revisions) == ((), (), (), ())
    assert (built(here), labels(here)) == (before, serving)
    assert here.events.count("Warning GatesFailed") == 1
    change(here, optimize=optimize)
    until(here, "Complete")
    assert (built(here), labels(here), here.started) == (before, serving, 0 if optimize else 1)


def test_what_gates_refused_is_not_rolled_out_for_want_of_the_report() -> None:
    here = cluster("int8", optimize=NEVER)
    until(here, "Complete")
    change(here, optimize=NEVER, gates={"minAccuracy": "99%"})
    here.run(1)
    here.registry = {key: RegistryProblem("it does not answer", forbidden=False) for key in here.registry}
    for _ in range(3):
        plan = here.run(1)
        assert said(plan)["Stalled"] == ("True", "GatesFailed")
        assert (plan.moves, plan.revisions) == ((), ())
        assert [one.precision for one in plan.status.variants[0].refused] == ["int8"]


def test_a_build_whose_images_are_lost_is_made_again_whatever_gates_said_of_it() -> None:
    here = cluster("int8", optimize=NEVER)
    until(here, "Complete")
    change(here, optimize=NEVER, gates={"minAccuracy": "99%"})
    here.run(1)
    here.registry, here.jobs = {}, {}
    plan = here.run(1)
    assert (len(plan.builds), said(plan)["BuildsReady"]) == (1, ("False", "Building"))


def test_while_the_registry_is_silent_the_candidate_that_was_chosen_last_stays() -> None:
    """It is not the newest DaemonSet: the gate was tightened and taken back."""
    here = cluster("int8", "fp16", optimize=NEVER)
    until(here, "Complete")
    of_int8 = labels(here)
    for gates in ({"maxAccuracyDrop": "1%"}, {}):
        change(here, optimize=NEVER, gates=gates)
        until(here, "RollingOut")
        until(here, "Complete")
    assert len(here.revisions) == 2
    here.registry = {key: RegistryProblem("it does not answer", forbidden=False) for key in here.registry}
    for _ in range(3):
        plan = here.run(1)
        assert (plan.status.variants[0].state, plan.moves) == ("Complete", ())
    assert labels(here) == of_int8


def test_other_gates_judge_a_trial_s_measurements_and_try_only_what_was_never_tried() -> None:
    here = cluster("int8", "fp16", "fp32", gates={"maxAccuracyDrop": "1%"})
    until(here, "Complete")
    (trial,) = here.edge_model.status["trials"]
    assert ([one["precision"] for one in trial["finalists"]], trial["winner"]) == (["fp16", "fp32"], "fp16")
    serving = labels(here)

    here.now += timedelta(days=1)
    change(here)
    plan = here.run(1)
    assert [list(start.images) for start in plan.trials] == [["int8"]]
    assert {start.node for start in plan.trials} == {trial["node"]}, "the others were measured there"
    assert (plan.moves, labels(here)) == ((), serving)
    until(here, "Complete")
    (trial,) = here.edge_model.status["trials"]
    assert ([one["precision"] for one in trial["finalists"]], trial["winner"]) == (["int8", "fp16", "fp32"], "int8")
    assert here.started == 2

    change(here, gates={"maxAccuracyDrop": "0.7%"})
    until(here, "Canary")
    until(here, "Complete")
    (trial,) = here.edge_model.status["trials"]
    assert trial["winner"] == "fp32", "the only one that is left, judged by what it measured"
    assert (
        "spec.gates.maxAccuracyDrop" in next(one for one in trial["finalists"] if one["precision"] == "int8")["verdict"]
    )
    change(here, gates={"maxAccuracyDrop": "0.7%", "maxLatency": "2.5ms"})
    plan = until(here, "TrialFailed")
    assert "fp32: Its p95 latency is 3.000ms; gates.maxLatency allows 2.5ms." in sentence(plan, "Stalled")
    change(here)
    until(here, "Complete")
    assert (here.edge_model.status["trials"][0]["winner"], here.started) == ("int8", 2), "nothing is tried twice"


def test_while_the_registry_is_silent_a_trial_is_judged_without_what_gates_refused() -> None:
    here = cluster("int8", "fp16", "fp32")
    until(here, "Complete")
    change(here, gates={"maxAccuracyDrop": "1%"})
    until(here, "Canary")
    until(here, "Complete")
    serving = labels(here)
    here.registry = {key: RegistryProblem("it does not answer", forbidden=False) for key in here.registry}
    for _ in range(3):
        plan = here.run(1)
        assert (plan.status.variants[0].precision, plan.moves) == ("fp16", ())
    assert labels(here) == serving


def test_a_trial_that_goes_on_needs_no_node_once_gates_leave_one() -> None:
    here = cluster("int8", "fp16")
    until(here, "Trial")
    change(here, gates={"maxAccuracyDrop": "1%"})
    assert decide(here.snapshot(), here.now).revisions, "there is nothing to choose"
    assert until(here, "Complete").status.variants[0].precision == "fp16"
    assert here.trial_pods == {}


def test_the_report_has_a_row_for_each_that_is_out() -> None:
    here = cluster("int8", "fp16", "fp32", optimize=NEVER, gates={"maxAccuracyDrop": "1%"})
    until(here, "Complete")
    rows = report.rows_of(here.edge_model)
    assert [(row.candidate, row.score, row.drop) for row in rows] == [
        ("fp16", "98.00%", "1.00%"),
        ("int8", "98.00%", "2.00%"),
    ]
    assert rows[0].verdict == "It is the first of the ladder that keeps the gates; spec.optimize.trial is Never."
    assert rows[1].verdict.startswith("It is out: accuracy drops by 0.0200 to 0.9800; at most 0.0100 is allowed by")
    change(here, optimize=NEVER, gates={"minAccuracy": "99%"})
    here.run(1)
    assert [row.verdict[:11] for row in report.rows_of(here.edge_model)] == ["It is out: "] * 3


def test_a_trial_s_candidate_that_is_out_by_now_has_one_row() -> None:
    here = cluster("int8", "fp16", "fp32")
    until(here, "Complete")
    change(here, gates={"maxAccuracyDrop": "1%"})
    until(here, "Canary")
    rows = report.rows_of(here.edge_model)
    assert [row.candidate for row in rows] == ["fp16", "fp32", "int8"]
    assert rows[2].latency == "1.000ms"
    assert "spec.gates.maxAccuracyDrop" in rows[2].verdict
