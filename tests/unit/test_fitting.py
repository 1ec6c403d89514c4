"""Models that cannot be on a device: refused by what is known of their files, without a Job, and nothing else stops."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from clusters import Cluster, labels
from new_jobs import new_look
from snapshots import NOW, SETTINGS, failed_job, image, model, node, profile, said, sentence

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import REQUEST_ANNOTATION
from edgesmith.cli.plan import Planned, as_text
from edgesmith.decide import build_jobs, decide
from edgesmith.decide.builds import build_for, build_states, models_of
from edgesmith.decide.digests import attempt_of
from edgesmith.decide.fitting import why_too_large
from edgesmith.decide.plan import Plan
from edgesmith.decide.sources import key_of
from edgesmith.resources import build_job
from edgesmith_builder.contract import BuildRequest, ResolvedFile, ResolveResult

GIB = 2**30
PI: dict[str, Any] = {"hardware": {"memory": "1Gi"}}
GIVEN = {"uri": "s3://models/parts/model.onnx", "sha256": "a" * 64}
LOOSE = {"uri": "s3://models/parts/model.onnx"}
WHY = "at most 1Gi, the memory of the device (spec.hardware.memory of DeviceProfile 'pi'), was expected."


def of_bytes(number: int | None, **spec: Any) -> EdgeModel:
    """An EdgeModel that says how large its source is."""
    source = GIVEN | ({} if number is None else {"bytes": number})
    return model(source=source, deviceProfiles={"names": ["amd64", "pi"]}, **spec)


def looked_at(number: int | None, *, sha256: str = "a" * 64, field: str = "source", **spec: Any) -> EdgeModel:
    """One whose file was looked at."""
    found = model(**{"source": LOOSE, "deviceProfiles": {"names": ["amd64", "pi"]}, **spec})
    entry: dict[str, Any] = {
        "field": field,
        "uri": LOOSE["uri"],
        "sha256": sha256,
        "validator": "v",
        "attempt": attempt_of(found),
    }
    at = (NOW - timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry |= {"resolvedAt": at} | ({} if number is None else {"bytes": number})
    return found.model_copy(update={"status": {"sources": [entry]}})


def world(of: EdgeModel) -> Cluster:
    return Cluster(
        edge_model=of,
        profiles=(profile(), profile("pi", **PI)),
        nodes={"e1": node("e1"), "p1": node("p1", "pi")},
    )


@pytest.mark.parametrize(
    ("of", "says"),
    [
        (of_bytes(2 * GIB), f"spec.source.bytes is {2 * GIB} (it may be left out); {WHY}"),
        (looked_at(2 * GIB), f"the file of spec.source has {2 * GIB} bytes (status.sources); {WHY}"),
    ],
    ids=["the spec says so", "a look found it"],
)
def test_a_model_that_cannot_fit_is_one_condition_without_a_job_and_the_other_profile_goes_on(
    of: EdgeModel, says: str
) -> None:
    cluster = world(of)
    plan = cluster.run(25)
    assert said(plan)["BuildsReady"] == ("False", "ModelTooLarge")
    assert said(plan)["Stalled"] == ("True", "ModelTooLarge")
    assert says in sentence(plan, "BuildsReady")
    assert {job.profile for job in cluster.jobs.values()} <= {"amd64"}
    assert labels(cluster)["p1"] is None
    assert labels(cluster)["e1"], "the other profile's nodes are served"
    variant = next(one for one in plan.status.variants if one.profile == "pi")
    assert (variant.state, variant.reason) == ("BuildFailed", "ModelTooLarge")
    assert (plan.builds, plan.deletes) == ((), ())


def test_edgesmith_plan_says_so_before_anything_is_applied() -> None:
    snapshot = world(of_bytes(2 * GIB)).snapshot()
    text = as_text([Planned(snapshot, decide(snapshot, NOW), None)])
    assert f"BuildsReady is False, ModelTooLarge: spec.source.bytes is {2 * GIB} (it may be left out); {WHY}" in text
    assert "build     amd64" in text
    assert "build     pi" not in text


@pytest.mark.parametrize(
    ("number", "memory", "fits"),
    [(GIB, "1Gi", True), (GIB + 1, "1Gi", False), (2 * GIB, None, True), (None, "1Gi", True), (10**9 + 1, "1G", False)],
)
def test_the_bound_is_the_memory_of_the_device(number: int | None, memory: str | None, fits: bool) -> None:  # noqa: FBT001 - a column of the table
    at = profile("pi", **({"hardware": {"memory": memory}} if memory else {}))
    for of in (of_bytes(number), looked_at(number)):
        assert (why_too_large(of, at) is None) == fits


MEBI = 2**20
LIMIT = "the memory limit of its pods"


def limited(memory: str | None) -> dict[str, Any]:
    """Resources with a memory limit, or none."""
    return {"resources": {"limits": {"memory": memory}}} if memory else {}


@pytest.mark.parametrize(
    ("megabytes", "board", "of_profile", "of_model", "says"),
    [
        pytest.param(600, "1Gi", "512Mi", None, f"512Mi, {LIMIT} (spec.runtime.resources.limits.memory of", id="pod"),
        pytest.param(600, None, "512Mi", None, f"512Mi, {LIMIT} (spec.runtime", id="no memory said"),
        pytest.param(512, "1Gi", "512Mi", None, None, id="just"),
        pytest.param(600, "1Gi", "512Mi", "700Mi", None, id="the EdgeModel's is larger"),
        pytest.param(
            600, "1Gi", "1Gi", "512Mi", f"512Mi, {LIMIT} (spec.serving.resources.limits.memory)", id="smaller"
        ),
        pytest.param(1100, "1Gi", "1Gi", None, "1Gi, the memory of the device", id="equal"),
        pytest.param(1100, "1Gi", "2Gi", None, "1Gi, the memory of the device", id="board"),
        pytest.param(1100, "1Gi", "9999999999Ei", None, "1Gi, the memory of the device", id="more than anything"),
        pytest.param(600, None, None, None, None, id="nobody says anything"),
    ],
)
def test_the_smaller_of_the_device_and_its_pods_is_the_bound(
    megabytes: int, board: str | None, of_profile: str | None, of_model: str | None, says: str | None
) -> None:
    hardware = {"hardware": {"memory": board}} if board else {}
    at = profile("pi", runtime=limited(of_profile), **hardware)
    found = why_too_large(of_bytes(megabytes * MEBI, serving=limited(of_model)), at)
    assert found is None if says is None else f"; at most {says}" in (found or ""), found


def test_a_file_with_a_digest_is_not_looked_up_in_what_lay_there_before() -> None:
    of = looked_at(2 * GIB)
    assert why_too_large(of, profile("pi", **PI))
    same = of_bytes(None).model_copy(update={"status": of.status})
    assert why_too_large(same, profile("pi", **PI)), "what was counted of the bytes that it names"
    other = model(source=GIVEN | {"sha256": "b" * 64}, deviceProfiles={"names": ["amd64", "pi"]})
    given = other.model_copy(update={"status": of.status})
    assert why_too_large(given, profile("pi", **PI)) is None


def test_a_compiled_file_counts_for_the_profiles_of_its_toolchain() -> None:
    compiled = [{"toolchain": "EdgeTPU", "uri": "s3://models/c.tflite", "sha256": "c" * 64, "bytes": 2 * GIB}]
    coral = profile("pi", toolchain={"name": "EdgeTPU"}, **PI)
    assert (why_too_large(of_bytes(5, compiled=compiled), coral) or "").startswith("spec.compiled[EdgeTPU].bytes is")
    assert why_too_large(of_bytes(5, compiled=compiled), profile("pi", **PI)) is None


def test_data_sets_count_for_nothing() -> None:
    of = looked_at(9 * GIB, field="evaluation", source=GIVEN, evaluation=LOOSE)
    assert why_too_large(of, profile("pi", **PI)) is None


def light(**of: Any) -> dict[str, Any]:
    one = {"name": "light", "source": {"uri": "s3://models/l.onnx", "sha256": "f" * 64, **of}}
    return {"trial": "Never", "alternatives": [one]}


def test_an_alternative_stands_in_where_the_source_does_not_fit() -> None:
    cluster = world(of_bytes(2 * GIB, optimize=light(bytes=5)))
    plan = cluster.run(40)
    of = cluster.edge_model
    pi = profile("pi", **PI)
    keys = {job.key for job in cluster.jobs.values() if job.profile == "pi"}
    assert keys <= {build_for(of, pi, SETTINGS, of.spec.optimize.alternatives[0]).key}
    variant = next(one for one in plan.status.variants if one.profile == "pi")
    assert [(one.alternative, one.state, one.reason) for one in variant.builds] == [
        ("source", "Failed", "ModelTooLarge"),
        ("light", "Built", None),
    ]
    assert labels(cluster)["p1"]


def test_an_alternative_that_does_not_fit_is_out_and_the_source_goes_on() -> None:
    cluster = world(of_bytes(5, optimize=light(bytes=2 * GIB)))
    plan = cluster.run(40)
    variant = next(one for one in plan.status.variants if one.profile == "pi")
    assert [(one.alternative, one.state, one.reason) for one in variant.builds] == [
        ("source", "Built", None),
        ("light", "Failed", "ModelTooLarge"),
    ]
    assert "spec.optimize.alternatives[light].source.bytes is" in str(variant.builds[1].message)
    assert labels(cluster)["p1"]


def only_pi(of: EdgeModel, answer: Any = None, **more: Any) -> Plan:
    """One pass where the registry gives an answer for the one build."""
    cluster = world(of)
    pi = profile("pi", **PI)
    snapshot = cluster.snapshot()
    key = build_for(of, pi, SETTINGS).key
    return decide(replace(snapshot, profiles=(pi,), images={key: answer}, **more), NOW)


def test_a_build_that_is_there_is_not_refused_for_what_somebody_says_of_its_size() -> None:
    of = model(source=GIVEN | {"bytes": 2 * GIB}, deviceProfiles={"names": ["pi"]})
    plan = only_pi(of, image(of))
    assert said(plan)["BuildsReady"] == ("True", "Succeeded")


def test_what_a_job_found_out_is_told_in_its_words_and_no_job_follows() -> None:
    of = model(source=GIVEN, deviceProfiles={"names": ["pi"]})
    key = build_for(of, profile("pi", **PI), SETTINGS).key
    plan = only_pi(of, jobs=(failed_job(of, "ModelTooLarge", key=key, profile="pi"),))
    assert said(plan)["BuildsReady"] == ("False", "ModelTooLarge")
    assert (plan.builds, "ModelTooLarge it is." in sentence(plan, "BuildsReady")) == ((), True)


def test_the_number_that_was_counted_when_the_file_was_read_stays() -> None:
    of = looked_at(700)
    files = {"source": of.spec.source}

    def after(seen: ResolvedFile) -> Any:
        job = replace(
            new_look("look", key_of(files), attempt_of(of), NOW - timedelta(seconds=9)),
            finished=True,
            succeeded=True,
            finished_at=NOW - timedelta(seconds=1),
            found=ResolveResult(files=(seen,)),
        )
        (entry,) = only_pi(of, resolve_jobs=(job,)).status.sources
        return entry.sha256[0], entry.bytes

    assert after(ResolvedFile(field="source", sha256="a" * 64, bytes=9)) == ("a", 700)
    assert after(ResolvedFile(field="source", sha256="a" * 64)) == ("a", 700)
    assert after(ResolvedFile(field="source", sha256="b" * 64, bytes=9)) == ("b", 9)
    assert after(ResolvedFile(field="source", sha256="b" * 64)) == ("b", None)


@pytest.mark.parametrize(
    ("name", "sizes"), [("source", {"source": 5}), ("light", {"source": 7, "reference": 5})], ids=["source", "other"]
)
def test_a_builder_is_told_the_sizes_that_it_is_to_find(name: str, sizes: dict[str, int]) -> None:
    of = of_bytes(5, optimize=light(bytes=7))
    keys = [build_for(of, profile(), SETTINGS, one).key for _, one in models_of(of)]
    (states,) = build_states(replace(world(of).snapshot(), images=dict.fromkeys(keys)), [profile()], NOW).values()
    (start,) = (one.start for one in states if one.alternative == name and one.start)
    job = build_job(of, start, SETTINGS)
    request = job["spec"]["template"]["metadata"]["annotations"][REQUEST_ANNOTATION]
    assert BuildRequest.model_validate_json(request).sizes == sizes


def test_a_size_that_is_corrected_or_left_out_is_the_next_try_and_no_other_build() -> None:
    spec = [of_bytes(5), of_bytes(6), of_bytes(None)]
    builds = [build_for(one, profile(), SETTINGS) for one in spec]
    assert len({build.key for build in builds}) == 1
    attempts = [build_jobs.attempt_of(one, SETTINGS, build) for one, build in zip(spec, builds, strict=True)]
    assert len(set(attempts)) == 3
    assert len({attempt_of(one) for one in spec}) == 1, "nothing is looked at anew for it"
