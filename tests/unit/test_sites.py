"""A cluster at a site: it makes no builds, and waits for what the hub builds for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from snapshots import NOW, REPORT, SETTINGS, image, key_of, model, node, profile, said, sentence, snapshot

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide import decide, wanted
from edgesmith.decide.plan import Plan
from edgesmith.decide.sites import FIRST_PAUSE, JITTER, LONGEST_PAUSE
from edgesmith.decide.snapshot import (
    ForeignImage,
    Image,
    RegistryProblem,
    Revision,
    Snapshot,
    StrangeImage,
    UnsignedImage,
)

SITE = replace(
    SETTINGS,
    builds=False,
    builder_image=None,
    repository="site.example/mirror/models",
    runtime_images={"onnxruntime": f"site.example/mirror/edgesmith/runtime@sha256:{'1' * 64}"},
)
KEY = key_of(model())
LIGHTER = {"name": "gru", "source": {"uri": "s3://models/parts/gru.onnx", "sha256": "c" * 64}}
SETS: dict[str, Any] = {"evaluation": {"uri": "s3://models/e.npz", "sha256": "e" * 64}, "gates": {"minAccuracy": "90%"}}
THERE = Image(f"site.example/mirror/models/plant/models@sha256:{'a' * 64}", REPORT)


def keys_of(of: EdgeModel) -> dict[str | None, str]:
    """The build keys of the variant, by the alternative's name."""
    return {name: build.key for (_, name), build in wanted(of, (profile(),), SITE).items()}


def at_site(of: EdgeModel | None = None, answer: Any = None, **more: Any) -> Snapshot:
    """What a site knows of an EdgeModel, and of its registry's answer for the build."""
    of = of or model()
    return snapshot(of, settings=SITE, images={KEY: answer}, nodes=(node("pump-1"),), **more)


def status_of(plan: Plan) -> dict[str, Any]:
    return plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_hub_and_site_compute_one_key_of_the_same_manifests() -> None:
    of, at = model(), profile()
    hub = snapshot(of, profiles=(at,), images={KEY: None})
    (start,) = decide(hub, NOW).builds
    waiting = decide(at_site(of, profiles=(at,)), NOW)
    (variant,) = waiting.status.variants
    assert start.build.key == variant.build_key == KEY
    assert start.build.base != SITE.runtime_images["onnxruntime"], "each names its own registry"


def test_a_site_makes_no_job_and_says_which_key_it_waits_for_where_and_of_whom() -> None:
    plan = decide(at_site(), NOW)
    assert (plan.builds, plan.look, plan.moves, plan.builds_wait) == ((), None, (), False)
    assert said(plan)["BuildsReady"] == ("False", "WaitingForBuild")
    assert said(plan)["Reconciling"] == ("True", "WaitingForBuild")
    words = sentence(plan, "BuildsReady")
    assert f"site.example/mirror/models/plant/models:{KEY} is not there" in words
    assert "builder.enabled is false" in words
    assert "the one that does makes this key" in words


def test_the_build_of_the_hub_is_rolled_out_once_the_sites_registry_has_it() -> None:
    plan = decide(at_site(answer=THERE), NOW)
    (revision,) = plan.revisions
    assert revision.image == THERE.reference
    assert [move.node for move in plan.moves] == ["pump-1"]


def test_what_runs_goes_on_while_a_new_build_is_waited_for() -> None:
    first = decide(at_site(answer=THERE), NOW)
    (applied,) = first.revisions
    running = Revision(
        name="parts-1",
        revision=applied.revision,
        profile="amd64",
        image=applied.image,
        created=NOW,
        build=applied.build.model_dump(mode="json", by_alias=True, exclude_none=True),
    )
    newer = model(source={"uri": "s3://models/parts/b/model.onnx", "sha256": "b" * 64})
    newer = newer.model_copy(update={"status": status_of(first)})
    known = snapshot(
        newer,
        settings=SITE,
        images={key_of(newer): None},
        nodes=(node("pump-1", revision=applied.revision),),
        revisions=(running,),
    )
    plan = decide(known, NOW)
    assert said(plan)["BuildsReady"] == ("False", "WaitingForBuild")
    assert (plan.moves, plan.deletes, plan.revisions) == ((), (), ())


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (RegistryProblem("site.example did not answer", forbidden=False), "WaitingForRegistry", "did not answer"),
        (
            StrangeImage("site.example/m@sha256:ab", "its runtime image is not in this registry"),
            "WaitingForBuild",
            "copy the image and its runtime image again",
        ),
        (
            UnsignedImage("site.example/m@sha256:ab", "Missing"),
            "SignatureMissing",
            "installation that builds must sign",
        ),
        (ForeignImage("site.example/m@sha256:ab", ("sha256:cd",)), "ImageDigestMismatch", "it is not rolled out"),
    ],
)
def test_what_keeps_a_site_from_a_build_is_said(answer: Any, reason: str, words: str) -> None:
    plan = decide(at_site(answer=answer), NOW)
    assert said(plan)["BuildsReady"] == ("False", reason)
    assert words in sentence(plan, "BuildsReady")
    assert plan.builds == ()


