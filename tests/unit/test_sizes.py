"""How large models are whose digest the spec gives: asked once, and no build waits long for it or is lost by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from clusters import Cluster, labels
from new_jobs import new_look
from snapshots import NOW, SETTINGS, image, key_of, model, node, profile, said, sentence, snapshot

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.cli import plan as planning
from edgesmith.cli.archive.manifests import with_digests
from edgesmith.decide import decide, sizes
from edgesmith.decide.builds import build_for
from edgesmith.decide.digests import attempt_of, sizeless
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import ResolveJob
from edgesmith.resources import resolve_job
from edgesmith_builder.contract import Earlier, FileToResolve, ResolvedFile, ResolveResult

GIB = 2**30
URI = "s3://models/parts/model.onnx"
GIVEN: dict[str, Any] = {"uri": URI, "sha256": "a" * 64}
TINY: dict[str, Any] = {"hardware": {"memory": "1Gi"}}


class World(Cluster):
    """A cluster whose resolve Jobs end at the next tick with what the store says; None: it is down, and they hang."""

    store: dict[str, int | None] | None
    failing = False
    asked: list[tuple[str, ...]]

    def _look(self, start: Any) -> None:
        super()._look(start)
        self.asked.append(tuple(file.field for file in start.files))
        self.files = start.files

    def tick(self, seconds: float) -> None:
        super().tick(seconds)
        for name, job in self.resolve_jobs.items():
            if self.store is None or job.finished:
                continue
            found = tuple(
                ResolvedFile(field=one.field, sha256=one.sha256, bytes=self.store.get(one.field)) for one in self.files
            )
            self.resolve_jobs[name] = replace(
                job,
                finished=True,
                succeeded=not self.failing,
                finished_at=self.now,
                found=None if self.failing else ResolveResult(files=found),
            )


def world(of: EdgeModel | None = None, **store: int | None) -> World:
    found = World(
        edge_model=of or pinned(),
        profiles=(profile(), profile("pi", **TINY)),
        nodes={"e1": node("e1"), "p1": node("p1", "pi")},
    )
    found.store, found.asked = store, []
    return found


def pinned(**spec: Any) -> EdgeModel:
    return model(**{"source": GIVEN, "deviceProfiles": {"names": ["amd64", "pi"]}, **spec})


def built_for(cluster: Cluster) -> set[str]:
    return {job.profile for job in cluster.jobs.values()}


def only_pi(of: EdgeModel, *jobs: ResolveJob, **more: Any) -> Plan:
    """One pass over an EdgeModel for one small device whose build is to be made."""
    pi = profile("pi", **TINY)
    seen = snapshot(of, profiles=(pi,), images={build_for(of, pi, SETTINGS).key: None}, resolve_jobs=jobs)
    return decide(replace(seen, **more), NOW)


def job_of(of: EdgeModel, *, seconds: float = 5, **more: Any) -> ResolveJob:
    """The Job that asks for what an EdgeModel's spec does not say, as it is after some seconds."""
    made = new_look("asks", sizes.key_of(sizeless(of)), attempt_of(of), NOW - timedelta(seconds=seconds))
    return replace(made, **more)


PI = pinned(deviceProfiles={"names": ["pi"]})


def test_a_model_that_cannot_fit_is_refused_without_a_build_job_though_its_digest_is_given() -> None:
    cluster = world(source=2 * GIB)
    plan = cluster.run(25)
    assert built_for(cluster) == {"amd64"}
    assert said(plan)["BuildsReady"] == ("False", "ModelTooLarge")
    assert f"the file of spec.source has {2 * GIB} bytes (status.sources)" in sentence(plan, "BuildsReady")
    assert said(plan)["SourceResolved"] == ("True", "Succeeded")
    assert (labels(cluster)["p1"], bool(labels(cluster)["e1"])) == (None, True)
    assert cluster.asked == [("source",)], "once"
    assert (cluster.resolve_jobs, plan.deletes) == ({}, ())
    (entry,) = plan.status.sources
    assert (entry.field, entry.uri, entry.sha256, entry.bytes) == ("source", URI, "a" * 64, 2 * GIB)


def test_one_that_fits_is_built_for_once_that_is_known() -> None:
    cluster = world(source=5)
    plan = cluster.run(25)
    assert built_for(cluster) == {"amd64", "pi"}
    assert all(labels(cluster).values())
    assert cluster.asked == [("source",)]
    assert plan.status.sources[0].bytes == 5
    assert said(plan)["Ready"] == ("True", "Succeeded")


