"""When files without a digest are looked at, what is made of what was found, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from clusters import Cluster
from new_jobs import new_look
from snapshots import NOW, SETTINGS, failed_job, image, model, node, profile, said, sentence, snapshot

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import RETRY_ANNOTATION, resolve_job_name
from edgesmith.decide import build_jobs, decide
from edgesmith.decide.builds import build_for
from edgesmith.decide.built_for_sites import wanted
from edgesmith.decide.digests import recorded, undigested
from edgesmith.decide.plan import Change, Plan
from edgesmith.decide.snapshot import ResolveJob, Snapshot
from edgesmith.decide.sources import attempt_of, key_of, next_look
from edgesmith_builder.contract import BuildFailure, FailureReason, ResolvedFile, ResolveResult

URI = "s3://models/parts/model.onnx"
HOUR = timedelta(hours=1)
A, B = "a" * 64, "b" * 64


def loose(
    status: Mapping[str, Any] | None = None, *, source: Mapping[str, Any] | None = None, **more: Any
) -> EdgeModel:
    """An EdgeModel whose source has no digest."""
    found = model(source={"uri": URI, **(source or {})}, **more)
    return found.model_copy(update={"status": dict(status or {})})


def entry(sha256: str = A, *, ago: float = 60, field: str = "source", of: EdgeModel | None = None, **more: Any) -> Any:
    """What the status says of a file that was looked at some seconds ago."""
    at = (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    base = {"field": field, "uri": URI, "sha256": sha256, "validator": f"of {sha256[0]}", "resolvedAt": at}
    return {**base, "attempt": attempt_of(of or loose()), **more}


def known(*entries: Any, **more: Any) -> EdgeModel:
    return loose({"sources": list(entries or [entry()])}, **more)


def seen(of: EdgeModel, *jobs: ResolveJob, **more: Any) -> Snapshot:
    """A snapshot in which the registry has every build that is wanted."""
    images = {build.key: None for build in wanted(of, (profile(),), SETTINGS).values()}
    base = Snapshot(of, SETTINGS, (profile(),), (), (), (), (), images)
    return replace(base, resolve_jobs=jobs, **more)


def look(of: EdgeModel, name: str = "look", **more: Any) -> ResolveJob:
    """A resolve Job for an EdgeModel that runs."""
    files = {field: file for field, file in of.spec.files.items() if file.sha256 is None}
    return replace(new_look(name, key_of(files), attempt_of(of), NOW - timedelta(seconds=30)), **more)


def found(of: EdgeModel, sha256: str = A, *, ago: float = 1, **more: Any) -> ResolveJob:
    """One that found something."""
    files = tuple(
        ResolvedFile(field=field, sha256=sha256, validator=f"of {sha256[0]}")
        for field, file in of.spec.files.items()
        if file.sha256 is None
    )
    end = NOW - timedelta(seconds=ago)
    return look(of, finished=True, succeeded=True, finished_at=end, found=ResolveResult(files=files), **more)


def in_vain(of: EdgeModel, reason: FailureReason, *, retry: bool = False, ago: float = 1, **more: Any) -> ResolveJob:
    """One that failed in the builder's own words."""
    failure = BuildFailure(reason=reason, message=f"{reason} it is.", retry=retry)
    return look(of, finished=True, failure=failure, finished_at=NOW - timedelta(seconds=ago), **more)


def finding(plan: Plan) -> tuple[str, str]:
    return said(plan)["SourceResolved"]


def after(of: EdgeModel, plan: Plan) -> EdgeModel:
    """The EdgeModel with the status of a plan."""
    return of.model_copy(update={"status": plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)})


# The first look -------------------------------------------------------------------------------------------------------


def test_nothing_is_built_before_the_digest_is_known() -> None:
    plan = decide(seen(loose()), NOW)
    assert plan.look is not None
    assert [(file.field, file.uri, file.sha256, file.validator) for file in plan.look.files] == [
        ("source", URI, None, None)
    ]
    assert (plan.builds, plan.revisions, plan.status.sources) == ((), (), ())
    assert finding(plan) == ("False", "Resolving")
    assert said(plan)["Ready"] == ("False", "Resolving")
    (variant,) = plan.status.variants
    assert (variant.state, variant.reason) == ("Waiting", "Resolving")
    assert variant.message == "The build for amd64 waits for the digest of spec.source."
    with pytest.raises(ValueError, match=r"the digest of spec\.source is not known"):
        build_for(loose(), profile(), SETTINGS)


