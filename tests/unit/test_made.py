"""What is kept of images that Jobs made, and which build is given it: nothing is compiled for another base alone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from snapshots import NOW, SETTINGS, job, key_of, model, node, profile, sentence, snapshot

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import REQUEST_ANNOTATION
from edgesmith.decide import decide
from edgesmith.decide.build_jobs import attempt_of
from edgesmith.decide.builds import build_for
from edgesmith.decide.made import earlier_of
from edgesmith.decide.plan import Plan, StartBuild
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import BuildJob, Revision, StrangeImage
from edgesmith.resources.build_job import build_job
from edgesmith_builder.contract import BuildRequest, Earlier

D, E = (f"sha256:{digit * 64}" for digit in "de")
NEWER = replace(SETTINGS, runtime_images={"onnxruntime": f"registry:5000/edgesmith/runtime@sha256:{'9' * 64}"})
"""After a release of the runtime."""


def bundle(of: EdgeModel | None = None, at: DeviceProfile | None = None) -> str:
    return build_for(of or model(), at or profile(), SETTINGS).bundle_key("Edgesmith")


def ended(of: EdgeModel, digest: str = D, *, made: bool = True, **more: Any) -> BuildJob:
    return job(of, finished=True, succeeded=True, finished_at=NOW, digest=digest, made=made, **more)


def after(of: EdgeModel, plan: Plan) -> EdgeModel:
    return of.model_copy(update={"status": plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)})


def kept(plan: Plan) -> list[tuple[str, str, str]]:
    return [(one.build_key, one.bundle_key, one.digest) for one in plan.status.variants[0].made]


def made(of: EdgeModel | None = None, *jobs: BuildJob) -> EdgeModel:
    """An EdgeModel whose image a Job made, with the status of the pass that saw it."""
    of = of or model()
    return after(of, decide(snapshot(of, jobs=jobs or (ended(of),)), NOW))


def changed(of: EdgeModel, settings: Settings = NEWER, **more: Any) -> Plan:
    """The pass after the base image changed."""
    key = build_for(of, profile(), settings).key
    return decide(snapshot(of, settings=settings, images={key: None}, **more), NOW)


def test_what_a_job_made_is_kept_with_the_bundle_key_of_what_was_asked_of_it() -> None:
    of = model()
    assert kept(decide(snapshot(of, jobs=(ended(of),)), NOW)) == [(key_of(of), bundle(), D)]


@pytest.mark.parametrize(
    "one",
    [
        ended(model(), made=False),
        ended(model(), key="0" * 32),
        job(model(), digest=D, made=True),
        replace(ended(model()), digest=None),
    ],
    ids=["found in the registry", "of another build", "not ended", "nobody says which"],
)
def test_what_no_job_made_is_not_kept(one: BuildJob) -> None:
    of = model()
    assert kept(decide(snapshot(of, jobs=(one,)), NOW)) == []
    assert changed(made(of, one)).builds[0].earlier is None


def test_it_outlives_its_job_and_the_change_of_the_base_until_another_is_made() -> None:
    of = made()
    first = [(key_of(model()), bundle(), D)]
    of = after(of, decide(snapshot(of), NOW))
    plan = changed(of)
    assert kept(plan) == first
    of = after(of, plan)
    later = changed(of)
    assert (kept(later), later.builds[0].earlier) == (first, Earlier(digest=D, bundle=bundle()))
    build = build_for(of, profile(), NEWER)
    new = replace(ended(of, E), key=build.key, attempt=attempt_of(of, NEWER, build))
    assert kept(changed(of, jobs=(new,))) == [(build.key, bundle(), E)]


def test_of_two_tries_the_newer_one_counts() -> None:
    of = model()
    old, new = ended(of, D, tries=0), ended(of, E, tries=1)
    for jobs in ((old, new), (new, old)):
        assert [digest for _, _, digest in kept(decide(snapshot(of, jobs=jobs), NOW))] == [E]


def test_what_another_edge_models_job_made_of_the_same_inputs_is_kept_too() -> None:
    of = model()
    plan = decide(snapshot(of, other_jobs=(replace(ended(of), model="other"),)), NOW)
    assert kept(plan) == [(key_of(of), bundle(), D)]


def test_a_profile_that_is_refused_for_a_while_loses_nothing() -> None:
    of = made()
    wrong = profile(toolchain={"options": {"nothing": "x"}})
    held = Revision("parts-x", "x", "amd64", "r@sha256:0", NOW, {})
    nodes = (node("e1", revision="x"),)
    plan = decide(snapshot(of, profiles=(wrong,), images={}, revisions=(held,), nodes=nodes), NOW)
    assert plan.status.variants[0].reason == "ProfileInvalid"
    assert changed(after(of, plan)).builds[0].earlier == Earlier(digest=D, bundle=bundle())


def test_the_build_over_another_base_is_given_the_image_and_says_so() -> None:
    plan = changed(made())
    (start,) = plan.builds
    assert start.earlier == Earlier(digest=D, bundle=bundle())
    said = f"it is not compiled again where the registry has the image {D}."
    assert plan.status.variants[0].message.endswith(said)
    request = BuildRequest.model_validate_json(asked(start))
    assert request.earlier == start.earlier


def asked(start: StartBuild) -> str:
    """The request of a build's Job."""
    annotations = build_job(model(), start, NEWER)["spec"]["template"]["metadata"]["annotations"]
    text: str = annotations[REQUEST_ANNOTATION]
    assert json.loads(text)["build"]
    return text


