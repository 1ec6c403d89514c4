"""Looks at files beside builds: a file that changed between the two, slots, and an operator that is killed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from clusters import Cluster
from looks import A, B, after, finding, found, in_vain, known, loose, seen
from snapshots import (
    NOW,
    SETTINGS,
    failed_job,
    model,
    node,
    profile,
    said,
    sentence,
)

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide import build_jobs, decide
from edgesmith.decide.builds import build_for
from edgesmith.decide.snapshot import Snapshot
from edgesmith_builder.contract import ResolvedFile, ResolveResult

# A file that changed between look and build ---------------------------------------------------------------------------


def mismatched(of: EdgeModel, ago: float = 1) -> Snapshot:
    """A build of what is known that came upon other bytes."""
    job = replace(failed_job(model(), "DigestMismatch", ago=ago), key=build_for(of, profile(), SETTINGS).key)
    return replace(seen(of), jobs=(replace(job, attempt=build_jobs.attempt_of(of, SETTINGS)),))


def test_a_build_that_found_other_bytes_starts_a_look_at_once_and_is_not_made_again_before() -> None:
    of = known()
    plan = decide(mismatched(of), NOW + timedelta(seconds=30))
    assert plan.look is not None
    assert [(file.sha256, file.validator) for file in plan.look.files] == [(None, None)], "its tag is not believed"
    assert plan.builds == ()
    variant = plan.status.variants[0]
    assert (variant.state, variant.reason) == ("Waiting", "Resolving")
    assert "Stalled" not in said(plan)


def test_a_build_that_found_other_bytes_is_looked_after_with_an_interval_of_zero_too() -> None:
    assert decide(mismatched(known(source={"interval": "0s"})), NOW).look is not None


def test_what_is_found_then_is_built_and_the_old_bytes_are_not() -> None:
    of = known()
    between = replace(mismatched(of, ago=600), resolve_jobs=(found(of, B),))
    plan = decide(between, NOW)
    assert ([one.sha256 for one in plan.status.sources], plan.builds, plan.look) == ([B], (), None)
    fresh = after(of, plan)
    assert [start.build.source.sha256 for start in decide(seen(fresh), NOW).builds] == [B]


def test_the_same_bytes_found_again_leave_the_builds_own_words() -> None:
    of = known()
    again = after(of, decide(replace(mismatched(of, ago=10), resolve_jobs=(found(of, A),)), NOW))
    plan = decide(replace(mismatched(of, ago=10), model=again), NOW)
    assert (plan.look, said(plan)["Stalled"]) == (None, ("True", "DigestMismatch"))


def test_while_paused_a_build_that_found_other_bytes_keeps_its_own_words() -> None:
    plan = decide(mismatched(known(rollout={"paused": True}), ago=10), NOW)
    assert (plan.look, said(plan)["Stalled"]) == (None, ("True", "DigestMismatch"))


def test_a_look_in_vain_leaves_the_builds_own_words() -> None:
    of = known()
    plan = decide(replace(mismatched(of, ago=10), resolve_jobs=(in_vain(of, "SourceUnreachable", retry=True),)), NOW)
    assert said(plan)["Stalled"] == ("True", "DigestMismatch")
    assert finding(plan) == ("True", "LookFailed")


# Slots ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("running", "waiting", "looks"), [(9, 0, True), (10, 0, False), (8, 1, True), (8, 2, False)])
def test_a_look_has_the_slots_that_builds_leave(running: int, waiting: int, looks: bool) -> None:  # noqa: FBT001 - as above
    plan = decide(seen(loose(), builds_running=running, builds_waiting=waiting), NOW)
    assert ((plan.look is not None), plan.look_waits) == (looks, not looks)
    if not looks:
        assert "waits: 10 Jobs run already (builder.maxConcurrent)" in sentence(plan, "SourceResolved")
        assert plan.look_again == 60.0


def test_its_own_builds_come_first() -> None:
    late = NOW + timedelta(hours=2)
    assert decide(seen(known(), builds_running=8), late).look is not None
    plan = decide(seen(known(), builds_running=9), late)
    assert (len(plan.builds), plan.look, plan.look_waits) == (1, None, True)
    assert finding(plan) == ("True", "Succeeded")


# The operator killed at any moment ------------------------------------------------------------------------------------


def finish(cluster: Cluster, sha256: str, at: datetime) -> None:
    """Every look ends well."""
    for name, job in cluster.resolve_jobs.items():
        if not job.finished:
            answer = ResolveResult(files=(ResolvedFile(field="source", sha256=sha256, validator="v"),))
            cluster.resolve_jobs[name] = replace(job, finished=True, succeeded=True, finished_at=at, found=answer)


@pytest.mark.parametrize("calls", range(4))
def test_an_operator_that_is_killed_in_any_pass_loses_nothing_and_makes_nothing_twice(calls: int) -> None:
    cluster = Cluster(edge_model=loose(), nodes={"e1": node("e1")})
    made = set()
    for number in range(12):
        plan = decide(cluster.snapshot(), cluster.now)
        cluster.apply(plan, None if number % 2 else calls)
        made |= set(cluster.resolve_jobs)
        finish(cluster, A, cluster.now)
        cluster.tick(10)
    assert len(made) == 1
    assert cluster.resolve_jobs == {}
    assert cluster.edge_model.status["sources"][0]["sha256"] == A
    assert len(cluster.revisions) == 1
