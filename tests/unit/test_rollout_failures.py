"""One step of the planner at a time: what a failed or lost node says of a revision, and where nodes go back to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rollout_words import (
    BAD,
    COMPLETED,
    LONG_AGO,
    NEW,
    ODD,
    OLD,
    OLDEST,
    OPEN,
    PROVEN,
    fleet,
    moves,
    state_of,
    step,
    variant,
    with_rules,
)
from snapshots import NOW

from edgesmith.decide.fleet import Failure, RevisionState, RolloutPhase
from edgesmith.decide.rollout import plan_rollout

ROLLING_BACK, ROLLED_BACK, DEGRADED = RolloutPhase.ROLLING_BACK, RolloutPhase.ROLLED_BACK, RolloutPhase.DEGRADED
WIDE = with_rules(max_unavailable=5)
TWO = with_rules(steps=[(2, 30)], max_unavailable=5)
PART = replace(NEW, steps=1)
"""The new revision in its second step."""
STEPPED = with_rules(steps=[(1, 0), (3, 30)], max_unavailable=5)


def why(course: Any, revision: str = "new") -> tuple[str, str | None]:
    one = state_of(course, revision)
    return one.reason, one.rolled_back


def test_a_failed_canary_sends_its_nodes_back_and_touches_nobody_else() -> None:
    course = step("new! old+ old+", OLD, NEW)
    assert (moves(course), course.phase) == ({"n0": "old"}, ROLLING_BACK)
    assert why(course) == ("CanaryFailed", "n0 failed.")
    assert course.moves[0].urgent
    assert course.moves[0].reason == "Revision new was rolled back: n0 failed."
    assert course.stable == OLD


def test_with_no_revision_before_it_a_failed_canarys_label_goes() -> None:
    course = step("new! . .", NEW)
    assert (moves(course), course.phase) == ({"n0": None}, ROLLING_BACK)
    assert step(". . .", BAD).phase is RolloutPhase.NONE_LEFT


def test_one_failing_canary_of_two_is_enough_and_nothing_else_is_an_excuse() -> None:
    assert why(step("new+ new! old+ old+", OLD, NEW, rules=TWO)) == ("CanaryFailed", "n1 failed.")
    assert why(step("new!! old+", OLD, NEW))[0] == "CanaryFailed", "a canary that failed before, too"
    assert why(step("~new! old+", OLD, NEW))[0] == "", "what failed and is NotReady is judged when it is back"


def test_the_sentence_is_that_of_the_failure() -> None:
    nodes = fleet("new! old+", n0={"failures": {"new": Failure(note="failed with GoldenMismatch: 3 differ.")}})
    assert why(step(nodes, OLD, NEW))[1] == "n0 failed with GoldenMismatch: 3 differ."
    nodes = fleet("new! old+", n0={"failures": {}, "note": "restarts"})
    assert why(step(nodes, OLD, NEW))[1] == "n0 restarts."


def away(seconds: float, *numbers: int) -> dict[str, Any]:
    """Nodes that have been NotReady for so long, and got their label just before."""
    gone = NOW - timedelta(seconds=seconds)
    return {f"n{number}": {"away": gone, "since": gone, "moved": gone} for number in numbers}


def test_a_lost_canary_keeps_its_place_until_the_deadline_and_is_replaced_once() -> None:
    nodes = fleet("~new? old+ old+ old+ old+ old+", **away(299, 0))
    waits = step(nodes, OLD, NEW, rules=WIDE)
    assert (moves(waits), waits.look_again) == ({}, 1.0)
    assert state_of(waits, "new").lost == ("n0",)
    nodes = fleet("~new? old+ old+ old+ old+ old+", **away(300, 0))
    assert moves(step(nodes, OLD, waits.target or NEW, rules=WIDE)) == {"n1": "new"}
    nodes = fleet("~new? ~new? old+ old+ old+ old+", **away(900, 0, 1))
    lost = replace(NEW, lost=("n0", "n1"))
    course = step(nodes, OLD, lost, rules=WIDE)
    assert why(course) == ("CanaryLost", "n0 and n1 became NotReady after they got it and before their bake was over.")
    assert moves(course) == {"n0": "old", "n1": "old"}, "nobody comes back to it"


def lost(words: str, *ago: float, others: float = 900, **rules: Any) -> Any:
    """Canaries that went so many seconds ago, soon after they got the revision, and others that did with the first."""
    found = fleet(words)
    gone = {name: one for number, since in enumerate(ago) for name, one in away(since, number).items()}
    gone |= away(others, *(number for number, one in enumerate(found) if number >= len(ago) and not one.ready))
    names = tuple(f"n{number}" for number in range(len(ago)))
    return step(fleet(words, **gone), OLD, replace(NEW, lost=names), rules=with_rules(**{"max_unavailable": 5} | rules))


def test_where_the_lost_say_nothing_one_more_canary_is_tried_once_all_were_waited_for() -> None:
    course = lost("~new? ~new? old+ ~old+ ~old+ old+", 900, 900)
    assert (why(course)[0], moves(course), course.phase) == ("", {"n2": "new"}, RolloutPhase.CANARY)
    assert moves(lost("~new? ~new? old+ ~old+ ~old+ old+", 900, 299)) == {}, "until then it keeps its place"
    assert moves(lost("~new? ~new? new? ~old+ ~old+ old+", 900, 900)) == {}, "one that may hold"
    assert moves(lost("~new? ~new? old+ ~old+ ~old+ old+", 900, 900, max_unavailable=1)) == {"n2": "new"}, "no place"


def test_each_one_more_is_held_against_those_that_went_after_it_got_the_revision() -> None:
    words = "~new? ~new? ~new? old+ old+ ~old+ ~old+ ~old+ old+ old+"
    third = lost(words, 900, 900, 400)
    assert why(third)[0] == "CanaryLost", "3 of 7, 3 of 7, and nobody since"
    again = lost(words, 900, 900, 400, others=300)
    assert (why(again)[0], moves(again)) == ("", {"n3": "new"}), "3 of 7 thrice"


def test_nodes_that_were_away_before_do_not_excuse_a_lost_canary() -> None:
    words = "~new? ~new? old+ ~old+ ~old+ ~old+ ~old+ old+"
    assert why(lost(words, 900, 400, others=901))[0] == "CanaryLost"
    assert why(lost(words, 900, 900, others=900))[0] == "", "they went with both"
    assert why(lost(words, 299, 299, others=901))[0] == "", "not at once: then all that are away count"


def unsteady(seconds: float, number: int = 0, **more: Any) -> dict[str, Any]:
    """A canary that has come and gone for so long, and got the revision before."""
    since = NOW - timedelta(seconds=seconds)
    return {f"n{number}": {"unsteady": since, "late": seconds >= 300, "since": NOW, "moved": NOW, **more}}


def test_a_canary_that_comes_and_goes_is_waited_for_as_long_as_one_that_stays_away() -> None:
    others = "old+ old+ old+"
    assert moves(step(fleet(f"new? {others}", **unsteady(299)), OLD, NEW, rules=WIDE)) == {}
    assert moves(step(fleet(f"new? {others}", **unsteady(300)), OLD, NEW, rules=WIDE)) == {"n1": "new"}
    assert moves(step(fleet(f"~new? {others}", **unsteady(300, away=NOW)), OLD, NEW, rules=WIDE)) == {"n1": "new"}
    serves = fleet(f"new+ {others}", **unsteady(329))
    assert (moves(step(serves, OLD, NEW, rules=WIDE)), step(serves, OLD, NEW, rules=WIDE).look_again) == ({}, 1.0)
    assert moves(step(fleet(f"new+ {others}", **unsteady(330)), OLD, NEW, rules=WIDE)) == {"n1": "new"}, "and the bake"
    there = unsteady(9000, since=NOW - timedelta(seconds=30))
    assert state_of(step(fleet(f"new+ {others}", **there), OLD, NEW, rules=WIDE), "new").proven, "if it holds, it holds"
    waits = fleet(f"new? {others}", **unsteady(9000, staged=True, beside="old", beside_serving=True))
    assert "n1" not in moves(step(waits, OLD, NEW, rules=WIDE)), "it is the others that it waits for"
    failed = step(fleet(f"new! {others}", **unsteady(9000)), OLD, NEW, rules=WIDE)
    assert why(failed)[0] == "CanaryFailed"


def test_canaries_that_come_and_go_say_little_and_six_of_them_say_enough() -> None:
    others = " old+ old+"
    for count, expected in ((2, ""), (5, ""), (6, "CanaryLost")):
        gone = {name: one for number in range(count) for name, one in unsteady(400, number).items()}
        course = step(fleet("new? " * count + others, **gone), OLD, NEW, rules=WIDE)
        assert why(course)[0] == expected
        assert bool(moves(course).get(f"n{count}") == "new") is (expected == "")
    both = {name: one | {"unsteady": NOW - timedelta(minutes=90)} for name, one in away(300, 0, 1).items()}
    nine = "old+ " * 8 + "~old+"
    course = step(fleet(f"~new? ~new? {nine}", **both), OLD, replace(NEW, lost=("n0", "n1")), rules=WIDE)
    assert why(course)[0] == "CanaryLost", "in the end they stay away, as any other"
    stays = {**unsteady(400), **away(400, 1)}
    assert why(step(fleet(f"new? ~new? {others}", **stays), OLD, replace(NEW, lost=("n1",)), rules=WIDE)) == (
        "CanaryLost",
        "n0 and n1 became NotReady after they got it and before their bake was over.",
    )


def test_in_a_later_step_one_that_comes_and_goes_is_replaced_as_one_that_is_away() -> None:
    words = "new+ new+ new? old+ old+ old+"
    for seconds, expected in ((299, {}), (300, {"n3": "new"})):
        one = with_rules(steps=[(1, 0), (4, 30)], max_unavailable=1)
        assert moves(step(fleet(words, **unsteady(seconds, 2)), OLD, PART, rules=one)) == expected


def test_the_replacement_proves_the_revision() -> None:
    nodes = fleet("~new? new+ old+ old+", **away(300, 0))
    held = state_of(step(nodes, OLD, replace(NEW, lost=("n0",)), rules=WIDE), "new")
    assert (held.proven, held.lost) == (NOW, ())
    nodes = fleet("~new? new+ old+ old+", **away(299, 0))
    assert not state_of(step(nodes, OLD, NEW, rules=WIDE), "new").proven


def test_two_canaries_one_lost_for_good_one_that_holds_and_one_more() -> None:
    nodes = fleet("~new? new+ old+ old+", **away(300, 0))
    course = step(nodes, OLD, NEW, rules=TWO)
    assert (moves(course), state_of(course, "new").proven) == ({"n2": "new"}, None)
    nodes = fleet("~new? new+ new+ old+", **away(300, 0))
    assert state_of(step(nodes, OLD, NEW, rules=TWO), "new").proven == NOW


def test_a_lost_canary_that_returns_is_lost_no_longer_and_one_that_left_the_cluster_stays_lost() -> None:
    lost = replace(NEW, lost=("n0", "gone"))
    course = step(fleet("new+ old+ old+", n0={"since": NOW}), OLD, lost)
    assert state_of(course, "new").lost == ("gone",)
    assert moves(course) == {}
    assert moves(step("old+ old+ old+", OLD, replace(NEW, lost=("a",)))) == {"n0": "new"}
    course = step("old+ old+ old+", OLD, replace(NEW, lost=("a", "b")), rules=TWO)
    assert (why(course)[0], moves(course)) == ("CanaryLost", {}), "they are judged though nobody runs it any more"


def test_canaries_lost_at_once_need_no_deadline_where_nobody_else_is_away() -> None:
    nodes = fleet("~new? ~new? old+ old+ old+", **away(10, 0, 1))
    assert why(step(nodes, OLD, NEW, rules=TWO))[0] == "CanaryLost"
    nodes = fleet("~new? ~new?" + " old+" * 9 + " ~old+", **away(10, 0, 1))
    assert why(step(nodes, OLD, NEW, rules=TWO))[0] == ""
    nodes = fleet("~new? ~new?" + " old+" * 9 + " ~old+", **away(300, 0, 1))
    assert why(step(nodes, OLD, NEW, rules=TWO))[0] == "CanaryLost"
    nodes = fleet("~new? ~new?" + " old+" * 9 + " ~old+", **away(300, 0), **away(299, 1))
    assert why(step(nodes, OLD, NEW, rules=TWO))[0] == "", "all of them must have been away for so long"


def test_canaries_that_held_before_they_became_not_ready_are_not_lost() -> None:
    course = step("~new+ ~new+ old+ old+ old+", OLD, NEW, rules=TWO)
    assert (why(course)[0], bool(state_of(course, "new").proven)) == ("", True)
    nodes = fleet("~new+ ~new+ new+ old+ old+ old+", n2={"since": NOW})
    course = step(nodes, OLD, NEW, rules=with_rules(steps=[(3, 30)]))
    assert course.target == NEW


def test_a_canary_that_lost_its_device_and_its_server_is_replaced_once_and_two_are_evidence() -> None:
    one = step(fleet("%new? old+ old+ old+", **away(300, 0)), OLD, NEW, rules=with_rules(max_unavailable=1))
    assert (why(one)[0], moves(one)) == ("", {"n1": "new"}), "a device that goes alone says nothing of the revision"
    nodes = fleet("%new? %new? old+ old+ old+ old+", **away(10, 0, 1))
    course = step(nodes, OLD, replace(NEW, lost=("n0", "n1")), rules=WIDE)
    assert why(course) == (
        "CanaryLost",
        "n0 and n1 lost squat.ai/edgetpu after they got it and before their bake was over.",
    )
    mixed = fleet("~new? %new? old+ old+ old+ old+", **away(10, 0, 1))
    said = "n0 and n1 became NotReady or lost squat.ai/edgetpu after they got it and before their bake was over."
    assert why(step(mixed, OLD, NEW, rules=WIDE)) == ("CanaryLost", said)
    others = fleet("%new? %new? %old+ %. old+ old+", **away(10, 0, 1))
    course = step(others, OLD, replace(NEW, lost=("n0", "n1")), rules=WIDE)
    assert (why(course)[0], moves(course)) == ("", {}), "others lack it as well, with or without a server"


def test_a_canary_that_serves_on_without_its_device_holds_its_step() -> None:
    course = step("%new+ old+ old+ old+", OLD, NEW)
    assert (why(course)[0], bool(state_of(course, "new").proven)) == ("", True)


def test_a_server_without_a_device_that_could_not_start_anew_keeps_what_was_rolled_back() -> None:
    assert moves(step("%new+ old+", OLD, replace(NEW, rolled_back="n1 failed.", reason="CanaryFailed"))) == {}
    assert moves(step("%new? old+", OLD, replace(NEW, rolled_back="n1 failed.", reason="CanaryFailed"))) == {
        "n0": "old"
    }


FAILED_LATER: dict[str, tuple[str, RevisionState, int | str, dict[str, str | None], str]] = {
    "as many as maxFailed go back alone": ("new+ new+ new! old+", PART, 1, {"n2": "old", "n3": "new"}, ""),
    "one more rolls it back": ("new+ new! new! old+", PART, 1, {f"n{n}": "old" for n in range(3)}, "NodesFailed"),
    "those that went back before count": (
        "new+ old+/new new! old+",
        PART,
        1,
        {"n0": "old", "n2": "old"},
        "NodesFailed",
    ),
    "with maxFailed 0 the first one does": (
        "new+ new+ new! old+",
        PART,
        0,
        {f"n{n}": "old" for n in range(3)},
        "NodesFailed",
    ),
    "a percentage is of the variant's nodes": (
        "new+ new! new! old+",
        PART,
        "50%",
        {"n1": "old", "n2": "old", "n3": "new"},
        "",
    ),
    "and never less than one": ("new+ new+ new! old+", PART, "1%", {"n2": "old", "n3": "new"}, ""),
    "the same once it is proven": ("new+ new! new! old+", PROVEN, 1, {f"n{n}": "old" for n in range(3)}, "NodesFailed"),
    "one that had failed before as well says nothing": (
        "new+ new! new!! old+",
        PROVEN,
        1,
        {"n1": "old", "n2": "old", "n3": "new"},
        "",
    ),
    "once it is completed a failure is the device's": ("new+ new! new! new!", COMPLETED, 1, {}, ""),
}


@pytest.mark.parametrize("case", FAILED_LATER)
def test_failures_after_the_first_step(case: str) -> None:
    text, target, allowed, expected, reason = FAILED_LATER[case]
    course = step(text, OLD, target, rules=replace(STEPPED, max_failed=allowed))
    assert (moves(course), why(course)[0]) == (expected, reason)
    assert all(move.urgent == (move.revision == "old") for move in course.moves)


def test_the_sentence_counts_and_names_the_first() -> None:
    said = "2 nodes failed and spec.rollout.maxFailed allows 1: n1 failed."
    assert why(step("new+ new! new! old+", OLD, PART, rules=STEPPED))[1] == said


def test_a_failed_node_that_went_back_is_not_tried_again_and_one_of_the_others_is() -> None:
    course = step("new+ new+ old+/new old+", OLD, PART, rules=STEPPED)
    assert moves(course) == {"n3": "new"}
    assert [(one.node, one.reason) for one in course.pending] == [("n2", "Failed")]
    assert course.pending[0].message == "It failed there on revision new, so it keeps another one."


def test_a_node_goes_back_to_what_it_failed_on_where_there_is_nothing_else() -> None:
    assert moves(step("new+ new!/old! new+ old+", OLD, PROVEN, rules=STEPPED))["n1"] == "old"


def test_with_no_revision_before_it_nothing_is_taken_from_nodes_that_serve() -> None:
    course = step("new+ new! new! new! .", PROVEN, rules=WIDE)
    assert (why(course)[0], moves(course)) == ("", {"n4": "new"})
    bad = replace(PROVEN, rolled_back="It failed.")
    assert moves(step("new+ new! ~new+ .", bad, rules=WIDE)) == {"n1": None}


def test_one_broken_device_rolls_no_older_revision_back_for_a_newer_one() -> None:
    """The old revision never was completed; the new one is proven on its canary."""
    nodes = "new+" + " old+" * 98 + " old!"
    first = step(nodes, OPEN, NEW)
    assert state_of(first, "old") == OPEN
    assert state_of(first, "new").proven == NOW
    assert first.stable == OPEN
    second = step(nodes, *first.revisions)
    assert state_of(second, "old") == OPEN
    assert len(second.moves) == 2
    back = step("new+ new! new!" + " old+" * 96 + " old!", OPEN, state_of(first, "new"), rules=with_rules(max_failed=0))
    assert why(back)[0] == "NodesFailed"
    assert set(moves(back).values()) == {"old"}


def test_one_failure_at_4999_of_5000_moves_one_node_back() -> None:
    nodes = fleet("new+ " * 4999 + "old+", n4321={"server": fleet("new!")[0].server, "failures": {"new": Failure()}})
    course = step(nodes, OLD, PROVEN, rules=with_rules(max_unavailable=1000))
    assert (moves(course), why(course)[0]) == ({"n4321": "old", "n4999": "new"}, "")


def test_a_superseded_revision_is_never_rolled_back_and_its_failed_nodes_go_to_what_is_approved() -> None:
    odd = replace(ODD, steps=1, proven=LONG_AGO + timedelta(hours=1))
    course = step("new+ odd! odd! odd! odd+", OLD, odd, PROVEN, rules=with_rules(max_unavailable=9))
    assert why(course, "odd") == ("", None)
    assert {moves(course)[name] for name in ("n1", "n2", "n3")} == {"new"}
    waits = step("odd! odd! new? old+", OLD, ODD, NEW, rules=WIDE)
    assert moves(waits) == {"n0": "old", "n1": "old"}, "to the one before, while the newest is not proven"
    assert why(waits, "odd") == ("", None)


def test_a_node_that_failed_on_a_superseded_revision_while_nothing_is_asked_for_goes_back_too() -> None:
    course = step("odd! old+", OLD, ODD, target=None)
    assert moves(course) == {"n0": "old"}
    assert why(course, "odd") == ("", None)


def test_a_node_that_failed_on_both_stays_where_it_is_while_neither_is_rolled_back() -> None:
    assert moves(step("odd!/old new? old+", OLD, ODD, NEW)) == {}
    assert moves(step("odd!/old<oldest new? old+", OLDEST, OLD, ODD, NEW)) == {"n0": "oldest"}


BACK: dict[str, tuple[str, tuple[RevisionState, ...], str | None]] = {
    "to what is approved": ("new!", (OLDEST, OLD, BAD), "old"),
    "rather than to what it ran": ("new!<oldest", (OLDEST, OLD, BAD), "old"),
    "to what it ran where it failed on that": ("new!/old<oldest", (OLDEST, OLD, BAD), "oldest"),
    "to what it failed on where there is no other": ("new!/old", (OLD, BAD), "old"),
    "to what it ran where nothing is proven": ("new!<odd", (ODD, BAD), "odd"),
    "not to what was rolled back": ("new!<odd", (replace(ODD, rolled_back="It failed."), BAD), None),
    "not to what is gone": ("new!<gone", (BAD,), None),
    "not to itself": ("new!<new", (BAD,), None),
}


@pytest.mark.parametrize("case", BACK)
def test_where_a_node_goes_back_to(case: str) -> None:
    text, revisions, expected = BACK[case]
    assert moves(step(text, *revisions)) == {"n0": expected}


def test_a_node_may_go_back_to_another_profiles_revision() -> None:
    course = step("new!<theirs old+", NEW, OLD, usable=frozenset({"theirs"}))
    assert moves(course) == {"n0": "old"}
    assert moves(step("new!<theirs", NEW, usable=frozenset({"theirs"}))) == {"n0": "theirs"}


def test_off_what_was_rolled_back_serving_nodes_go_within_the_budget_and_the_others_at_once() -> None:
    bad = replace(PROVEN, rolled_back="It failed.")
    nodes = fleet("new+ new+ new+ new! new? ~new+ ~new? #new+ #new!", n5={"moved": NOW - timedelta(minutes=2)})
    course = step(nodes, OLD, bad, rules=with_rules(max_unavailable=4))
    assert moves(course) == dict.fromkeys(("n3", "n4", "n5", "n6", "n8", "n0", "n1"), "old")
    assert {one.node: one.reason for one in course.pending} == {"n2": "MaxUnavailable", "n7": "Tainted"}
    assert course.phase is ROLLING_BACK
    assert all(move.urgent for move in course.moves)


def test_lost_nodes_of_later_steps_roll_it_back_where_the_others_are_not_lost() -> None:
    lost = " ".join(["~new+"] * 20 + ["new+"] * 20 + ["old+"] * 200)
    course = step(fleet(lost, **away(60, *range(20))), OLD, PROVEN)
    assert why(course) == ("NodesLost", "20 of 40 nodes became NotReady soon after they got it, n0 among them.")
    few = " ".join(["~new+"] * 12 + ["new+"] * 28 + ["old+"] * 200)
    assert why(step(fleet(few, **away(60, *range(12))), OLD, PROVEN))[0] == "NodesLost", "they are not among the others"
    long_since = {name: one | {"moved": LONG_AGO} for name, one in away(60, *range(20)).items()}
    assert why(step(fleet(lost, **long_since), OLD, PROVEN))[0] == "", "long after they got it"
    others = " ".join(["~new+"] * 20 + ["new+"] * 20 + ["old+"] * 100 + ["~old+"] * 100)
    assert why(step(fleet(others, **away(60, *range(20))), OLD, PROVEN))[0] == "", "others are lost as well"
    assert why(step(fleet(lost, **away(60, *range(20))), OLD, PROVEN, rules=with_rules(max_failed=20)))[0] == ""
    assert why(step(fleet(lost, **away(60, *range(20))), PROVEN))[0] == "", "there is none before it"
    assert why(step(fleet(lost, **away(60, *range(20))), OLD, COMPLETED))[0] == ""


def test_devices_lost_in_later_steps_roll_it_back_where_the_others_keep_theirs() -> None:
    lost = " ".join(["%new?"] * 20 + ["new+"] * 20 + ["old+"] * 200)
    course = step(fleet(lost, **away(60, *range(20))), OLD, PROVEN)
    assert why(course) == ("NodesLost", "20 of 40 nodes lost squat.ai/edgetpu soon after they got it, n0 among them.")
    serving = " ".join(["%new+"] * 20 + ["new+"] * 20 + ["old+"] * 200)
    assert why(step(fleet(serving), OLD, PROVEN))[0] == ""
    others = " ".join(["%new?"] * 20 + ["new+"] * 20 + ["old+"] * 100 + ["%old+"] * 100)
    assert why(step(fleet(others, **away(60, *range(20))), OLD, PROVEN))[0] == ""


def test_soon_after_is_within_the_deadline_and_the_longest_bake() -> None:
    rules = with_rules(steps=[(1, 30), (5, 600)])
    text = " ".join(["~new+"] * 20 + ["new+"] * 20 + ["old+"] * 200)

    def found(seconds: float) -> str:
        gone = {
            name: one | {"moved": one["away"] - timedelta(seconds=seconds)}
            for name, one in away(60, *range(20)).items()
        }
        return why(step(fleet(text, **gone), OLD, PROVEN, rules=rules))[0]

    assert (found(899), found(900)) == ("NodesLost", "")


def test_a_revision_without_a_node_is_not_judged_by_what_is_remembered_of_old_nodes() -> None:
    assert why(step("old+/new old+/new old+/new", OLD, NEW))[0] == ""
    assert why(step("old+/new old+/new old+/new", OLD, PART))[0] == "NodesFailed"


def test_variants_fail_alone() -> None:
    bad = variant("new! old+", OLD, NEW)
    good = variant(fleet("new+ old+", 5), OLD, PROVEN, name="q")
    one, other = plan_rollout([bad, good], WIDE, NOW).courses
    assert (one.phase, other.phase) == (ROLLING_BACK, RolloutPhase.ROLLING_OUT)
    assert why(other)[0] == ""
