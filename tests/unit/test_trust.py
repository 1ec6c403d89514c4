"""Which images are known to be ours, and what happens to another one under a build's tag."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest
from snapshots import NOW, SETTINGS, image, job, key_of, model, node, profile, said, snapshot

from edgesmith.decide import decide
from edgesmith.decide.attempts import attempt_of
from edgesmith.decide.builds import build_for
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import BuildJob, ForeignImage, Revision, UnsignedImage
from edgesmith.decide.trust import trusted_digests

KEY = key_of(model())
OURS, THEIRS = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
PLACE = f"{SETTINGS.repository}/plant/models"


def done(digest: str | None, *, succeeded: bool = True) -> BuildJob:
    return job(model(), finished=True, succeeded=succeeded, finished_at=NOW, digest=digest)


def revision(reference: str) -> Revision:
    build = build_for(model(), profile(), SETTINGS).model_dump(mode="json", by_alias=True, exclude_none=True)
    return Revision("parts-x", "x", "amd64", reference, NOW, build)


def test_jobs_daemon_sets_and_the_status_each_vouch_for_their_image() -> None:
    status = {"variants": [{"buildKey": KEY, "image": f"{PLACE}@sha256:c"}]}
    found = trusted_digests(
        model().model_copy(update={"status": status}), [done(OURS)], [revision(f"{PLACE}@sha256:b")]
    )
    assert found == {KEY: frozenset({OURS, "sha256:b", "sha256:c"})}


def test_what_gates_or_a_trial_chose_says_nothing_of_the_tag() -> None:
    first, other = f"{PLACE}@sha256:{'a' * 64}", f"{PLACE}@sha256:{'b' * 64}"
    for rolled_out in ({"image": other}, {}):
        status = {"variants": [{"profile": "amd64", "buildKey": KEY, "builtImage": first, **rolled_out}]}
        of = model().model_copy(update={"status": status})
        assert trusted_digests(of, [], []) == {KEY: frozenset({f"sha256:{'a' * 64}"})}
    chosen = replace(revision(other), built=first)
    assert trusted_digests(model(), [], [chosen]) == {KEY: frozenset({f"sha256:{'a' * 64}"})}


def test_what_says_nothing_vouches_for_nothing() -> None:
    of = model().model_copy(update={"status": {"variants": [7, {"buildKey": KEY}, {"image": "r@sha256:a"}, {}]}})
    jobs = [done(None), done(OURS, succeeded=False)]
    other_version = Revision("parts-y", "y", "amd64", f"{PLACE}@{OURS}", NOW, {"made": "by another"})
    assert trusted_digests(of, jobs, [other_version]) == {}
    assert trusted_digests(model().model_copy(update={"status": {"variants": "none"}}), [], []) == {}


def test_another_image_under_the_tag_is_not_rolled_out_and_the_user_is_told() -> None:
    foreign = {KEY: ForeignImage(f"{PLACE}@{THEIRS}", (OURS,))}
    plan = decide(snapshot(images=foreign, jobs=(done(OURS),), nodes=(node("e1"),)), NOW)
    assert (plan.builds, plan.revisions, plan.moves) == ((), (), ())
    assert said(plan)["Stalled"] == ("True", "ImageDigestMismatch")
    message = plan.status.variants[0].message or ""
    assert THEIRS in message
    assert OURS in message
    assert plan.look_again


def test_nodes_keep_the_image_that_is_ours_while_another_has_its_tag() -> None:
    known = image(model()).reference
    foreign = {KEY: ForeignImage(f"{PLACE}@{THEIRS}", (known.partition("@")[2],))}
    held = revision(known)
    plan = decide(snapshot(images=foreign, revisions=(held,), nodes=(node("e1"),)), NOW + timedelta(minutes=1))
    assert {applied.image for applied in plan.revisions} == {known}
    assert said(plan)["Stalled"] == ("True", "ImageDigestMismatch")
    assert plan.builds == ()


ASKED = replace(SETTINGS, signing_public_key="-----BEGIN PUBLIC KEY-----", signatures_required=True)
SIGNING = replace(ASKED, signing_secret="signing")  # noqa: S106 - the name of a Secret
UNSIGNED = {KEY: UnsignedImage(f"{PLACE}@{OURS}", "Missing")}


@pytest.mark.parametrize(("finding", "reason"), [("Missing", "SignatureMissing"), ("Invalid", "SignatureInvalid")])
def test_an_image_without_the_signature_that_is_asked_for_is_not_rolled_out(
    finding: Literal["Missing", "Invalid"], reason: str
) -> None:
    images = {KEY: UnsignedImage(f"{PLACE}@{OURS}", finding)}
    plan = decide(snapshot(images=images, settings=ASKED, nodes=(node("e1"),)), NOW)
    assert (plan.builds, plan.revisions, plan.moves) == ((), (), ())
    assert said(plan)["Stalled"] == ("True", reason)
    message = plan.status.variants[0].message or ""
    assert OURS in message
    assert "signing.keySecret" in message
    assert plan.look_again == 60.0


@pytest.mark.parametrize(("settings", "builds"), [(ASKED, 0), (SIGNING, 1)])
def test_nodes_keep_an_image_that_was_rolled_out_before_and_no_other_node_gets_it(
    settings: Settings, builds: int
) -> None:
    held = replace(revision(f"{PLACE}@{OURS}"), created=NOW - timedelta(hours=1))
    on = (node("e1", revision=held.revision), node("e2"))
    plan = decide(snapshot(images=UNSIGNED, settings=settings, revisions=(held,), nodes=on), NOW)
    assert (len(plan.builds), plan.revisions, plan.moves) == (builds, (), ())
    assert [delete for delete in plan.deletes if delete.kind == "DaemonSet"] == []


def test_another_variant_goes_on_beside_one_without_a_signature() -> None:
    two = model(deviceProfiles={"names": ["amd64", "arm64"]})
    other = profile("arm64", platform={"architecture": "arm64"})
    images = {key_of(two): UNSIGNED[KEY], key_of(two, other): image(two, other)}
    plan = decide(
        snapshot(
            two, images=images, settings=ASKED, profiles=(profile(), other), nodes=(node("e1"), node("e2", "arm64"))
        ),
        NOW,
    )
    assert {applied.profile.metadata.name for applied in plan.revisions} == {"arm64"}


def test_a_job_that_can_sign_makes_the_image_again_and_does_so_once() -> None:
    asked = snapshot(images=UNSIGNED, settings=SIGNING, jobs=(done(OURS),))
    (start,) = decide(asked, NOW).builds
    assert start.attempt == attempt_of(model(), SIGNING) != attempt_of(model())
    running = job(model(), attempt=start.attempt, started_at=NOW)
    waiting = decide(replace(asked, jobs=(done(OURS), running)), NOW)
    assert (waiting.builds, said(waiting)["BuildsReady"]) == ((), ("False", "Building"))
    in_vain = replace(running, finished=True, succeeded=True, finished_at=NOW, digest=OURS)
    ended = decide(replace(asked, jobs=(done(OURS), in_vain)), NOW + timedelta(hours=1))
    assert (ended.builds, said(ended)["Stalled"]) == ((), ("True", "SignatureMissing"))
    assert "'signing'" in (ended.status.variants[0].message or "")


def test_a_secret_that_is_named_later_starts_the_next_try() -> None:
    assert len({attempt_of(model(), settings) for settings in (SETTINGS, ASKED, SIGNING)}) == 3
    assert attempt_of(model(), SETTINGS) == attempt_of(model())


def test_a_signature_that_is_not_asked_for_changes_nothing() -> None:
    plain = replace(ASKED, signatures_required=False, signing_secret="signing")  # noqa: S106 - the name of a Secret
    assert decide(snapshot(settings=plain), NOW).builds == ()
    assert attempt_of(model(), plain) == attempt_of(model())
