"""`spec.builds.profiles`: the hub builds for devices of which it has none, and sites find what it built."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from snapshots import NOW, REPORT, SETTINGS, failed_job, job, model, node, profile, said, sentence, snapshot

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.status import VariantStatus
from edgesmith.decide import decide, wanted
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import Image, Snapshot
from edgesmith_builder.contract import Candidate, Finalist

PI, HUB = profile("pi-5", platform={"architecture": "arm64"}), profile()
SITE = replace(
    SETTINGS,
    builds=False,
    builder_image=None,
    repository="site.example/models",
    runtime_images={"onnxruntime": f"site.example/edgesmith/runtime@sha256:{'1' * 64}"},
)
SHARED = model(deviceProfiles={"names": ["pi-5"]}, builds={"profiles": ["pi-5"]})
"""One manifest for the hub, which has no such node, and for the sites, which have."""
EXTRA = model(builds={"profiles": ["pi-5"]})
"""One for the hub's own nodes, and for devices at sites."""
FINALISTS = tuple(Finalist(precision=one, size=3, digest=f"sha256:{one[-1] * 64}") for one in ("int8", "fp32"))
TWO = REPORT.model_copy(
    update={"finalists": FINALISTS, "candidates": tuple(Candidate(precision=one.precision) for one in FINALISTS)}
)


def built(of: EdgeModel, *at: Any, report: Any = REPORT) -> dict[str, Image | None]:
    """The registry with the builds for some profiles, and none for the others."""
    keys = dict.fromkeys(build_for(of, one, SETTINGS).key for one in (HUB, PI))
    found = {build_for(of, one, SETTINGS).key for one in at}
    place = "registry:5000/models/plant/models@sha256:"
    return {key: Image(place + key * 2, report) if key in found else None for key in keys}


def at_hub(of: EdgeModel, images: dict[str, Image | None], **more: Any) -> Snapshot:
    return replace(snapshot(of), **{"profiles": (HUB, PI), "images": images, **more})


def variant(plan: Plan, name: str = "pi-5") -> VariantStatus:
    return next(one for one in plan.status.variants if one.profile == name)


def test_the_hub_builds_and_the_site_serves_by_one_manifest_and_one_key() -> None:
    hub = decide(at_hub(SHARED, built(SHARED)), NOW)
    (start,) = hub.builds
    assert start.profile.metadata.name == "pi-5"
    there = {start.build.key: Image(f"site.example/models/plant/models@sha256:{'a' * 64}", REPORT)}
    site = replace(snapshot(SHARED), settings=SITE, profiles=(HUB, PI), images=there, nodes=(node("pump-1", "pi-5"),))
    plan = decide(site, NOW)
    assert [move.node for move in plan.moves] == ["pump-1"]
    assert variant(plan).build_key == start.build.key


@pytest.mark.parametrize("of", [SHARED, EXTRA], ids=["rolled out at the site", "built only"])
@pytest.mark.parametrize("report", [REPORT, TWO], ids=["one candidate", "two, which only a device can try"])
def test_what_is_built_for_sites_is_done_without_a_node(of: EdgeModel, report: Any) -> None:
    plan = decide(at_hub(of, built(of, HUB, PI, report=report)), NOW)
    assert variant(plan).state == "Built"
    assert variant(plan).message == (
        "The build for pi-5 is in the registry for clusters at sites; no node here is to run it."
    )
    assert said(plan)["BuildsReady"][0] == "True"
    assert plan.trials == ()


def test_an_edge_model_for_sites_alone_is_ready_once_it_is_built() -> None:
    plan = decide(at_hub(SHARED, built(SHARED, PI)), NOW)
    assert said(plan)["Ready"] == said(plan)["RolloutComplete"] == ("True", "BuiltForSites")
    assert "Reconciling" not in said(plan)
    before = decide(at_hub(SHARED, built(SHARED)), NOW)
    assert said(before)["Ready"] == ("False", "Building")
    assert said(before)["RolloutComplete"] == ("False", "Building")


def test_without_the_list_a_profile_without_nodes_is_still_waited_for() -> None:
    of = model(deviceProfiles={"names": ["pi-5"]})
    assert said(decide(at_hub(of, built(of, PI)), NOW))["Ready"] == ("False", "NoNodes")


