"""What is known of revisions, in the status: written and read again, and whatever a hand may have written there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from snapshots import NOW

from edgesmith.api.revision_status import RevisionStatus
from edgesmith.decide.fleet import RevisionState
from edgesmith.decide.marks import Mark, in_the_past, marks_of, status_marks

EPOCH = datetime.fromtimestamp(0, UTC)
TRIED = RevisionState("tried", EPOCH, steps=1, lost=("n1", "n2"))
PROVEN = RevisionState("proven", EPOCH, steps=2, proven=NOW, completed=NOW + timedelta(minutes=1))
BAD = RevisionState("bad", EPOCH, rolled_back="n0 failed.", reason="CanaryFailed")


def status(*entries: RevisionStatus) -> dict[str, Any]:
    """A status as it is written."""
    return {"revisions": [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in entries]}


def write(
    *states: RevisionState, before: dict[str, Mark] | None = None, attempt: str = "", retried: tuple[str, ...] = ()
) -> tuple[RevisionStatus, ...]:
    return status_marks([("p", one) for one in states], before or {}, attempt=attempt, retried=frozenset(retried))


def test_what_is_written_is_read() -> None:
    found = marks_of(status(*write(TRIED, PROVEN, BAD, attempt="7")))
    assert found == {
        "tried": Mark("p", TRIED, ""),
        "proven": Mark("p", PROVEN, ""),
        "bad": Mark("p", BAD, "7"),
    }


def test_they_are_written_in_the_order_of_their_names() -> None:
    assert [one.name for one in write(TRIED, PROVEN, BAD)] == ["bad", "proven", "tried"]


def times(marks: Mapping[str, Mark]) -> dict[str, datetime | None]:
    return {name: one.state.proven for name, one in marks.items()}


def marks(profile: str = "p", /, **proven: float | None) -> dict[str, Mark]:
    """Marks of revisions that were proven so many seconds from now."""
    known = {name: None if after is None else NOW + timedelta(seconds=after) for name, after in proven.items()}
    return {name: Mark(profile, RevisionState(name, EPOCH, proven=at), "") for name, at in known.items()}


ORDERS: dict[str, tuple[dict[str, float | None], dict[str, float | None]]] = {
    "nothing is to come": ({"a": -5, "b": -5, "c": 0, "d": None}, {"a": -5, "b": -5, "c": 0, "d": None}),
    "one is": ({"a": -5, "b": 9999}, {"a": -5, "b": 0}),
    "several keep their order": ({"c": -60, "b": 9997, "d": 9998, "a": 9999}, {"c": -60, "b": -2, "d": -1, "a": 0}),
    "before what was proven just now": ({"c": -1, "a": 0, "b": 9999}, {"c": -2, "a": -1, "b": 0}),
    "at one time": ({"a": 9999, "b": 9999}, {"a": -1, "b": 0}),
}


@pytest.mark.parametrize("case", ORDERS)
def test_times_that_are_still_to_come_count_as_now_in_the_order_in_which_they_came(case: str) -> None:
    before, after = ORDERS[case]
    assert times(in_the_past(marks(**before), NOW)) == times(marks(**after))
    again = in_the_past(in_the_past(marks(**before), NOW), NOW)
    assert times(again) == times(marks(**after)), "it is done once"


def test_each_profile_has_an_order_of_its_own_and_the_other_times_are_none_of_it() -> None:
    later = NOW + timedelta(days=900)
    far = replace(PROVEN, proven=later, completed=later, opened=later, served=later)
    both = marks("p", a=9999) | marks("q", b=9999) | {"far": Mark("r", far, "")}
    found = in_the_past(both, NOW)
    assert times(found) == {"a": NOW, "b": NOW, "far": NOW}
    state = found["far"].state
    assert (state.completed, state.opened, state.served) == (NOW, NOW, NOW)
    early = Mark("r", replace(PROVEN, completed=NOW, opened=EPOCH), "7")
    assert in_the_past({"proven": early}, NOW) == {"proven": early}


GARBAGE: dict[str, Any] = {
    "no list": {"revisions": {"name": "r"}},
    "nothing": {},
    "words": {"revisions": ["r", 1, None]},
    "no name": {"revisions": [{"profile": "p"}]},
    "no time": {"revisions": [{"name": "r", "profile": "p", "provenTime": "yesterday"}]},
    "a number for a time": {"revisions": [{"name": "r", "profile": "p", "provenTime": 5}]},
    "a time before the calendar": {
        "revisions": [{"name": "r", "profile": "p", "provenTime": "0001-01-01T00:00:00+23:59"}]
    },
    "the end of time": {"revisions": [{"name": "r", "profile": "p", "provenTime": "9999-12-31T23:59:59Z"}]},
    "too many nodes": {"revisions": [{"name": "r", "profile": "p", "lost": ["n"] * 21}]},
}


@pytest.mark.parametrize("case", GARBAGE)
def test_what_cannot_be_read_is_left_out_and_the_rest_is_read(case: str) -> None:
    assert marks_of(GARBAGE[case]) == {}
    entries = GARBAGE[case].get("revisions")
    if isinstance(entries, list):
        assert set(marks_of({"revisions": [*entries, {"name": "good", "profile": "p"}]})) == {"good"}


def test_a_time_without_a_zone_is_utc_and_one_of_a_zone_is_the_same_moment() -> None:
    for text in ("2030-01-01T12:00:00", "2030-01-01T12:00:00Z", "2030-01-01T14:00:00+02:00"):
        assert marks_of({"revisions": [{"name": "r", "profile": "p", "provenTime": text}]})["r"].state.proven == NOW


def test_a_revision_that_was_rolled_back_without_a_word_still_was() -> None:
    state = marks_of({"revisions": [{"name": "r", "profile": "p", "rolledBack": True}]})["r"].state
    assert state.rolled_back == "It was rolled back."
    state = marks_of({"revisions": [{"name": "r", "profile": "p", "message": "It is fine."}]})["r"].state
    assert state.rolled_back is None


def test_the_retry_word_of_a_rollback_is_kept_until_another_try_is_given() -> None:
    before = marks_of(status(*write(BAD, attempt="1")))
    assert write(BAD, before=before, attempt="2")[0].attempt == "1"
    assert write(BAD, before=before, attempt="2", retried=("bad",))[0].attempt == "2"
    fresh = {"bad": Mark("p", replace(BAD, rolled_back=None), "")}
    assert write(BAD, before=fresh, attempt="2")[0].attempt == "2"
    assert write(PROVEN, attempt="2")[0].attempt is None


def test_what_is_known_of_revisions_without_a_daemonset_is_kept_for_the_newest_ten_of_each_profile() -> None:
    before = {
        f"r{number:02}": Mark(profile, RevisionState(f"r{number:02}", EPOCH, proven=NOW + timedelta(days=number)), "")
        for profile, numbers in (("p", range(15)), ("q", range(20, 24)))
        for number in numbers
    } | {"never": Mark("p", RevisionState("never", EPOCH), "")}
    kept = write(PROVEN, before=before)
    assert [one.name for one in kept] == ["proven", *(f"r{number:02}" for number in (*range(5, 15), *range(20, 24)))]
    assert {one.profile for one in kept} == {"p", "q"}


def test_what_exists_is_written_as_it_is_after_this_pass() -> None:
    before = {"proven": Mark("p", replace(PROVEN, proven=None, completed=None), "")}
    assert [one.proven_time for one in write(PROVEN, before=before)] == ["2030-01-01T12:00:00Z"]


def test_long_lists_and_sentences_are_cut_to_what_the_status_holds() -> None:
    many = tuple(f"n{number:04}" for number in range(3000))
    (bad,) = write(replace(BAD, rolled_back="f" * 5000, lost=many))
    assert (bad.message, bad.lost) == ("f" * 2048, None), "whoever tries it again begins anew"
    (tried,) = write(replace(TRIED, lost=many))
    assert tried.lost == many[:4]
