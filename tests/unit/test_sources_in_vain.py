"""Looks at files that come to nothing: what is said of it, when they are made again, and that nothing stops."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from looks import HOUR, A, B, after, entry, finding, found, in_vain, known, look, loose, seen
from snapshots import (
    NOW,
    said,
    sentence,
)

from edgesmith.api.names import resolve_job_name
from edgesmith.decide import decide
from edgesmith.decide.sources import next_look
from edgesmith_builder.contract import FailureReason, ResolvedFile, ResolveResult

# Looks in vain --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "said_by", "shown", "delay"),
    [
        ("SourceNotFound", "Stalled", "SourceNotFound", 20.0),
        ("SourceForbidden", "Stalled", "SourceForbidden", 20.0),
        ("SourceUnreachable", "Reconciling", "WaitingForSource", 5.0),
        ("Internal", "Reconciling", "BuildFailed", 5.0),
    ],
)
def test_a_first_look_in_vain_says_why_and_is_made_again(
    reason: FailureReason, said_by: str, shown: str, delay: float
) -> None:
    of, retry = loose(), said_by == "Reconciling"
    failed = in_vain(of, reason, retry=retry, ago=0)
    plan = decide(seen(of, failed), NOW)
    assert (plan.look, plan.look_again, finding(plan)) == (None, delay, ("False", shown))
    assert said(plan)[said_by] == ("True", shown)
    assert sentence(plan, "SourceResolved") == f"{reason} it is."
    again = decide(seen(of, failed), NOW + timedelta(seconds=delay))
    assert again.look is not None
    assert again.look.tries == 1
    retried = decide(seen(of, failed, look(of, "second", tries=1)), NOW + timedelta(seconds=delay))
    assert finding(retried) == ("False", shown), "the words stay until it has done better"


def test_what_no_retry_helps_is_looked_at_on_the_interval() -> None:
    of = loose()
    plan = decide(seen(of, in_vain(of, "ModelInvalid", ago=0)), NOW)
    due = next_look(NOW, HOUR, "u")
    assert (plan.look, plan.look_again) == (None, (due - NOW).total_seconds())
    assert decide(seen(of, in_vain(of, "ModelInvalid", ago=0)), due).look is not None
    once = loose(source={"interval": "0s"})
    assert decide(seen(once, in_vain(once, "ModelInvalid", ago=0)), NOW + timedelta(days=9)).look is None


def test_a_later_look_in_vain_changes_nothing_and_says_since_when() -> None:
    of = known(entry(ago=7200))
    plan = decide(seen(of, in_vain(of, "SourceUnreachable", retry=True)), NOW)
    assert finding(plan) == ("True", "LookFailed")
    since = (NOW - timedelta(seconds=7200)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert sentence(plan, "SourceResolved") == (
        f"SourceUnreachable it is. What was found at {since} goes on to be used."
    )
    assert len(plan.builds) == 1
    assert "Stalled" not in said(plan)
    assert [event.reason for event in plan.events if event.type == "Warning"] == ["LookFailed"]
    told = decide(seen(after(of, plan), in_vain(of, "SourceUnreachable", retry=True)), NOW)
    assert [event.reason for event in told.events if event.type == "Warning"] == [], "once"


def test_a_job_whose_answer_went_with_its_pod_is_made_again() -> None:
    of = loose()
    silent = replace(found(of, ago=0), found=None)
    plan = decide(seen(of, silent), NOW)
    assert (finding(plan), plan.look_again) == (("False", "BuildFailed"), 5.0)
    assert "its pod went before its answer was read" in sentence(plan, "SourceResolved")
    again = decide(seen(of, silent), NOW + timedelta(seconds=5))
    assert again.look is not None
    assert again.look.tries == 1


def test_an_answer_that_lacks_a_file_is_none() -> None:
    of = loose(calibration={"uri": "s3://models/c.npz"})
    half = replace(found(of, ago=0), found=ResolveResult(files=(ResolvedFile(field="source", sha256=A),)))
    plan = decide(seen(of, half), NOW)
    assert (plan.status.sources, plan.look) == ((), None)
    assert decide(seen(of, half), NOW + timedelta(seconds=5)).look is not None


def test_of_two_looks_the_later_one_is_right_in_whatever_order_they_are_seen() -> None:
    of = known(entry(B, ago=60, look=7))
    plan = decide(seen(of, found(of, A, ago=30, number=7)), NOW)
    assert ([one.sha256 for one in plan.status.sources], [one.name for one in plan.deletes]) == ([B], ["look"])
    both = (found(of, A, ago=20, name="late", number=9), found(of, "c" * 64, ago=10, name="early", number=8))
    for jobs in (both, both[::-1]):
        assert [one.sha256 for one in decide(seen(of, *jobs), NOW).status.sources] == [A]


def test_every_look_has_a_name_of_its_own() -> None:
    """The Job of the last one may still be on its way out."""
    of, later = known(entry(look=7)), known(entry(look=8))
    names = []
    for one, tries in ((loose(), 0), (of, 0), (later, 0), (of, 1)):
        jobs = (in_vain(one, "SourceNotFound", ago=0, number=8 + tries),) if tries else ()
        start = decide(seen(one, *jobs), NOW + timedelta(hours=2)).look
        assert start is not None
        names.append(resolve_job_name("parts", start.key, start.attempt, start.number))
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 63


def test_a_secret_that_is_missing_is_for_the_user_to_make() -> None:
    of = loose(source={"secretRef": {"name": "store"}})
    blocked = look(of, failure_message='secret "store" not found')
    plan = decide(seen(of, blocked), NOW)
    assert said(plan)["Stalled"] == ("True", "CredentialsNotFound")
    assert "spec.source.secretRef.name 'store' in namespace 'plant' cannot be used" in sentence(plan)


def test_a_pod_that_finds_no_node_is_waited_for() -> None:
    of = loose()
    plan = decide(seen(of, look(of, failure_message="0/3 nodes are available.")), NOW)
    assert finding(plan) == ("False", "Resolving")
    assert "0/3 nodes are available" in sentence(plan, "SourceResolved")


def test_of_several_failed_jobs_the_newest_is_kept_and_all_go_after_a_success() -> None:
    of = loose()
    first, second = (
        in_vain(of, "SourceNotFound", name=name, tries=tries, started_at=NOW + timedelta(seconds=tries))
        for tries, name in enumerate(("one", "two"))
    )
    assert [delete.name for delete in decide(seen(of, first, second), NOW).deletes] == ["one"]
    done = after(of, decide(seen(of, found(of, ago=0)), NOW))
    plan = decide(seen(done, first, second), NOW)
    assert sorted(delete.name for delete in plan.deletes) == ["one", "two"]