@pytest.mark.parametrize("how", ["says no size", "fails", "hangs"])
def test_a_store_that_gives_no_answer_stops_nothing_and_is_not_asked_again(how: str) -> None:
    cluster = world()
    cluster.failing = how == "fails"
    if how == "hangs":
        cluster.store = None
    plan = cluster.run(30)
    assert built_for(cluster) == {"amd64", "pi"}
    assert said(plan)["Ready"] == ("True", "Succeeded")
    assert cluster.asked == [("source",)]
    assert cluster.resolve_jobs == {}, "one that hangs gives its slot back"
    assert [one.bytes for one in plan.status.sources] == [None]


def test_builds_wait_no_longer_than_a_minute_and_are_told_of_the_moment() -> None:
    early = only_pi(PI, job_of(PI, seconds=20))
    assert (early.builds, early.look, early.deletes, early.look_again) == ((), None, (), 40.0)
    assert said(early)["BuildsReady"] == ("False", "Resolving")
    assert "waits until a Job has asked how large its model is" in sentence(early, "BuildsReady")
    late = only_pi(PI, job_of(PI, seconds=60))
    assert [one.name for one in late.deletes] == ["asks"]
    assert [one.bytes for one in late.status.sources] == [None]
    kept = {"sources": [one.model_dump(by_alias=True, exclude_none=True) for one in late.status.sources]}
    after = only_pi(PI.model_copy(update={"status": kept}))
    assert [one.profile.metadata.name for one in after.builds] == ["pi"]
    assert after.look is None


def test_builds_do_not_wait_until_a_clock_that_was_set_back_is_there_again() -> None:
    plan = only_pi(PI, job_of(PI, seconds=-4 * 365 * 86400))
    assert [one.name for one in plan.deletes] == ["asks"]
    assert [one.bytes for one in plan.status.sources] == [None]


def test_a_build_that_needs_no_answer_waits_for_none() -> None:
    large = snapshot(pinned(), profiles=(profile(), profile("pi", **TINY)), images={})
    keys = {name: build_for(pinned(), one, SETTINGS).key for name, one in {"amd64": large.profiles[0]}.items()}
    plan = decide(replace(large, images=dict.fromkeys(keys.values())), NOW)
    assert [one.profile.metadata.name for one in plan.builds] == ["amd64"], "its memory is not given"
    assert plan.look is None
    there = only_pi(PI, images={build_for(PI, profile("pi", **TINY), SETTINGS).key: image(PI)})
    assert (there.look, there.builds) == (None, ()), "it is built"
    said_so = pinned(source=GIVEN | {"bytes": 5}, deviceProfiles={"names": ["pi"]})
    assert (only_pi(said_so).look, len(only_pi(said_so).builds)) == (None, 1), "the spec says it"
    paused = pinned(deviceProfiles={"names": ["pi"]}, rollout={"paused": True})
    assert (only_pi(paused).look, len(only_pi(paused).builds)) == (None, 1), "nothing is looked at"


def test_what_is_made_of_layers_that_were_on_the_device_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = Earlier(digest=f"sha256:{'e' * 64}", bundle="b" * 32)
    monkeypatch.setattr("edgesmith.decide.build_start.earlier_of", lambda *_: earlier)
    plan = only_pi(PI)
    assert (plan.look, [one.earlier for one in plan.builds]) == (None, [earlier])


def test_the_look_takes_the_slot_of_the_build_that_waits_for_it() -> None:
    full = only_pi(PI, builds_running=SETTINGS.max_concurrent_builds)
    assert (full.look, full.builds, full.builds_wait) == (None, (), True)
    one_left = only_pi(PI, builds_running=SETTINGS.max_concurrent_builds - 1)
    assert (one_left.look is not None, one_left.builds) == (True, ())


@pytest.mark.parametrize(
    "entry",
    [{"uri": "s3://models/parts/b.onnx"}, {"sha256": "b" * 64}, {"attempt": "another"}],
    ids=["place", "digest", "try"],
)
def test_what_was_said_of_another_file_says_nothing(entry: dict[str, Any]) -> None:
    known = {"field": "source", **GIVEN, "bytes": 2 * GIB, "attempt": attempt_of(PI)}
    known |= {"resolvedAt": "2030-01-01T00:00:00Z"}
    same = only_pi(PI.model_copy(update={"status": {"sources": [known]}}))
    assert (same.look, said(same)["BuildsReady"]) == (None, ("False", "ModelTooLarge"))
    other = only_pi(PI.model_copy(update={"status": {"sources": [known | entry]}}))
    assert other.look is not None
    assert said(other)["BuildsReady"] == ("False", "Resolving")


def test_another_try_that_is_asked_for_asks_anew_and_a_model_that_is_smaller_now_is_built() -> None:
    cluster = world(source=2 * GIB)
    cluster.run(10)
    annotations = {RETRY_ANNOTATION: "again"}
    again = model(annotations=annotations, source=GIVEN, deviceProfiles={"names": ["amd64", "pi"]})
    cluster.edge_model = again.model_copy(update={"status": cluster.edge_model.status})
    cluster.store = {"source": 5}
    plan = cluster.run(25)
    assert cluster.asked == [("source",), ("source",)]
    assert built_for(cluster) == {"amd64", "pi"}
    assert plan.status.sources[0].bytes == 5


