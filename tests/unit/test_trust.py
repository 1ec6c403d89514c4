"""Which images are known to be ours, and what happens to another one under a build's tag."""

from __future__ import annotations

from datetime import timedelta

from snapshots import NOW, SETTINGS, image, job, key_of, model, node, profile, said, snapshot

from edgesmith.decide import decide
from edgesmith.decide.builds import build_for
from edgesmith.decide.snapshot import BuildJob, ForeignImage, Revision
from edgesmith.decide.trust import trusted_digests

KEY = key_of(model())
OURS, THEIRS = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
PLACE = f"{SETTINGS.repository}/plant/parts"


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
