"""Alternatives to a source: builds of their own, one trial over the candidates of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from clusters import Cluster, labels
from snapshots import REPORT, SETTINGS, model, node, profile, said, sentence

from edgesmith.api.edgemodel import Alternative, EdgeModel
from edgesmith.api.status import EdgeModelStatus
from edgesmith.decide import decide, wanted
from edgesmith.decide.build_status import known
from edgesmith.decide.builds import BuildState, build_for
from edgesmith.decide.contestants import MOST, contestants
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import Image, RegistryProblem
from edgesmith_builder.contract import BuildFailure, Candidate, FailureReason, Finalist, Precision, Reference, Renamed

GATES = {"maxAccuracyDrop": "10%"}


def pump(*names: str, objective: str = "Latency", trial: str = "Auto", **spec: Any) -> EdgeModel:
    """An EdgeModel whose source has alternatives."""
    alternatives: list[dict[str, Any]] = [
        {"name": name, "source": {"uri": f"s3://models/pump/{name}.onnx", "sha256": sha256(name.encode()).hexdigest()}}
        for name in names
    ]
    evaluation = {"uri": "s3://models/pump/evaluation.npz", "sha256": "e" * 64}
    optimize = {"objective": objective, "trial": trial, "alternatives": alternatives}
    return model(**{"gates": GATES, "evaluation": evaluation, "optimize": optimize, **spec})


def reported(key: str, drops: Mapping[Precision, float]) -> Image:
    """The image of a build whose candidates lose so much."""
    found = tuple(
        Candidate(precision=name, accuracy=0.9 - drop, accuracy_drop=drop, accuracy_drop_error=0.01)
        for name, drop in drops.items()
    )
    finalists = tuple(
        Finalist(
            precision=name,
            size=1000 if name == "int8" else 4000,
            digest=f"sha256:{sha256((key + name).encode()).hexdigest()}" if number else None,
        )
        for number, name in enumerate(drops)
    )
    report = REPORT.model_copy(update={"candidates": found, "finalists": finalists, "precision": next(iter(drops))})
    return Image(f"{SETTINGS.repository}/plant/parts@sha256:{key * 2}", report)


class Builds(Cluster):
    """A cluster whose builds each end with a report, or a failure, of their own."""

    drops: Mapping[str, Mapping[Precision, float]]
    failing: Mapping[str, FailureReason]
    slow: set[str]

    def name_of(self, key: str) -> str:
        """The alternative that a key is of."""
        return next(str(name) for (_, name), build in self.builds().items() if build.key == key)

    def builds(self) -> Mapping[tuple[str, str | None], Any]:
        return wanted(self.edge_model, self.profiles, SETTINGS)

    def tick(self, seconds: float) -> None:
        for name, one in list(self.jobs.items()):
            if one.finished:
                continue
            of = self.name_of(one.key)
            if of in self.failing:
                reason = self.failing[of]
                failure = BuildFailure(reason=reason, message=f"{of} is not it.", retry=reason == "SourceUnreachable")
                self.jobs[name] = replace(one, finished=True, failure=failure, finished_at=self.now)
            elif of not in self.slow:
                self.jobs[name] = replace(one, finished=True, succeeded=True, finished_at=self.now)
                self.registry[one.key] = reported(one.key, self.drops[of])
        running = {name: one for name, one in self.jobs.items() if not one.finished}
        self.jobs = {name: one for name, one in self.jobs.items() if one.finished}
        super().tick(seconds)
        self.jobs |= running


def cluster(of: EdgeModel, drops: Mapping[str, Mapping[Precision, float]], **latencies: float) -> Builds:
    """Three nodes; latencies are in ms by container, its dashes as underscores."""
    found = Builds(edge_model=of, nodes={name: node(name) for name in ("e1", "e2", "e3")})
    found.drops, found.failing, found.slow = drops, {}, set()
    found.latencies = {name.replace("_", "-"): ms for name, ms in latencies.items()}
    return found


def three(**changes: Any) -> Builds:
    return cluster(
        pump("gru", "svm", **changes),
        {"source": {"int8": 0.01, "fp32": 0.0}, "gru": {"fp32": 0.05}, "svm": {"fp32": -0.02}},
        source_int8=4.0,
        source_fp32=6.0,
        gru_fp32=1.0,
        svm_fp32=9.0,
    )


def until(of: Builds, state: str, passes: int = 60) -> Plan:
    for _ in range(passes):
        plan = of.run(1)
        if plan.status.variants[0].state == state:
            return plan
    raise AssertionError(f"{state} was never reached; {plan.status.variants[0]}")


def status(of: Builds) -> EdgeModelStatus:
    return EdgeModelStatus.model_validate(of.edge_model.status)


def test_one_trial_is_over_the_candidates_of_all_and_the_best_is_rolled_out() -> None:
    here = three()
    plan = until(here, "Trial")
    assert (
        sentence(plan, "RolloutComplete") == "Node e1 tries source/int8, gru/fp32, svm/fp32 and source/fp32 for amd64."
    )
    assert list(here.trying.values()) == [["source-int8", "gru-fp32", "svm-fp32", "source-fp32"]]
    assert sentence(plan, "BuildsReady") == "3 of 3 builds are in the registry."
    until(here, "Complete")
    (variant,), (trial,) = status(here).variants, status(here).trials
    gru = here.builds()["amd64", "gru"]
    assert (variant.alternative, variant.precision, variant.build_key) == ("gru", "fp32", gru.key)
    assert trial.winner == "gru/fp32"
    assert {one.name: one.verdict for one in trial.finalists} == {
        "source/int8": "gru/fp32 is faster: p95 1.000ms where it has 4.000ms.",
        "gru/fp32": "It was chosen by latency.",
        "svm/fp32": "gru/fp32 is faster: p95 1.000ms where it has 9.000ms.",
        "source/fp32": "gru/fp32 is faster: p95 1.000ms where it has 6.000ms.",
    }
    assert [(one.alternative, one.state) for one in variant.builds] == [
        ("source", "Built"),
        ("gru", "Built"),
        ("svm", "Built"),
    ]
    (revision,) = here.revisions.values()
    assert revision.build == gru.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert here.started == 1


@pytest.mark.parametrize(
    ("objective", "winner"), [("Latency", "gru/fp32"), ("Accuracy", "svm/fp32"), ("Size", "source/int8")]
)
def test_the_objective_chooses_over_all(objective: str, winner: str) -> None:
    here = three(objective=objective)
    until(here, "Complete")
    assert status(here).trials[0].winner == winner


def test_a_gate_is_held_against_every_candidate_of_every_build() -> None:
    here = three(gates={"maxAccuracyDrop": "3%"})
    until(here, "Complete")
    (variant,), (trial,) = status(here).variants, status(here).trials
    assert trial.winner == "source/int8"
    assert [one.name for one in variant.refused] == ["gru/fp32"]
    assert "at most 0.0300 is allowed by spec.gates.maxAccuracyDrop" in variant.refused[0].message
    assert variant.builds[1].reason == "GatesFailed"


def test_other_gates_let_one_in_that_was_out_and_nothing_is_built_or_tried_twice() -> None:
    here = three(gates={"maxAccuracyDrop": "3%"})
    until(here, "Complete")
    jobs, before = len(here.jobs), here.started
    here.edge_model = pump("gru", "svm", generation=2).model_copy(update={"status": here.edge_model.status})
    here.run(30)
    assert status(here).trials[0].winner == "gru/fp32"
    assert (len(here.jobs), here.started) == (jobs, before + 1)
    assert list(here.trying.values())[-1] == ["gru-fp32"]


def test_an_alternative_whose_build_fails_takes_itself_out_only() -> None:
    here = three()
    here.failing = {"gru": "InterfaceMismatch"}
    plan = until(here, "Complete")
    assert status(here).trials[0].winner == "source/int8"
    assert said(plan)["Ready"][0] == "True"
    assert said(plan)["BuildsReady"] == ("True", "Succeeded")
    assert sentence(plan, "BuildsReady") == ("2 of 3 builds are in the registry. gru for amd64 is out: gru is not it.")
    build = status(here).variants[0].builds[1]
    assert (build.state, build.reason, build.message) == ("Failed", "InterfaceMismatch", "gru is not it.")


def test_the_source_can_be_out_and_an_alternative_serves() -> None:
    here = three()
    here.failing = {"source": "NoCandidate"}
    until(here, "Complete")
    assert status(here).variants[0].alternative == "gru"


def test_where_all_are_out_each_says_why() -> None:
    here = three()
    here.failing = {"source": "NoCandidate", "gru": "InterfaceMismatch", "svm": "ModelInvalid"}
    plan = until(here, "BuildFailed")
    assert status(here).variants[0].message == "source: source is not it. gru: gru is not it. svm: svm is not it."
    assert said(plan)["Stalled"] == ("True", "NoCandidate")


def test_the_first_rollout_waits_for_every_build() -> None:
    here = three()
    here.slow = {"svm"}
    plan = here.run(6)
    assert (plan.status.variants[0].state, here.revisions, here.started) == ("Building", {}, 0)
    assert (
        sentence(plan, "BuildsReady") == "The first rollout for amd64 waits for the build of svm: Building for amd64."
    )
    here.slow = set()
    until(here, "Complete")
    assert len(status(here).trials[0].finalists) == 4


@pytest.mark.parametrize("reason", ["SourceNotFound", "SourceUnreachable"])
def test_one_that_is_tried_again_and_again_holds_nobody_and_joins_when_it_is_made(reason: FailureReason) -> None:
    here = three()
    here.failing = {"gru": reason}
    until(here, "Complete")
    assert status(here).trials[0].winner == "source/int8"
    served = labels(here)
    here.failing = {}
    here.run(60)
    assert status(here).trials[0].winner == "gru/fp32"
    assert labels(here) != served


def test_an_alternative_that_is_added_is_tried_on_the_same_node_and_the_others_are_not_again() -> None:
    here = cluster(pump("svm"), {"source": {"fp32": 0.0}, "svm": {"fp32": 0.0}}, source_fp32=4.0, svm_fp32=9.0)
    until(here, "Complete")
    served = labels(here)
    here.edge_model = pump("gru", "svm", generation=2).model_copy(update={"status": here.edge_model.status})
    here.drops, here.slow = {**here.drops, "gru": {"fp32": 0.0}}, {"gru"}
    here.latencies["gru-fp32"] = 1.0
    plan = here.run(5)
    assert (labels(here), said(plan)["Ready"][0]) == (served, "True"), "what runs goes on"
    here.slow = set()
    here.run(20)
    assert list(here.trying.values())[1:] == [["gru-fp32"]]
    assert status(here).trials[0].winner == "gru/fp32"


def test_an_alternative_that_is_removed_is_not_rolled_out_any_more() -> None:
    here = three()
    until(here, "Complete")
    here.edge_model = pump("svm", generation=2).model_copy(update={"status": here.edge_model.status})
    here.run(20)
    assert status(here).variants[0].alternative == "source"
    assert here.started == 1, "all that is left was measured"


def test_while_the_registry_is_silent_everything_stays() -> None:
    here = three()
    until(here, "Complete")
    before, served, there = status(here).variants[0], labels(here), dict(here.registry)
    first = next(iter(there))
    silent = RegistryProblem("it is silent", forbidden=False)
    here.registry = dict.fromkeys(here.registry, silent)
    plan = here.run(4)
    after = status(here).variants[0]
    assert labels(here) == served
    assert (after.alternative, after.image, after.precision, after.refused) == (
        (before.alternative, before.image, before.precision, before.refused)
    )
    assert not plan.builds
    here.registry = {**dict.fromkeys(here.registry, silent), first: there[first]}
    here.run(4)
    assert (labels(here), here.started) == (served, 1)
    here.registry = dict(there)
    here.run(4)
    assert (labels(here), here.started) == (served, 1)


@pytest.mark.parametrize("killed_after", range(1, 16))
def test_an_operator_that_is_killed_at_any_call_goes_on_where_it_was(killed_after: int) -> None:
    here = three()
    for _ in range(killed_after):
        here.apply(decide(here.snapshot(), here.now), calls=1)
        here.tick(5)
    until(here, "Complete")
    assert (status(here).trials[0].winner, here.started) == ("gru/fp32", 1)


def test_without_trials_the_source_comes_first_and_alternatives_are_built_where_it_is_out_only() -> None:
    here = three(trial="Never")
    until(here, "Complete")
    assert (status(here).variants[0].alternative, len(here.jobs), here.started) == ("source", 1, 0)
    here = three(trial="Never")
    here.drops = {**here.drops, "source": {"fp32": 0.2}}
    until(here, "Complete")
    assert (status(here).variants[0].alternative, len(here.jobs), here.started) == ("gru", 2, 0)


def states(*ladders: Sequence[Precision]) -> list[BuildState]:
    """Builds with so many candidates each."""
    names = [f"m{number}" for number in range(len(ladders) - 1)]
    of = pump(*names)
    found = []
    alternatives: list[Alternative | None] = [None, *of.spec.optimize.alternatives]
    for name, one, ladder in zip(["source", *names], alternatives, ladders, strict=True):
        build = build_for(of, profile(), SETTINGS, one)
        made = reported(build.key, dict.fromkeys(ladder, 0.0))
        finalists = made.report.finalists
        first = finalists[0].model_copy(update={"digest": made.reference.partition("@")[2]})
        report = made.report.model_copy(update={"finalists": (first, *finalists[1:])})
        found.append(BuildState(profile(), build, "Built", made.reference, report, alternative=name))
    return found


def test_a_trial_takes_so_many_candidates_the_first_of_each_build_before_the_second_of_any() -> None:
    ladder: Sequence[Precision] = ("int8", "fp32")
    found = contestants(states(*[ladder] * 9), trial=True)
    names = [one.name for one in found.finalists()]
    assert len(names) == MOST == 16
    assert names[:9] == ["source/int8", *(f"m{number}/int8" for number in range(8))]
    assert names[9:] == ["source/fp32", *(f"m{number}/fp32" for number in range(6))]
    refused = {one.alternative: one.refused for one in found.states if one.refused}
    assert list(refused) == ["m6", "m7"]
    assert [(one.precision, one.rejected) for one in refused["m6"] or ()] == [
        ("fp32", "it is left out: a trial takes 16 candidates, those that come first in the ladder of each build")
    ]


def test_the_status_says_what_a_build_renamed_and_keeps_it_while_the_registry_is_silent() -> None:
    source, other = states(("fp32",), ("fp32",))
    report = other.report
    assert report is not None
    told = (Renamed(kind="Input", was="input.1", now="data"), Renamed(kind="Output", was="473", now="scores"))
    other = replace(other, report=report.model_copy(update={"renamed": told}))
    found = known([source, other], source, {})["builds"]
    assert [one.renamed for one in found] == [None, "input.1 -> data, 473 -> scores"]
    kept = [one.model_dump(mode="json", by_alias=True) for one in found]
    previous = {"variants": [{"profile": source.profile.metadata.name, "builds": kept}]}
    silent = [replace(one, report=None) for one in (source, other)]
    assert [one.renamed for one in known(silent, silent[0], previous)["builds"]] == [
        None,
        "input.1 -> data, 473 -> scores",
    ]
    many = tuple(Renamed(kind="Input", was="x" * 200, now="y" * 200) for _ in range(16))
    long = replace(other, report=report.model_copy(update={"renamed": many}))
    assert len(known([source, long], source, {})["builds"][1].renamed) == 1024


def test_builds_name_the_source_that_they_are_held_against() -> None:
    of = pump("gru")
    (own, other) = (build_for(of, profile(), SETTINGS, one) for one in (None, of.spec.optimize.alternatives[0]))
    assert own.reference is None
    assert own.key == build_for(pump(), profile(), SETTINGS).key, "alternatives are no part of the source's key"
    assert other.reference is not None
    assert (other.source.uri, other.reference.source) == ("s3://models/pump/gru.onnx", own.source)
    moved = pump("gru", source={"uri": "s3://models/parts/a/model.onnx", "sha256": "b" * 64})
    assert build_for(moved, profile(), SETTINGS, moved.spec.optimize.alternatives[0]).key != other.key


def test_an_alternative_without_a_digest_is_looked_at_and_joins_when_it_is_known() -> None:
    of = pump("gru")
    gru = of.spec.optimize.alternatives[0]
    bare = gru.model_copy(update={"source": gru.source.model_copy(update={"sha256": None})})
    optimize = of.spec.optimize.model_copy(update={"alternatives": (bare,)})
    of = of.model_copy(update={"spec": of.spec.model_copy(update={"optimize": optimize})})
    here = cluster(of, {"source": {"fp32": 0.0}, "gru": {"fp32": 0.0}}, source_fp32=4.0, gru_fp32=1.0)
    plan = decide(here.snapshot(), here.now)
    assert plan.look is not None
    assert [one.field for one in plan.look.files] == ["optimize.alternatives[gru].source"]
    assert [start.alternative for start in plan.builds] == ["source"]
    entry = {"field": "optimize.alternatives[gru].source", "uri": bare.source.uri, "sha256": "7" * 64}
    known = {"sources": [{**entry, "resolvedAt": "2030-01-01T11:59:00Z", "attempt": plan.look.attempt}]}
    here.edge_model = of.model_copy(update={"status": known})
    builds = here.builds()
    assert builds["amd64", "gru"].source.sha256 == "7" * 64
    assert builds["amd64", "gru"].reference == Reference(source=builds["amd64", "source"].source)