def test_a_secret_to_sign_with_starts_no_job_at_a_site() -> None:
    signing = replace(
        SITE,
        signing_secret="signing",  # noqa: S106 - the name of a Secret
        signing_public_key="key",
        signatures_required=True,
    )
    unsigned = UnsignedImage("site.example/m@sha256:ab", "Missing")
    plan = decide(replace(at_site(answer=unsigned), settings=signing), NOW)
    assert said(plan)["BuildsReady"] == ("False", "SignatureMissing")
    assert plan.builds == ()


def waited(seconds: float, uid: str = "u") -> float:
    """When a site that has waited so long for a build asks again."""
    of = model()
    of = of.model_copy(update={"metadata": of.metadata.model_copy(update={"uid": uid})})
    first = decide(at_site(of), NOW)
    of = of.model_copy(update={"status": status_of(first)})
    later = decide(at_site(of), NOW + timedelta(seconds=seconds))
    assert later.look_again is not None
    return later.look_again


def test_the_registry_is_asked_less_and_less_often_and_never_given_up() -> None:
    pauses = [waited(seconds) for seconds in (0, 60, 600, 86400)]
    assert pauses == sorted(pauses)
    assert FIRST_PAUSE * (1 - JITTER) <= pauses[0] <= FIRST_PAUSE * (1 + JITTER)
    assert pauses[0] < pauses[1] < pauses[2]
    assert LONGEST_PAUSE * (1 - JITTER) <= pauses[3] <= LONGEST_PAUSE * (1 + JITTER)


def test_a_hundred_sites_do_not_ask_at_the_same_second() -> None:
    pauses = {round(waited(86400, f"site-{number}")) for number in range(100)}
    assert len(pauses) > 50


BEFORE = [
    {"reason": "WaitingForRegistry"},
    {"reason": "GatesFailed"},
    {"reason": "WaitingForBuild"},  # of another source: what is asked for now was changed a moment ago
    {"reason": "WaitingForBuild", "lastTransitionTime": "no time"},
]