def test_what_was_found_is_recorded_first_and_built_then() -> None:
    of = loose()
    plan = decide(seen(of, found(of)), NOW)
    (one,) = plan.status.sources
    assert (one.field, one.uri, one.sha256, one.validator) == ("source", URI, A, "of a")
    assert one.resolved_at == (NOW - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (plan.builds, plan.look, plan.deletes) == ((), None, ()), "the Job stays until the entry is there"
    of = after(of, plan)
    plan = decide(seen(of, found(of)), NOW)
    assert [start.build.source.sha256 for start in plan.builds] == [A]
    assert [delete.name for delete in plan.deletes] == ["look"]
    assert (finding(plan), plan.look) == (("True", "Succeeded"), None)
    assert plan.status.sources == decide(seen(of), NOW).status.sources


def test_every_file_without_a_digest_is_looked_at_by_one_job() -> None:
    sets = {"calibration": {"uri": "s3://models/c.npz"}, "evaluation": {"uri": "oci://r/e:1", "sha256": B}}
    compiled = [{"toolchain": "EdgeTPU", "uri": "https://h/c.tflite"}]
    plan = decide(seen(loose(compiled=compiled, **sets)), NOW)
    assert plan.look is not None
    assert [file.field for file in plan.look.files] == ["source", "calibration", "compiled[EdgeTPU]"]
    assert sentence(plan, "SourceResolved").startswith(
        "The digests of spec.source, spec.calibration and spec.compiled[EdgeTPU] are not known; a Job"
    )


def test_a_compiled_file_keeps_only_its_own_toolchains_builds_waiting() -> None:
    compiled = [{"toolchain": "EdgeTPU", "uri": "https://h/c.tflite"}]
    of = model(compiled=compiled)
    assert undigested(of, profile()) == ()
    edge = profile("coral", toolchain={"name": "EdgeTPU"})
    assert undigested(of, edge) == ("compiled[EdgeTPU]",)


def test_with_every_digest_given_nobody_looks() -> None:
    plan = decide(snapshot(), NOW)
    assert (plan.look, finding(plan)) == (None, ("True", "Succeeded"))
    given = loose({"sources": [entry()]}, source={"sha256": A})
    plan = decide(snapshot(given, images={}, resolve_jobs=(look(loose()),)), NOW)
    assert ([delete.name for delete in plan.deletes], plan.status.sources) == (["look"], ())


# Looking again --------------------------------------------------------------------------------------------------------


def test_a_look_is_made_when_the_interval_has_passed_and_everything_goes_on_meanwhile() -> None:
    of = known()
    due = next_look(NOW - timedelta(seconds=60), HOUR, "u")
    waiting = decide(seen(of), due - timedelta(seconds=1))
    assert (waiting.look, len(waiting.builds)) == (None, 1)
    plan = decide(seen(of), due)
    assert plan.look is not None
    assert [(file.sha256, file.validator) for file in plan.look.files] == [(A, "of a")]
    assert (len(plan.builds), finding(plan)) == (1, ("True", "Succeeded"))
    running = decide(seen(of, look(of)), due)
    assert (running.look, finding(running)) == (None, ("True", "Succeeded"))


def test_a_pass_is_asked_for_when_the_next_look_is_due() -> None:
    of = known()
    built = seen(of, images={build_for(of, profile(), SETTINGS).key: image(model())})
    due = next_look(NOW - timedelta(seconds=60), HOUR, "u")
    assert decide(built, NOW).look_again == (due - NOW).total_seconds()


@pytest.mark.parametrize("days", [1, 400])
def test_with_an_interval_of_zero_nobody_looks_again(days: int) -> None:
    of = known(source={"interval": "0s"})
    plan = decide(seen(of), NOW + timedelta(days=days))
    assert plan.look is None
    assert sentence(plan, "SourceResolved") == ("The digest of spec.source is known from a look; no other is made.")


def test_looks_are_spread_over_the_interval_and_none_is_late() -> None:
    places = [next_look(NOW, HOUR, f"uid-{number}") - NOW for number in range(500)]
    assert min(places) > timedelta()
    assert max(places) <= HOUR
    tenths = [sum(place // (HOUR / 10) == tenth for place in places) for tenth in range(10)]
    assert min(tenths) > 25, "fifty in each tenth, about"
    again = next_look(NOW + places[0], HOUR, "uid-0") - NOW
    assert again == places[0] + HOUR, "its place stays"


def test_another_digest_is_another_build_with_both_on_it() -> None:
    of = known()
    cluster = Cluster(edge_model=of, nodes={"e1": node("e1")})
    cluster.run(8)
    first = next(iter(cluster.revisions.values()))
    assert first.build["source"]["sha256"] == A
    fresh = cluster.edge_model.model_copy(update={"status": cluster.edge_model.status | {"sources": [entry(B)]}})
    plan = decide(
        replace(cluster.snapshot(), model=fresh, images={build_for(fresh, profile(), SETTINGS).key: None}), NOW
    )
    assert [start.reason for start in plan.builds] == [(Change("source content", A, B),)]


def test_an_entry_of_another_uri_or_one_that_cannot_be_read_is_none() -> None:
    for wrong in (
        entry(uri="s3://models/other.onnx"),
        entry(sha256="short"),
        entry(resolvedAt="yesterday"),
        entry(field="evaluation"),
        {"field": "source"},
        "text",
    ):
        assert recorded(known(wrong)) == {}
        assert decide(seen(known(wrong)), NOW).look is not None
    assert recorded(loose({"sources": {"field": "source"}})) == {}


def test_a_time_without_a_zone_is_utc() -> None:
    of = known(entry(resolvedAt=(NOW - timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%S")))
    assert decide(seen(of), NOW).look is None


def test_another_uri_is_looked_at_at_once_and_a_job_for_the_old_one_goes() -> None:
    of = known()
    moved = of.model_copy(update={"spec": loose(source={"uri": "s3://models/parts/2.onnx"}).spec})
    plan = decide(seen(moved, look(of)), NOW)
    assert plan.look is not None
    assert [delete.name for delete in plan.deletes] == ["look"]
    assert plan.status.sources == ()
    stale = decide(seen(moved, found(of)), NOW)
    assert stale.status.sources == (), "what was found elsewhere says nothing"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"annotations": {RETRY_ANNOTATION: "now"}}, id="retry"),
        pytest.param({"source": {"secretRef": {"name": "other"}}}, id="another Secret"),
    ],
)
def test_a_retry_and_another_secret_start_a_look_that_believes_nothing(change: dict[str, Any]) -> None:
    of = known(**change)
    plan = decide(seen(of), NOW)
    assert plan.look is not None
    assert [(file.sha256, file.validator) for file in plan.look.files] == [(None, None)]
    assert len(plan.builds) == 1, "what is known is used meanwhile"
    done = decide(seen(after(of, decide(seen(of, found(of)), NOW))), NOW)
    assert done.look is None


def test_a_retry_is_not_lost_where_the_operator_is_killed_after_its_status() -> None:
    of = known(annotations={RETRY_ANNOTATION: "now"})
    plan = decide(seen(of), NOW)
    assert plan.status.last_handled_retry == "now"
    assert decide(seen(after(of, plan)), NOW).look is not None


def test_a_paused_edge_model_is_not_looked_at() -> None:
    plan = decide(seen(loose(rollout={"paused": True})), NOW)
    assert (plan.look, finding(plan)) == (None, ("False", "Paused"))
    late = decide(seen(known(rollout={"paused": True})), NOW + timedelta(days=3))
    assert (late.look, finding(late)) == (None, ("True", "Succeeded"))


# Looks in vain --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "said_by", "shown", "delay"),
    [
        ("SourceNotFound", "Stalled", "SourceNotFound", 20.0),
        ("SourceForbidden", "Stalled", "SourceForbidden", 20.0),
        ("SourceUnreachable", "Reconciling", "WaitingForSource", 5.0),
        ("Internal", "Reconciling", "BuildFailed", 5.0),
    ],
)
def test_a_first_look_in_vain_says_why_and_is_made_again(
    reason: FailureReason, said_by: str, shown: str, delay: float
) -> None:
    of, retry = loose(), said_by == "Reconciling"
    failed = in_vain(of, reason, retry=retry, ago=0)
    plan = decide(seen(of, failed), NOW)
    assert (plan.look, plan.look_again, finding(plan)) == (None, delay, ("False", shown))
    assert said(plan)[said_by] == ("True", shown)
    assert sentence(plan, "SourceResolved") == f"{reason} it is."
    again = decide(seen(of, failed), NOW + timedelta(seconds=delay))
    assert again.look is not None
    assert again.look.tries == 1
    retried = decide(seen(of, failed, look(of, "second", tries=1)), NOW + timedelta(seconds=delay))
    assert finding(retried) == ("False", shown), "the words stay until it has done better"


def test_what_no_retry_helps_is_looked_at_on_the_interval() -> None:
    of = loose()
    plan = decide(seen(of, in_vain(of, "ModelInvalid", ago=0)), NOW)
    due = next_look(NOW, HOUR, "u")
    assert (plan.look, plan.look_again) == (None, (due - NOW).total_seconds())
    assert decide(seen(of, in_vain(of, "ModelInvalid", ago=0)), due).look is not None
    once = loose(source={"interval": "0s"})
    assert decide(seen(once, in_vain(once, "ModelInvalid", ago=0)), NOW + timedelta(days=9)).look is None


def test_a_later_look_in_vain_changes_nothing_and_says_since_when() -> None:
    of = known(entry(ago=7200))
    plan = decide(seen(of, in_vain(of, "SourceUnreachable", retry=True)), NOW)
    assert finding(plan) == ("True", "LookFailed")
    since = (NOW - timedelta(seconds=7200)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert sentence(plan, "SourceResolved") == (
        f"SourceUnreachable it is. What was found at {since} goes on to be used."
    )
    assert len(plan.builds) == 1
    assert "Stalled" not in said(plan)
    assert [event.reason for event in plan.events if event.type == "Warning"] == ["LookFailed"]
    told = decide(seen(after(of, plan), in_vain(of, "SourceUnreachable", retry=True)), NOW)
    assert [event.reason for event in told.events if event.type == "Warning"] == [], "once"


def test_a_job_whose_answer_went_with_its_pod_is_made_again() -> None:
    of = loose()
    silent = replace(found(of, ago=0), found=None)
    plan = decide(seen(of, silent), NOW)
    assert (finding(plan), plan.look_again) == (("False", "BuildFailed"), 5.0)
    assert "its pod went before its answer was read" in sentence(plan, "SourceResolved")
    again = decide(seen(of, silent), NOW + timedelta(seconds=5))
    assert again.look is not None
    assert again.look.tries == 1


def test_an_answer_that_lacks_a_file_is_none() -> None:
    of = loose(calibration={"uri": "s3://models/c.npz"})
    half = replace(found(of, ago=0), found=ResolveResult(files=(ResolvedFile(field="source", sha256=A),)))
    plan = decide(seen(of, half), NOW)
    assert (plan.status.sources, plan.look) == ((), None)
    assert decide(seen(of, half), NOW + timedelta(seconds=5)).look is not None


def test_of_two_looks_the_later_one_is_right_in_whatever_order_they_are_seen() -> None:
    of = known(entry(B, ago=60))
    plan = decide(seen(of, found(of, A, ago=90)), NOW)
    assert ([one.sha256 for one in plan.status.sources], [one.name for one in plan.deletes]) == ([B], ["look"])
    both = (found(of, A, ago=10, name="late"), found(of, "c" * 64, ago=20, name="early"))
    for jobs in (both, both[::-1]):
        assert [one.sha256 for one in decide(seen(of, *jobs), NOW).status.sources] == [A]


def test_every_look_has_a_name_of_its_own() -> None:
    """The Job of the last one may still be on its way out."""
    of, later = known(entry(ago=60)), known(entry(ago=30))
    names = []
    for one, tries in ((loose(), 0), (of, 0), (later, 0), (of, 1)):
        jobs = (in_vain(one, "SourceNotFound", ago=0),) if tries else ()
        start = decide(seen(one, *jobs), NOW + timedelta(hours=2)).look
        assert start is not None
        names.append(resolve_job_name("parts", start.key, start.since, start.attempt, start.tries))
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 63


def test_a_secret_that_is_missing_is_for_the_user_to_make() -> None:
    of = loose(source={"secretRef": {"name": "store"}})
    blocked = look(of, failure_message='secret "store" not found')
    plan = decide(seen(of, blocked), NOW)
    assert said(plan)["Stalled"] == ("True", "CredentialsNotFound")
    assert "spec.source.secretRef.name 'store' in namespace 'plant' cannot be used" in sentence(plan)


def test_a_pod_that_finds_no_node_is_waited_for() -> None:
    of = loose()
    plan = decide(seen(of, look(of, failure_message="0/3 nodes are available.")), NOW)
    assert finding(plan) == ("False", "Resolving")
    assert "0/3 nodes are available" in sentence(plan, "SourceResolved")


def test_of_several_failed_jobs_the_newest_is_kept_and_all_go_after_a_success() -> None:
    of = loose()
    first, second = (
        in_vain(of, "SourceNotFound", name=name, tries=tries, started_at=NOW + timedelta(seconds=tries))
        for tries, name in enumerate(("one", "two"))
    )
    assert [delete.name for delete in decide(seen(of, first, second), NOW).deletes] == ["one"]
    done = after(of, decide(seen(of, found(of, ago=0)), NOW))
    plan = decide(seen(done, first, second), NOW)
    assert sorted(delete.name for delete in plan.deletes) == ["one", "two"]


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