def test_what_the_place_says_of_another_digest_counts_for_nothing() -> None:
    found = ResolveResult(files=(ResolvedFile(field="source", sha256="b" * 64, bytes=2 * GIB),))
    plan = only_pi(PI, job_of(PI, finished=True, succeeded=True, finished_at=NOW, found=found))
    assert [(one.sha256, one.bytes) for one in plan.status.sources] == [("a" * 64, None)]


def test_a_job_that_was_asked_about_another_digest_at_the_same_place_answers_nothing() -> None:
    before = pinned(source=GIVEN | {"sha256": "b" * 64}, deviceProfiles={"names": ["pi"]})
    found = ResolveResult(files=(ResolvedFile(field="source", sha256="b" * 64, bytes=5),))
    plan = only_pi(PI, job_of(before, finished=True, succeeded=True, finished_at=NOW, found=found))
    assert plan.look is not None
    assert (plan.status.sources, [one.name for one in plan.deletes]) == ((), ["asks"])


def test_every_model_is_asked_about_at_once_and_data_sets_never() -> None:
    light = {"name": "light", "source": {"uri": "s3://models/l.onnx", "sha256": "f" * 64}}
    compiled = [{"toolchain": "EdgeTPU", "uri": "s3://models/c.tflite", "sha256": "c" * 64, "bytes": 4}]
    sets = {"evaluation": {"uri": "s3://models/e.npz", "sha256": "e" * 64}}
    of = pinned(optimize={"trial": "Never", "alternatives": [light]}, compiled=compiled, **sets)
    cluster = world(of, source=2 * GIB, **{"optimize.alternatives[light].source": 5})
    plan = cluster.run(40)
    assert cluster.asked == [("source", "optimize.alternatives[light].source")]
    variant = next(one for one in plan.status.variants if one.profile == "pi")
    assert [(one.alternative, one.state) for one in variant.builds] == [("source", "Failed"), ("light", "Built")]
    assert labels(cluster)["p1"]


def test_beside_a_file_without_a_digest_both_are_asked_and_both_stand() -> None:
    of = pinned(deviceProfiles={"names": ["pi"]}, evaluation={"uri": "s3://models/e.npz"})
    entry = {"field": "evaluation", "uri": "s3://models/e.npz", "sha256": "e" * 64, "attempt": attempt_of(of)}
    known = of.model_copy(update={"status": {"sources": [entry | {"resolvedAt": "2030-01-01T11:59:00Z"}]}})
    job = job_of(known, finished=True, succeeded=True, finished_at=NOW)
    plan = only_pi(known, job)
    assert [one.field for one in plan.status.sources] == ["source", "evaluation"]
    assert plan.deletes == (), "its answer is not in the status yet"
    assert only_pi(known).look is not None
    stale = replace(job, key=f"{sizes.key_of({})}")
    assert [one.name for one in only_pi(known, job_of(known), stale).deletes] == ["asks"]


def test_the_request_asks_for_the_size_alone() -> None:
    start = only_pi(PI).look
    assert start is not None
    assert start.files == (FileToResolve(field="source", uri=URI, sha256="a" * 64, given=True),)
    assert "size-" in resolve_job(PI, start, SETTINGS)["metadata"]["labels"]["edgesmith.dev/resolve"]


def test_a_plan_shows_the_build_that_follows_the_look() -> None:
    seen = snapshot(PI, profiles=(profile("pi", **TINY),))
    seen = replace(seen, images={build_for(PI, profile("pi", **TINY), SETTINGS).key: None})
    shown = [planning.Planned(seen, decide(seen, NOW), None)]
    text = planning.as_text(shown)
    assert f"  look      at spec.source {URI}: its size is not known, and a device's memory is" in text
    assert f"  build     pi: first build (key {key_of(PI, profile('pi', **TINY))}), once it is known how large" in text
    assert "nothing to do" not in text
    assert '"buildsAfterLook": [\n      {\n        "profile": "pi"' in planning.as_json(shown)


def test_a_site_gets_the_size_with_the_digest() -> None:
    known = {"field": "source", **GIVEN, "bytes": 5, "attempt": "", "resolvedAt": "2030-01-01T00:00:00Z"}
    of = PI.model_copy(update={"status": {"sources": [known]}})
    raw = {"apiVersion": "v", "kind": "EdgeModel", "metadata": {"name": "parts"}, "spec": {"source": dict(GIVEN)}}
    assert with_digests(raw, of)["spec"]["source"] == GIVEN | {"bytes": 5}
