"""One step of the planner at a time: what nodes that are lost with a revision say of it, and lost devices."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from rollout_words import (
    COMPLETED,
    LONG_AGO,
    NEW,
    OLD,
    PART,
    PROVEN,
    TWO,
    WIDE,
    fleet,
    moves,
    state_of,
    step,
    why,
    with_rules,
)
from snapshots import NOW

from edgesmith.decide.fleet import RolloutPhase


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