@pytest.mark.parametrize("alternatives", [(), (LIGHTER,)])
@pytest.mark.parametrize("before", BEFORE)
def test_a_wait_begins_when_the_build_is_missed_whatever_was_wrong_before(
    before: dict[str, str], alternatives: tuple[dict[str, Any], ...]
) -> None:
    long_ago = (NOW - timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    stood = {"type": "BuildsReady", "status": "False", "lastTransitionTime": long_ago, **before}
    of = model(**(SETS | {"optimize": {"alternatives": list(alternatives)}} if alternatives else {}))
    of = of.model_copy(update={"status": {"conditions": [stood]}})
    keys = keys_of(of)
    images = dict.fromkeys(keys.values()) | ({keys["source"]: THERE} if alternatives else {})
    for seconds in (0, 10, 20):
        plan = decide(replace(at_site(), model=of, images=images), NOW + timedelta(seconds=seconds))
        of = of.model_copy(update={"status": status_of(plan)})
        assert plan.look_again is not None
        assert plan.look_again <= FIRST_PAUSE * (1 + JITTER)
        assert (said(plan)["BuildsReady"], plan.revisions) == (("False", "WaitingForBuild"), ())


def test_a_changed_source_is_waited_for_from_its_beginning() -> None:
    of, pauses = model(), []
    for digit, seconds in (("a", 0), ("a", 86400), ("b", 86401), ("b", 86411)):
        of = of.model_copy(update={"spec": model(source={"uri": "s3://models/m.onnx", "sha256": digit * 64}).spec})
        known = snapshot(of, settings=SITE, images={key_of(of): None})
        plan = decide(known, NOW + timedelta(seconds=seconds))
        of = of.model_copy(update={"status": status_of(plan)})
        assert plan.look_again is not None
        pauses.append(plan.look_again)
    assert pauses[1] > 100
    assert max(pauses[0], *pauses[2:]) <= FIRST_PAUSE * (1 + JITTER)


def test_a_registry_that_is_away_now_and_then_gives_nobody_up_and_lets_nobody_wait_for_ever() -> None:
    of = model(**SETS, optimize={"alternatives": [LIGHTER]})
    keys = keys_of(of)
    away = RegistryProblem("site.example did not answer", forbidden=False)
    steps: list[tuple[int, Any]] = [(0, None), (10, away), (35, away), (36, None)]
    made = []
    for minutes, answer in steps:
        images = {keys["source"]: THERE, keys["gru"]: answer}
        plan = decide(replace(at_site(), model=of, images=images), NOW + timedelta(minutes=minutes))
        of = of.model_copy(update={"status": status_of(plan)})
        made.append(bool(plan.revisions))
    assert made == [False, False, False, True]
    plan = decide(replace(at_site(), model=of, images=dict.fromkeys(keys.values(), THERE)), NOW + timedelta(minutes=37))
    assert "waitingSince" not in str(status_of(plan)), "nothing is waited for any more"


@pytest.mark.parametrize(("since", "kept"), [(-60, True), (1, False), (4 * 365 * 86400, False)])
def test_nobody_waits_since_a_time_that_is_still_to_come(since: float, *, kept: bool) -> None:
    at = (NOW + timedelta(seconds=since)).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = {"type": "BuildsReady", "status": "False", "reason": "WaitingForBuild", "lastTransitionTime": at}
    variant = {"profile": "amd64", "buildKey": KEY, "state": "Waiting", "waitingSince": at}
    of = model().model_copy(update={"status": {"conditions": [before], "variants": [variant]}})
    status = decide(at_site(of), NOW).status
    (found,) = (one for one in status.conditions if one.type == "BuildsReady")
    assert (found.status, found.reason) == ("False", "WaitingForBuild")
    expected = at if kept else NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (found.last_transition_time, status.variants[0].waiting_since) == (expected, expected)


def test_a_file_without_a_digest_stalls_a_site_with_one_sentence() -> None:
    loose = model(source={"uri": "s3://models/parts/model.onnx"})
    plan = decide(replace(at_site(), model=loose), NOW)
    assert plan.look is None
    assert said(plan)["SourceResolved"] == said(plan)["Ready"] == ("False", "DigestNotGiven")
    assert sentence(plan, "SourceResolved") == (
        "The digest of spec.source is not known, and no Job looks at files here (builder.enabled is false): "
        "give sha256 in the spec."
    )


def test_a_digest_that_stands_in_the_status_is_used_at_a_site() -> None:
    uri = "s3://models/parts/model.onnx"
    entry = {"field": "source", "uri": uri, "sha256": "a" * 64, "validator": "v", "resolvedAt": "2020-01-01T00:00:00Z"}
    loose = model(source={"uri": uri})
    known = loose.model_copy(update={"status": {"sources": [entry]}})
    plan = decide(replace(at_site(answer=image(model())), model=known), NOW)
    assert plan.look is None
    assert said(plan)["SourceResolved"] == ("True", "Succeeded")
    assert "no other is made" in sentence(plan, "SourceResolved")


def test_a_site_needs_no_builder_with_a_vendors_packages() -> None:
    qnn = profile(toolchain={"name": "QNN"})
    runtime = {**SITE.runtime_images, "qnn": f"site.example/mirror/edgesmith/runtime-qnn@sha256:{'3' * 64}"}
    site = replace(SITE, runtime_images=runtime)
    plan = decide(snapshot(settings=site, profiles=(qnn,), images={}), NOW)
    assert said(plan)["ProfilesResolved"] == ("True", "Succeeded"), sentence(plan, "ProfilesResolved")


def test_an_alternative_that_never_comes_holds_a_first_rollout_back_for_half_an_hour_and_no_longer() -> None:
    of = model(**SETS, optimize={"alternatives": [LIGHTER]})
    keys = keys_of(of)
    images = {keys["source"]: THERE, keys["gru"]: None}
    moved = []
    for minutes in (0, 29, 31, 32, 90):
        plan = decide(replace(at_site(), model=of, images=images), NOW + timedelta(minutes=minutes))
        of = of.model_copy(update={"status": status_of(plan)})
        moved.append((minutes, bool(plan.revisions), said(plan)["BuildsReady"]))
    waiting, going = ("False", "WaitingForBuild"), ("True", "Succeeded")
    assert moved == [(0, False, waiting), (29, False, waiting), *((one, True, going) for one in (31, 32, 90))]
    assert "gru for amd64 is out" in sentence(plan, "BuildsReady")
    images[keys["gru"]] = THERE
    plan = decide(replace(at_site(), model=of, images=images), NOW + timedelta(minutes=95))
    assert "is out" not in sentence(plan, "BuildsReady"), "it joins the others when it comes"