@pytest.mark.parametrize(
    ("jobs", "found", "known"),
    [
        ((ended(model()),), None, (D,)),
        ((ended(model(), made=False),), None, (D,)),
        ((), None, ()),
        ((ended(model()),), StrangeImage(f"registry:5000/plant/models@{D}", "carries no report"), ()),
    ],
    ids=["made", "found", "nobody's", "there and of no use"],
)
def test_a_job_is_told_which_image_is_ours_where_the_registry_shows_none(
    jobs: tuple[BuildJob, ...], found: StrangeImage | None, known: tuple[str, ...]
) -> None:
    """It has been pushed, and the registry may show it by now."""
    seen = snapshot(images={key_of(model()): found}, jobs=jobs)
    (start,) = decide(seen, NOW + timedelta(minutes=1)).builds
    assert BuildRequest.model_validate_json(asked(start)).known == known


def test_any_other_change_is_compiled() -> None:
    of = made()
    for other in (model(missingValues="NaN"), model(source={"uri": "s3://models/b.onnx", "sha256": "b" * 64})):
        assert changed(other.model_copy(update={"status": of.status})).builds[0].earlier is None
    build = build_for(model(), profile(), NEWER)
    assert earlier_of(snapshot(of), build, "Triton") is None, "there is more in layers for Triton"
    assert earlier_of(snapshot(of), build, "Edgesmith") is not None


def test_a_build_whose_own_image_was_deleted_is_made_anew() -> None:
    of = made()
    plan = decide(snapshot(of, images={key_of(of): None}), NOW)
    assert plan.builds[0].earlier is None


def test_where_builds_are_signed_the_key_s_word_counts() -> None:
    signing = replace(NEWER, signing_secret="signing")  # noqa: S106 - a Secret's name
    assert changed(made(), signing).builds[0].earlier is None


def test_entries_that_cannot_be_read_cost_themselves_alone() -> None:
    of = made()
    (variant,) = of.status["variants"]
    for wrong in ("none", [{"digest": D}, "x", {**variant["made"][0], "digest": "latest"}], None, 7):
        status = {"variants": [variant | {"made": wrong}]}
        assert changed(of.model_copy(update={"status": status})).builds[0].earlier is None
    both = {"variants": [variant | {"made": [{"digest": D}, *variant["made"]]}]}
    assert changed(of.model_copy(update={"status": both})).builds[0].earlier is not None
    assert changed(of.model_copy(update={"status": {"variants": {"made": []}}})).builds[0].earlier is None


def test_alternatives_are_kept_apart() -> None:
    light = {"name": "light", "source": {"uri": "s3://models/l.onnx", "sha256": "f" * 64}}
    of = model(optimize={"alternatives": [light]})
    builds = [build_for(of, profile(), SETTINGS, one) for one in (None, of.spec.optimize.alternatives[0])]
    jobs = tuple(
        replace(ended(of, digest), name=digest, key=build.key, attempt=attempt_of(of, SETTINGS, build))
        for digest, build in zip((D, E), builds, strict=True)
    )
    plan = decide(snapshot(of, images=dict.fromkeys([one.key for one in builds]), jobs=jobs), NOW)
    found = plan.status.variants[0].made
    assert [(one.alternative, one.digest) for one in found] == [("source", D), ("light", E)]
    newer = [build_for(of, profile(), NEWER, one) for one in (None, of.spec.optimize.alternatives[0])]
    later = decide(snapshot(after(of, plan), settings=NEWER, images=dict.fromkeys([one.key for one in newer])), NOW)
    assert [start.earlier and start.earlier.digest for start in later.builds] == [D, E]
    gone = decide(
        snapshot(model().model_copy(update={"status": later.status.model_dump(mode="json", by_alias=True)})), NOW
    )
    assert [one.alternative for one in gone.status.variants[0].made] == ["source"]
    assert sentence(gone)
