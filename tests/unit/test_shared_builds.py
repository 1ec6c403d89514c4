"""Two EdgeModels of a namespace with the same inputs share a build: one key, one Job, whoever it is of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from snapshots import NOW, SETTINGS, failed_job, image, job, key_of, model, said, snapshot

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import job_name
from edgesmith.decide import decide
from edgesmith.decide.build_jobs import attempt_of
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import BuildJob
from edgesmith.resources.names import repository

KEY = key_of(model())


def called(name: str, **spec: Any) -> EdgeModel:
    """The same EdgeModel under another name."""
    of = model(**spec)
    return of.model_copy(update={"metadata": of.metadata.model_copy(update={"name": name, "uid": name})})


def theirs(of: BuildJob, **changes: Any) -> BuildJob:
    """A Job of EdgeModel `other`."""
    return replace(of, model="other", **changes)


def planned(*others: BuildJob, own: tuple[BuildJob, ...] = ()) -> Plan:
    """What is decided while the registry has no such image."""
    return decide(snapshot(images={KEY: None}, jobs=own, other_jobs=others), NOW)


def test_the_name_is_no_part_of_the_key_the_repository_or_the_job() -> None:
    one, two = model(), called("other")
    assert key_of(two) == KEY
    assert repository(one, SETTINGS) == repository(two, SETTINGS)
    assert attempt_of(one) == attempt_of(two)
    assert model().metadata.name not in job_name(KEY, attempt_of(one))
    assert "other" not in build_for(two, snapshot().profiles[0], SETTINGS).to_json()


def test_a_job_of_another_edgemodel_is_waited_for() -> None:
    plan = planned(theirs(job(model())))
    assert (plan.builds, plan.deletes) == ((), ())
    assert plan.status.variants[0].message == "Building for amd64, for EdgeModel other too."
    assert said(plan)["Reconciling"] == ("True", "Building")


@pytest.mark.parametrize(("problem", "builds"), [(None, 0), ("Secret 'theirs' is not there", 1)])
def test_one_with_other_credentials_is_waited_for_unless_they_hold_it_up(problem: str | None, builds: int) -> None:
    assert len(planned(theirs(job(model()), attempt="another", failure_message=problem)).builds) == builds


def test_what_one_found_out_the_other_need_not() -> None:
    plan = planned(theirs(failed_job(model(), "ModelInvalid")))
    assert plan.builds == ()
    assert said(plan)["Stalled"] == ("True", "ModelInvalid")
    retried = planned(theirs(failed_job(model(), "SourceUnreachable", retry=True, ago=60)))
    assert [start.tries for start in retried.builds] == [1], "the next try, under another name"


def test_what_failed_with_other_credentials_says_nothing() -> None:
    (start,) = planned(theirs(failed_job(model(), "SourceForbidden", attempt="another"))).builds
    assert (start.tries, start.attempt) == (0, attempt_of(model()))


def test_a_failure_of_ones_own_is_told_while_another_tries() -> None:
    plan = planned(theirs(job(model()), attempt="another"), own=(failed_job(model(), "SourceForbidden", ago=3600),))
    assert (plan.builds, said(plan)["Stalled"]) == ((), ("True", "SourceForbidden"))


def test_where_the_other_is_deleted_its_job_goes_and_the_build_is_started() -> None:
    assert planned(theirs(job(model()))).builds == ()
    (start,) = planned().builds
    assert job_name(start.build.key, start.attempt, start.tries) == job(model()).name


VARIANTS: dict[str, dict[str, Any]] = {
    "for the source": {"profile": "amd64", "buildKey": KEY},
    "for an alternative": {"profile": "amd64", "buildKey": "0" * 24, "builds": [{"buildKey": "1"}, {"buildKey": KEY}]},
    "no more": {"profile": "amd64", "buildKey": "0" * 24, "builds": [{"buildKey": "1"}]},
}


@pytest.mark.parametrize("waits", VARIANTS)
@pytest.mark.parametrize("namespace", ["plant", "elsewhere"])
def test_a_job_that_another_waits_for_is_not_deleted_when_its_own_edgemodel_wants_another(
    waits: str, namespace: str
) -> None:
    other = called("other").model_copy(update={"status": {"variants": [VARIANTS[waits]]}})
    other = other.model_copy(update={"metadata": other.metadata.model_copy(update={"namespace": namespace})})
    changed = model(source={"uri": "s3://models/parts/b/model.onnx", "sha256": "b" * 64})
    seen = replace(snapshot(changed, images={key_of(changed): None}, jobs=(job(model()),)), others=(other,))
    kept = waits != "no more" and namespace == "plant"
    assert [one.name for one in decide(seen, NOW).deletes] == ([] if kept else [job(model()).name])


def test_jobs_of_others_are_never_deleted() -> None:
    ended = theirs(failed_job(model(), "ModelInvalid"), name="older")
    plan = decide(snapshot(images={KEY: image(model())}, other_jobs=(ended, theirs(job(model())))), NOW)
    assert plan.deletes == ()
