"""Which builds are missing and why, and when one that failed is tried again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from snapshots import NOW, SETTINGS, failed_job, image, job, key_of, model, profile, rebased, snapshot

from edgesmith.api.edgemodel import EdgeModel, EdgeModelSpec
from edgesmith.api.names import RETRY_ANNOTATION, job_name
from edgesmith.decide import decide
from edgesmith.decide.build_jobs import attempt_of
from edgesmith.decide.builds import build_for
from edgesmith.decide.changes import changes
from edgesmith.decide.plan import Change, Plan
from edgesmith.decide.retry import LONGEST_PAUSE, failed, requested
from edgesmith.decide.snapshot import BuildJob, Revision, Snapshot
from edgesmith_builder.contract import TOOLS, Build, Pruning, tools_of

MISSING = {key_of(model()): None}
OTHER = {"uri": "s3://models/other.onnx", "sha256": "b" * 64}
LONG_AGO = NOW - timedelta(days=1)


def before(**spec: Any) -> dict[str, object]:
    """The build of an EdgeModel as a DaemonSet has it."""
    return build_for(model(**spec), profile(), SETTINGS).model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.mark.parametrize(
    ("spec", "field", "old", "new"),
    [
        pytest.param(
            {"source": {"uri": "s3://models/parts/a/model.onnx", "sha256": "b" * 64}},
            "source.sha256", "a" * 64, "b" * 64, id="source",
        ),
        pytest.param(
            {"source": {"uri": "s3://models/parts/a/model.onnx", "sha256": "a" * 64, "trustPickle": True}},
            "trustPickle", "false", "true", id="pickle",
        ),
        pytest.param({"missingValues": "NaN"}, "missingValues", "Refuse", "NaN", id="missing values"),
    ],
)  # fmt: skip
def test_a_change_names_its_field_with_old_and_new(spec: dict[str, Any], field: str, old: str | None, new: str) -> None:
    assert changes(build_for(model(**spec), profile(), SETTINGS), before()) == (Change(field, old, new),)


def test_a_set_that_was_not_there_before_is_named_with_its_place_and_its_digest() -> None:
    calibration = {"uri": "s3://models/c.npz", "sha256": "c" * 64}
    assert changes(build_for(model(calibration=calibration), profile(), SETTINGS), before()) == (
        Change("calibration.sha256", None, "c" * 64),
        Change("calibration.uri", None, "s3://models/c.npz"),
    )


def test_the_output_that_says_the_class_is_part_of_the_build() -> None:
    evaluation = {"uri": "s3://models/e.npz", "sha256": "e" * 64}
    build = build_for(model(evaluation=evaluation | {"output": "logits"}), profile(), SETTINGS)
    assert build.output == "logits"
    assert build.key != build_for(model(evaluation=evaluation), profile(), SETTINGS).key


def test_lists_and_booleans_read_as_people_write_them() -> None:
    toolchain = {"precisions": ["fp32"], "options": {"perChannel": "false"}}
    found = changes(build_for(model(), profile(toolchain=toolchain), SETTINGS), before())
    assert found == (
        Change("toolchain.options.perChannel", None, "false"),
        Change("toolchain.precisions", "int8,int8-mixed,int8-dynamic,fp32", "fp32"),
    )


def test_another_toolchain_is_named_without_the_tools_that_only_one_of_them_uses() -> None:
    build = build_for(model(), profile(), SETTINGS)
    other = {"toolchain": build.toolchain.model_copy(update={"name": "LiteRT"}), "tools": tools_of("LiteRT")}
    found = changes(build.model_copy(update=other), before())
    assert found == (Change("toolchain.name", "ONNXRuntime", "LiteRT"),)


@pytest.mark.parametrize("tool", ["builder", "onnx", "onnxruntime"])
def test_another_version_of_what_compiles_is_another_build_and_is_named(tool: str) -> None:
    build = build_for(model(), profile(), SETTINGS)
    assert build.tools is not None
    older = build.model_copy(update={"tools": build.tools.model_copy(update={tool: "0"})})
    assert older.key != build.key
    assert changes(build, json.loads(older.to_json())) == (Change(f"tools.{tool}", "0", getattr(TOOLS, tool)),)


def test_a_build_that_this_version_cannot_read_is_compared_as_it_stands() -> None:
    build = build_for(model(), profile(), SETTINGS)
    assert Change("fused", "yes", None) in changes(build, before() | {"fused": "yes"})


def test_the_first_build_needs_no_reason() -> None:
    plan = decide(snapshot(images=MISSING), NOW)
    assert [(start.reason, start.tries, start.attempt) for start in plan.builds] == [((), 0, attempt_of(model()))]


def test_a_build_that_differs_from_the_newest_revision_says_how() -> None:
    old = Revision("parts-x", "x", "amd64", "r@sha256:0", NOW, before(missingValues="NaN"))
    plan = decide(snapshot(images=MISSING, revisions=(old,)), NOW)
    assert plan.builds[0].reason == (Change("missingValues", "NaN", "Refuse"),)


@pytest.mark.parametrize("succeeded", [True, False], ids=["built and not rolled out", "failed"])
def test_a_build_after_one_that_never_got_a_daemon_set_says_how_it_differs(*, succeeded: bool) -> None:
    first = before(missingValues="NaN")
    made = job(model(missingValues="NaN"), finished=True, succeeded=succeeded, finished_at=NOW, build=first)
    older = replace(
        made, name="older", build=before(missingValues="NaN", source=OTHER), key="o" * 32, started_at=LONG_AGO
    )
    plan = decide(snapshot(images=MISSING, jobs=(older, made)), NOW)
    assert plan.builds[0].reason == (Change("missingValues", "NaN", "Refuse"),)
    assert plan.status.variants[0].message == "Building for amd64: missingValues changed."


def test_what_runs_is_what_a_build_is_compared_with_whatever_was_tried_since() -> None:
    ran = Revision("parts-x", "x", "amd64", "r@sha256:0", NOW, before(source=OTHER))
    tried = job(model(missingValues="NaN"), finished=True, finished_at=NOW, build=before(missingValues="NaN"))
    plan = decide(snapshot(images=MISSING, revisions=(ran,), jobs=(tried,)), NOW)
    assert [change.field for change in plan.builds[0].reason] == ["source.sha256", "source.uri"]


def test_a_job_of_another_profile_or_that_cannot_be_read_is_no_build_before() -> None:
    elsewhere = job(model(missingValues="NaN"), finished=True, finished_at=NOW, build=before(missingValues="NaN"))
    for one in (replace(elsewhere, profile="arm64"), replace(elsewhere, build={})):
        assert decide(snapshot(images=MISSING, jobs=(one,)), NOW).builds[0].reason == ()


def test_the_next_try_has_the_reason_of_the_one_before() -> None:
    why = (Change("missingValues", "NaN", "Refuse"),)
    first = replace(failed_job(model(), "SourceUnreachable", retry=True, ago=10), reason=why)
    (start,) = decide(snapshot(images=MISSING, jobs=(first,)), NOW).builds
    assert (start.tries, start.reason) == (1, why)


SIGNED = "; it is not compiled again where the build before it is signed by the same key"


@pytest.mark.parametrize(("secret", "words"), [(None, ""), ("signing", SIGNED)], ids=["nothing is signed", "signed"])
def test_another_base_is_told_as_one_that_need_not_be_compiled_for(secret: str | None, words: str) -> None:
    settings = replace(SETTINGS, signing_secret=secret)
    old = before() | {"base": f"registry.example/edgesmith/runtime@sha256:{'0' * 64}"}
    held = Revision("parts-x", "x", "amd64", "r@sha256:0", NOW, old)
    plan = decide(snapshot(images=MISSING, revisions=(held,), settings=settings), NOW)
    assert [change.field for change in plan.builds[0].reason] == ["base"]
    assert plan.status.variants[0].message == f"Building for amd64: base changed{words}."


def test_a_build_that_was_put_over_another_base_says_whose_layers_it_has_also_while_nobody_can_be_asked() -> None:
    origin = f"sha256:{'e' * 64}"
    put = rebased(model(), origin)
    plan = decide(snapshot(images={key_of(model()): put}), NOW)
    assert plan.status.variants[0].rebased_from == origin
    seen = model().model_copy(update={"status": plan.status.model_dump(mode="json", by_alias=True)})
    held = Revision("parts-x", "x", "amd64", put.reference, NOW, before())
    later = decide(snapshot(seen, images={}, revisions=(held,)), NOW)
    assert later.status.variants[0].rebased_from == origin


def test_an_image_that_left_the_registry_is_built_again_while_it_goes_on_serving() -> None:
    known = image(model()).reference
    held = Revision("parts-x", "x", "amd64", known, NOW, before())
    plan = decide(snapshot(images=MISSING, revisions=(held,)), NOW)
    assert plan.builds[0].reason == (Change("image", known, None),)
    assert plan.revisions[0].image == known


def test_nothing_is_built_that_the_registry_holds_or_that_it_was_not_asked_for() -> None:
    assert decide(snapshot(), NOW).builds == ()
    plan = decide(snapshot(images={}), NOW)
    assert plan.builds == ()
    assert plan.look_again


def test_the_metric_and_what_it_is_told_decide_the_build() -> None:
    def scored(**evaluation: Any) -> Build:
        uri = {"uri": "s3://models/evaluation.npz", "sha256": "e" * 64}
        return build_for(model(evaluation=uri | evaluation), profile(), SETTINGS)

    top = scored(metric="TopK", topK=3)
    assert (top.metric, top.metric_options) == ("TopK", {"k": "3"})
    assert scored(metric="TopK").metric_options == {}
    assert len({build.key for build in (top, scored(metric="RMSE"), scored(), scored(metric="TopK"))}) == 4


def test_how_much_is_pruned_decides_the_build_and_gates_and_objectives_do_not() -> None:
    sets: dict[str, Any] = {"calibration": {"uri": "s3://models/c.npz", "sha256": "c" * 64}}
    whole, pruned = (
        build_for(model(**sets, optimize=said), profile(), SETTINGS)
        for said in ({"objective": "Size"}, {"objective": "Size", "pruning": {"ratio": "30%"}})
    )
    assert (whole.pruning, pruned.pruning) == (None, Pruning(ratio=0.3))
    assert whole.key == build_for(model(**sets), profile(), SETTINGS).key != pruned.key
    (change,) = changes(pruned, whole.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert change == Change("pruning.ratio", None, "0.3")


def test_two_profiles_that_need_the_same_bytes_share_one_job() -> None:
    both = model(deviceProfiles={"names": ["amd64", "twin"]})
    plan = decide(
        snapshot(both, profiles=(profile(), profile("twin")), images={key_of(both): None}),
        NOW,
    )
    assert len(plan.builds) == 1
    assert [variant.state for variant in plan.status.variants] == ["Building", "Building"]


def at(plan_of: Snapshot, seconds: float) -> tuple[int, float | None]:
    """Builds started and seconds to the next look, some time later."""
    plan = decide(plan_of, NOW + timedelta(seconds=seconds))
    return len(plan.builds), plan.look_again


def test_a_try_that_can_help_is_made_after_a_pause() -> None:
    seen = snapshot(images=MISSING, jobs=(failed_job(model(), "SourceUnreachable", retry=True, ago=0),))
    assert at(seen, 0) == (0, 5.0)
    assert at(seen, 4) == (0, 1.0)
    assert at(seen, 5)[0] == 1


def test_the_next_try_is_another_job_and_keeps_the_failures_words() -> None:
    first = failed_job(model(), "SourceUnreachable", retry=True, ago=10)
    plan = decide(snapshot(images=MISSING, jobs=(first,)), NOW)
    assert plan.builds[0].tries == 1
    assert plan.deletes == ()
    second = job(model(), tries=1, started_at=NOW)
    assert second.name == job_name(key_of(model()), attempt_of(model()), 1) != first.name
    plan = decide(snapshot(images=MISSING, jobs=(first, second)), NOW)
    assert plan.builds == ()
    assert (plan.status.variants[0].reason, plan.status.variants[0].message) == (
        "WaitingForSource",
        "SourceUnreachable it is.",
    )
    ended = replace(second, finished=True, failure=first.failure, finished_at=NOW)
    assert [delete.name for delete in decide(snapshot(images=MISSING, jobs=(first, ended)), NOW).deletes] == [
        first.name
    ]


@pytest.mark.parametrize("tries", [0, 1, 5, 10, 5000])
def test_pauses_grow_up_to_a_limit(tries: int) -> None:
    delay = failed(failed_job(model(), "RegistryUnreachable", retry=True, tries=tries)).delay
    assert delay == min(5.0 * 2 ** min(tries, 20), LONGEST_PAUSE)


@pytest.mark.parametrize("reason", ["SourceNotFound", "SourceForbidden", "DigestMismatch", "RegistryForbidden"])
def test_what_can_be_fixed_outside_the_cluster_is_tried_now_and_then(reason: str) -> None:
    seen = snapshot(images=MISSING, jobs=(failed_job(model(), reason, ago=0),))  # type: ignore[arg-type]
    assert at(seen, 0) == (0, 20.0)
    assert at(seen, 20)[0] == 1


@pytest.mark.parametrize("reason", ["ModelInvalid", "ModelHasNaN", "NoCandidate", "DatasetMismatch"])
def test_what_can_only_fail_again_waits_for_the_user(reason: str) -> None:
    failure = failed_job(model(), reason)  # type: ignore[arg-type]
    assert at(snapshot(images=MISSING, jobs=(failure,)), 1e6) == (0, None)
    asked = model(annotations={RETRY_ANNOTATION: "again"})
    plan = decide(snapshot(asked, images=MISSING, jobs=(failure,)), NOW)
    assert [(start.attempt, start.tries) for start in plan.builds] == [(attempt_of(asked), 0)]
    assert attempt_of(asked) != failure.attempt


def test_correcting_the_place_of_a_compiled_file_starts_the_next_try() -> None:
    profiles = (profile(toolchain={"name": "EdgeTPU", "precisions": ["int8"]}),)
    twin = {"toolchain": "EdgeTPU", "sha256": "c" * 64}
    wrong, corrected = (
        model(compiled=[twin | {"uri": f"s3://models/{name}.tflite"}]) for name in ("elsewhere", "right")
    )
    settings = replace(
        SETTINGS, runtime_images={**SETTINGS.runtime_images, "litert": "registry:5000/litert@sha256:" + "1" * 64}
    )
    build = build_for(wrong, profiles[0], settings)
    assert build_for(corrected, profiles[0], settings).key == build.key
    attempt = attempt_of(wrong, settings, build)
    ended = replace(failed_job(model(), "SourceForbidden", ago=0), key=build.key, attempt=attempt)
    for asked, starts in ((wrong, 0), (corrected, 1)):
        seen = snapshot(asked, images={build.key: None}, jobs=(ended,), profiles=profiles, settings=settings)
        assert len(decide(seen, NOW).builds) == starts


@pytest.mark.parametrize("source", [{"uri": "s3://models/elsewhere.onnx"}, {"secretRef": {"name": "other-keys"}}])
def test_correcting_what_the_key_leaves_out_starts_the_next_try(source: dict[str, Any]) -> None:
    wrong = model()
    spec = wrong.spec.model_dump(by_alias=True, exclude_none=True)
    corrected = wrong.model_copy(
        update={"spec": EdgeModelSpec.model_validate(spec | {"source": spec["source"] | source})}
    )
    assert key_of(corrected) == key_of(wrong)
    plan = decide(snapshot(corrected, images=MISSING, jobs=(failed_job(wrong, "SourceForbidden", ago=0),)), NOW)
    assert [start.attempt for start in plan.builds] == [attempt_of(corrected)]


def test_a_build_killed_without_a_word_is_tried_twice_more() -> None:
    def killed(tries: int) -> BuildJob:
        return job(
            model(), finished=True, finished_at=NOW, failure_message="the builder was ended: OOMKilled", tries=tries
        )

    assert [failed(killed(tries)).delay for tries in range(3)] == [5.0, 10.0, None]


def test_a_tool_that_crashes_every_time_is_no_loop() -> None:
    def crashed(tries: int) -> BuildJob:
        return failed_job(model(), "Internal", retry=True, tries=tries)

    assert [failed(crashed(tries)).delay for tries in range(6)] == [5.0, 10.0, 20.0, 40.0, 80.0, None]
    seen = snapshot(images=MISSING, jobs=(crashed(5),))
    plan = decide(seen, NOW)
    variant = plan.status.variants[0]
    assert (variant.state, variant.reason, variant.message) == (
        "BuildFailed", "BuildFailed",
        "Internal it is. The builder ended like this 6 times; edgesmith.dev/retry asks again.",
    )  # fmt: skip
    assert ("Stalled", "True") in {(one.type, one.status) for one in plan.status.conditions}
    assert at(seen, 1e6) == (0, None)


def test_a_build_that_ran_into_its_deadline_fails_and_says_so_whatever_the_builder_said() -> None:
    stopped = failed_job(model(), "Internal", retry=True, overdue=True, failure_message="its builder ran for too long")
    verdict = failed(stopped)
    assert (verdict.waiting, verdict.delay) == (False, None)
    assert verdict.message == f"Job {stopped.name} was ended by its deadline: its builder ran for too long."
    plan = decide(snapshot(images=MISSING, jobs=(stopped,)), NOW + timedelta(days=1))
    assert (plan.builds, plan.status.variants[0].state) == ((), "BuildFailed")


@pytest.mark.parametrize("tries", [0, 9])
def test_a_job_whose_builder_never_ran_is_awaited_and_made_again_however_often(tries: int) -> None:
    why = "it waited on its node without a start for longer than 60 s"
    never = job(model(), finished=True, finished_at=NOW, failure_message=why, ran=False, overdue=True, tries=tries)
    seen = snapshot(images=MISSING, jobs=(never,))
    plan = decide(seen, NOW)
    assert plan.status.variants[0].state == "Waiting"
    assert f"before its builder could start: {why}." in (plan.status.variants[0].message or "")
    assert "Stalled" not in {condition.type for condition in plan.status.conditions}
    assert plan.look_again
    assert [start.tries for start in decide(seen, NOW + timedelta(seconds=plan.look_again)).builds] == [tries + 1]


def test_a_registry_may_lag_behind_a_push_and_not_for_ever() -> None:
    done = job(model(), finished=True, succeeded=True, finished_at=NOW)
    seen = snapshot(images=MISSING, jobs=(done,))
    assert at(seen, 5) == (0, 10.0)
    plan = decide(seen, NOW + timedelta(seconds=15))
    assert [start.tries for start in plan.builds] == [1]


def test_a_pod_that_cannot_start_for_want_of_something_else_is_awaited() -> None:
    seen = snapshot(images=MISSING, jobs=(job(model(), failure_message="0/3 nodes are available."),))
    variant = decide(seen, NOW).status.variants[0]
    assert variant.state == "Waiting"
    assert "0/3 nodes are available." in variant.message


def after(of: EdgeModel, plan: Plan, **annotations: str) -> EdgeModel:
    """The EdgeModel with the status of a plan and other annotations."""
    metadata = of.metadata.model_copy(update={"annotations": annotations})
    return of.model_copy(
        update={"status": plan.status.model_dump(mode="json", by_alias=True, exclude_none=True), "metadata": metadata}
    )


def test_removing_the_retry_annotation_starts_nothing_and_a_new_value_does() -> None:
    asked = model(annotations={RETRY_ANNOTATION: "1"})
    jobs = (failed_job(asked, "ModelInvalid"),)
    plan = decide(snapshot(asked, images=MISSING, jobs=jobs), NOW)
    assert (plan.builds, plan.status.last_handled_retry) == ((), "1")
    removed = after(asked, plan)
    plan = decide(snapshot(removed, images=MISSING, jobs=jobs), NOW)
    assert (plan.builds, plan.status.last_handled_retry) == ((), "1")
    assert decide(snapshot(after(removed, plan, **{RETRY_ANNOTATION: ""}), images=MISSING, jobs=jobs), NOW).builds == ()
    again = after(removed, plan, **{RETRY_ANNOTATION: "2"})
    plan = decide(snapshot(again, images=MISSING, jobs=jobs), NOW)
    assert ([start.attempt for start in plan.builds], plan.status.last_handled_retry) == ([attempt_of(again)], "2")


def test_a_status_that_is_lost_starts_one_try_at_most() -> None:
    """Nobody remembers the retry then: what failed is tried once under the attempt of no retry, and that is all."""
    lost = model()
    first = failed_job(model(annotations={RETRY_ANNOTATION: "1"}), "ModelInvalid", started_at=NOW)
    plan = decide(snapshot(lost, images=MISSING, jobs=(first,)), NOW)
    assert len(plan.builds) == 1
    second = failed_job(lost, "ModelInvalid", started_at=NOW + timedelta(seconds=1))
    for _ in range(3):
        lost = after(lost, plan)
        plan = decide(snapshot(lost, images=MISSING, jobs=(first, second)), NOW)
        assert plan.builds == ()


@pytest.mark.parametrize("handled", [7, None, ["1"], {}])
def test_a_handled_retry_that_is_no_text_is_none(handled: object) -> None:
    assert requested(model().model_copy(update={"status": {"lastHandledRetry": handled}})) == ""


def test_a_retry_of_any_length_fits_the_status() -> None:
    assert len(requested(model(annotations={RETRY_ANNOTATION: "x" * 200_000}))) == 256
