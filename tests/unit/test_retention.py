"""What is kept of what nobody runs any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from snapshots import NOW, snapshot

from edgesmith.decide.retention import old_jobs, old_revisions, old_staging
from edgesmith.decide.snapshot import BuildJob, Revision, StagingSet

BASE = Revision("", "", "p", "", NOW, {})


def revisions(count: int, profile: str = "p") -> list[Revision]:
    return [
        replace(BASE, name=f"{profile}{n}", revision=f"{profile}{n}", profile=profile, created=NOW + timedelta(days=n))
        for n in range(count)
    ]


def job(name: str, key: str, minutes: int, *, finished: bool = True, profile: str = "p") -> BuildJob:
    start = NOW + timedelta(minutes=minutes)
    return BuildJob(
        name=name,
        key=key,
        profile=profile,
        attempt="",
        finished=finished,
        succeeded=False,
        failure=None,
        failure_message=None,
        started_at=start,
        finished_at=start if finished else None,
    )


def test_the_newest_unused_revisions_of_each_variant_are_kept() -> None:
    found = old_revisions([*revisions(5), *revisions(3, "q")], in_use={"p4"}, profiles={"p", "q"}, limit=2)
    assert [delete.name for delete in found] == ["p0", "p1", "q0"]


def test_what_stages_a_revision_goes_with_it() -> None:
    staging = tuple(StagingSet(f"p{number}") for number in range(4))
    found = old_staging(snapshot(revisions=tuple(revisions(2)), staging=staging), {"p0"}, {"p3"})
    assert [delete.name for delete in found] == ["parts-p0-staging", "parts-p2-staging"]


def test_of_a_profile_that_is_no_longer_named_nothing_unused_is_kept() -> None:
    found = old_revisions(revisions(2), in_use={"p1"}, profiles=set(), limit=9)
    assert [delete.name for delete in found] == ["p0"]


def test_of_two_jobs_at_work_on_what_others_wait_for_the_newer_is_kept() -> None:
    jobs = [job("a", "k1", 1, finished=False), job("b", "k1", 2, finished=False), job("c", "k2", 3, finished=False)]
    assert [delete.name for delete in old_jobs(jobs, {"k3"}, {"k1"})] == ["a", "c"]


def test_the_newest_finished_job_of_each_variant_is_kept() -> None:
    jobs = [job("a", "k1", 1), job("b", "k2", 2), job("c", "k2", 3), job("d", "k2", 4, finished=False)]
    assert [delete.name for delete in old_jobs(jobs, {"k2"})] == ["a", "b"]


def test_the_job_that_answers_for_the_build_that_is_wanted_is_kept_though_another_is_newer() -> None:
    assert old_jobs([job("a", "wanted", 1), job("b", "other", 2)], {"wanted"}) == ()
    assert [delete.name for delete in old_jobs([job("a", "other", 1), job("b", "wanted", 2)], {"wanted"})] == ["a"]


def test_a_job_at_work_on_what_nobody_wants_is_ended() -> None:
    jobs = [job("a", "k1", 1, finished=False), job("b", "k2", 2, finished=False)]
    assert [delete.name for delete in old_jobs(jobs, {"k2"})] == ["a"]


def test_a_job_that_has_not_started_is_the_newest() -> None:
    waiting = replace(job("z", "k", 0, finished=False), started_at=None)
    assert [delete.name for delete in old_jobs([waiting, job("a", "k", 9, finished=False)], {"k"})] == ["a"]