def test_no_node_gets_what_is_only_built() -> None:
    ours = (node("hub-1"), node("test-pi", "pi-5"))
    plan = decide(at_hub(EXTRA, built(EXTRA, HUB, PI), nodes=ours), NOW)
    assert [(move.node, move.revision is not None) for move in plan.moves] == [("hub-1", True)]
    assert [one.profile.metadata.name for one in plan.revisions] == ["amd64"]
    assert variant(plan).nodes.desired == 0
    assert "test-pi" not in {one.name for one in plan.status.pending}


def test_nodes_here_get_it_where_both_lists_name_the_profile() -> None:
    plan = decide(at_hub(SHARED, built(SHARED, PI), nodes=(node("test-pi", "pi-5"),)), NOW)
    assert [move.node for move in plan.moves] == ["test-pi"]


def test_a_build_for_sites_that_fails_stalls_and_one_that_runs_is_waited_for() -> None:
    key = build_for(EXTRA, PI, SETTINGS).key
    images = built(EXTRA, HUB)
    failed = replace(failed_job(EXTRA, "ModelInvalid"), key=key)
    plan = decide(at_hub(EXTRA, images, jobs=(failed,)), NOW)
    assert said(plan)["Stalled"] == ("True", "ModelInvalid")
    assert variant(plan).state == "BuildFailed"
    running = replace(job(EXTRA), key=key)
    plan = decide(at_hub(EXTRA, images, jobs=(running,)), NOW)
    assert (variant(plan).state, said(plan)["Ready"]) == ("Building", ("False", "Building"))
    assert plan.builds == ()


def test_every_alternative_is_built_though_the_hub_tries_none() -> None:
    lighter = {"name": "gru", "source": {"uri": "s3://models/parts/gru.onnx", "sha256": "c" * 64}}
    of = model(
        builds={"profiles": ["pi-5"]},
        evaluation={"uri": "s3://models/e.npz", "sha256": "e" * 64},
        gates={"minAccuracy": "90%"},
        optimize={"alternatives": [lighter]},
    )
    keys = {names: build.key for names, build in wanted(of, (HUB, PI), SETTINGS).items()}
    assert set(keys) == {(at, name) for at in ("amd64", "pi-5") for name in ("source", "gru")}
    plan = decide(at_hub(of, dict.fromkeys(keys.values())), NOW)
    assert {start.build.key for start in plan.builds} == set(keys.values())
    there = {key: Image(f"registry:5000/models/plant/models@sha256:{key * 2}", REPORT) for key in keys.values()}
    missing = there | {keys["pi-5", "gru"]: None}
    assert variant(decide(at_hub(of, missing), NOW)).state == "Building"
    assert variant(decide(at_hub(of, there), NOW)).state == "Built"


def test_a_name_that_no_profile_has_is_said_with_its_field() -> None:
    of = model(builds={"profiles": ["no-such"]})
    plan = decide(at_hub(of, built(of, HUB)), NOW)
    assert said(plan)["ProfilesResolved"] == ("False", "ProfileNotFound")
    assert sentence(plan, "ProfilesResolved").startswith("spec.builds.profiles has 'no-such', but there is no")


def test_a_profile_of_other_namespaces_is_refused_with_its_field() -> None:
    private = profile("pi-5", platform={"architecture": "arm64"}, allowedNamespaces=["elsewhere"])
    plan = decide(at_hub(EXTRA, built(EXTRA, HUB), profiles=(HUB, private)), NOW)
    assert said(plan)["ProfilesResolved"] == ("False", "ProfileNotAllowed")
    assert sentence(plan, "ProfilesResolved").startswith("spec.builds.profiles has 'pi-5'")


def test_a_site_builds_nothing_and_waits_for_nothing_that_none_of_its_nodes_runs() -> None:
    own = wanted(EXTRA, (HUB, PI), SITE)
    assert set(own) == {("amd64", None)}
    site = replace(
        snapshot(EXTRA), settings=SITE, profiles=(HUB, PI), images=dict.fromkeys(b.key for b in own.values())
    )
    plan = decide(site, NOW)
    assert [one.profile for one in plan.status.variants] == ["amd64"]
    assert said(plan)["Ready"] == ("False", "WaitingForBuild")


def test_a_digest_that_is_not_known_is_waited_for() -> None:
    loose = model(source={"uri": "s3://models/parts/model.onnx"}, builds={"profiles": ["pi-5"]})
    plan = decide(replace(at_hub(EXTRA, {}), model=loose), NOW)
    assert variant(plan).state == "Waiting"
    assert plan.look is not None
