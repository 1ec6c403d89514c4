"""When files without a digest are looked at, and what is made of what was found."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from clusters import Cluster
from looks import HOUR, URI, A, B, after, entry, finding, found, known, look, loose, seen
from snapshots import NOW, SETTINGS, image, model, node, profile, said, sentence, snapshot

from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.decide import decide
from edgesmith.decide.builds import build_for
from edgesmith.decide.digests import recorded, undigested
from edgesmith.decide.plan import Change
from edgesmith.decide.sources import next_look

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


@pytest.mark.parametrize("ahead", [60, 3600, 4 * 365 * 86400])
def test_a_look_whose_time_is_still_to_come_is_made_again_after_an_interval_at_most(ahead: float) -> None:
    of = known(entry(ago=-ahead))
    plan = decide(seen(of), NOW)
    (one,) = plan.status.sources or ()
    assert one.resolved_at == NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert plan.look is None
    assert plan.look_again is not None
    assert plan.look_again <= HOUR.total_seconds()
    again = decide(seen(after(of, plan)), NOW + timedelta(seconds=plan.look_again))
    assert again.look is not None
    assert again.look.number == 1


def test_what_a_job_found_is_known_by_its_number_and_not_by_its_time() -> None:
    of = known(entry(A, ago=-3600, look=4))
    late = found(of, B, ago=7200, number=5)
    plan = decide(seen(of, late), NOW)
    (one,) = plan.status.sources or ()
    assert (one.sha256, one.look) == (B, 5)
    assert not plan.deletes
    cleared = decide(seen(after(of, plan), late), NOW)
    assert [delete.name for delete in cleared.deletes] == [late.name]
