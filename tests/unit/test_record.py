"""What is kept of a node: written and read again, and whatever else an annotation may hold."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import NOW

from edgesmith.decide.fleet import Failure, ServerState
from edgesmith.decide.record import Record, new_record, parse_record

BEFORE = NOW - timedelta(hours=1)
PLAIN = Record("r", ServerState.SERVING, BEFORE, BEFORE)
FULL = Record(
    "r",
    ServerState.FAILED,
    NOW,
    BEFORE,
    away=BEFORE,
    run="abcdef/3",
    returned=BEFORE,
    deaths=1,
    restarts=1,
    excused="abcdef/3",
    remade=2,
    doubtful=True,
    previous="p",
    failures={"r": Failure("1", broken=True, note="failed"), "q": Failure()},
)
TIMES = {"since": "2030-01-01T11:00:00Z", "moved": "2030-01-01T11:00:00Z"}


def changed(**fields: Any) -> str:
    """A plain record's annotation with other fields; None leaves one out."""
    facts = json.loads(PLAIN.to_json()) | fields
    return json.dumps({key: value for key, value in facts.items() if value is not None})


@pytest.mark.parametrize("record", [PLAIN, FULL, new_record("r", ServerState.NONE, NOW)])
def test_what_is_written_is_read(record: Record) -> None:
    text = record.to_json()
    assert parse_record(text, NOW) == record
    assert record.to_json() == text


def test_what_is_empty_is_not_written() -> None:
    assert json.loads(PLAIN.to_json()) == {"revision": "r", "state": "Serving", **TIMES}


NONE_OF_OURS: dict[str, str | None] = {
    "nothing": None,
    "empty": "",
    "no JSON": "since yesterday",
    "a list": "[]",
    "a number": "1",
    "JSON without end": "[" * 100_000,
    "no revision": changed(revision=None),
    "a state of a version to come": changed(state="Hovering"),
    "no state": changed(state=None),
    "a number for a time": changed(since=1),
    "a time without a zone": changed(since="2030-01-01T11:00:00"),
    "a time before the calendar": changed(since="0001-01-01T00:00:00+23:59"),
    "no time": changed(moved=None),
    "words for a count": changed(deaths="many"),
    "words for another count": changed(restarts="many"),
    "an endless count": '{"revision":"r","state":"Serving","since":"2030-01-01T11:00:00Z",'
    '"moved":"2030-01-01T11:00:00Z","deaths":1e999}',
    "a list for failures": changed(failures=["r"]),
    "a word for a failure": changed(failures={"r": "failed"}),
}


@pytest.mark.parametrize("case", NONE_OF_OURS)
def test_an_annotation_that_is_none_of_ours_is_none(case: str) -> None:
    assert parse_record(NONE_OF_OURS[case], NOW) is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(
    st.sampled_from(["revision", "state", "since", "moved", "away", "run", "deaths", "excused", "failures", "r"]), inner
) | st.lists(inner)))  # fmt: skip
def test_no_annotation_raises(value: Any) -> None:
    kept = parse_record(json.dumps({"revision": "r", "state": "Serving", **TIMES, "failures": value}), NOW)
    if kept:
        assert parse_record(kept.to_json(), NOW) == kept
    assert isinstance(parse_record(json.dumps(value), NOW), Record | None)


def test_a_time_in_the_future_is_now() -> None:
    found = parse_record(
        changed(since="2031-01-01T00:00:00Z", moved="9999-12-31T23:59:59Z", away="2030-06-01T00:00:00Z"), NOW
    )
    assert found
    assert (found.since, found.moved, found.away) == (NOW, NOW, NOW)
    late = "2031-01-01T00:00:00Z"
    assert parse_record(changed(since=late), NOW) == replace(PLAIN, since=NOW)
    assert parse_record(changed(moved=late), NOW) == replace(PLAIN, moved=NOW)
    assert parse_record(changed(away=late), NOW) == replace(PLAIN, away=NOW)
    assert parse_record(changed(returned=late), NOW) == replace(PLAIN, returned=NOW)


def test_a_move_starts_everything_anew_but_what_the_node_is_known_for() -> None:
    later = NOW + timedelta(minutes=1)
    assert FULL.moved_to("s", "r", later) == Record(
        "s", ServerState.STARTING, later, later, doubtful=True, previous="p", failures=FULL.failures
    )


def test_a_move_says_in_which_start_of_its_machine_the_node_is() -> None:
    assert FULL.moved_to("s", "r", NOW, boot="b2").boot == "b2"


def test_a_move_remembers_what_the_node_served_last() -> None:
    assert PLAIN.moved_to("s", "r", NOW).previous == "r"
    assert not PLAIN.moved_to("s", "r", NOW).doubtful
    starts = replace(PLAIN, state=ServerState.STARTING, previous="p")
    assert starts.moved_to("s", "r", NOW).previous == "p", "what only started was not served"
    assert replace(PLAIN, previous="p").moved_to("s", None, NOW).previous == "p", "nor was what has no label"
    assert starts.moved_to("p", "r", NOW).previous is None, "a revision is not the one before itself"
    given_up = replace(PLAIN, previous="p")
    assert given_up.moved_to("r", "r", NOW).previous == "p", "it gets back what it gave up"
    assert (given_up.served, replace(starts, state=ServerState.FAILED).served) == ("r", "p")


def test_a_failure_is_kept_with_the_retry_word_and_whether_the_one_before_failed_too() -> None:
    assert PLAIN.failed("failed", "1").failures == {"r": Failure("1", note="failed")}
    assert replace(PLAIN, doubtful=True).failed("failed", "").failures == {"r": Failure(broken=True, note="failed")}


def test_the_newest_three_failures_are_kept_and_their_notes_cut() -> None:
    record = PLAIN
    for revision in "abcad":
        record = replace(record, revision=revision).failed("f" * 1000, "")
    assert list(record.failures) == ["c", "a", "d"]
    assert {len(one.note) for one in record.failures.values()} == {300}
    assert parse_record(record.to_json(), NOW) == record
