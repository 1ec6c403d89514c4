"""One step of the planner at a time: what each rule does."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from edgesmith.decide.plan import Hold
from edgesmith.decide.rollout import Course, Health, NodeState, Phase, RevisionState, Rules, Variant, plan_rollout

NOW = datetime.fromisoformat("2030-01-01T12:00:00+00:00")
LONG_AGO = NOW - timedelta(days=9)
RULES = Rules(canary_nodes=1, bake=timedelta(seconds=30), budget=2)

OLD = RevisionState("old", LONG_AGO, proven=LONG_AGO, completed=LONG_AGO)
NEW = RevisionState("new", NOW - timedelta(minutes=9))
PROVEN = RevisionState("new", NOW - timedelta(minutes=9), proven=NOW - timedelta(minutes=5))
COMPLETED = RevisionState("new", NOW - timedelta(minutes=9), proven=NOW - timedelta(minutes=5), completed=NOW)

LETTERS = {".": Health.IDLE, "?": Health.STARTING, "+": Health.SERVING, "!": Health.FAILED}


def fleet(text: str, serving_for: float = 600) -> tuple[NodeState, ...]:
    """Nodes n0, n1, … from words: `old+` serves, `new?` starts, `new!` failed, `.` has no label, `~old+` is offline."""
    nodes = []
    for index, word in enumerate(text.split()):
        offline, label = word.startswith("~"), word.strip("~.?+!") or None
        health = LETTERS[word[-1]]
        since = NOW - timedelta(seconds=serving_for) if health is Health.SERVING else None
        nodes.append(NodeState(f"n{index}", not offline, label, health, since, note="failed" if "!" in word else ""))
    return tuple(nodes)


def step(text: str, *revisions: RevisionState, target: str | None = "new", rules: Rules = RULES) -> Course:
    """The next step of one variant."""
    return plan_rollout([Variant("p", target, revisions, fleet(text))], rules, NOW)[0]


def moves(course: Course) -> dict[str, str | None]:
    return {move.node: move.revision for move in course.moves}


STEPS = {
    "the first revision has a canary": (". . .", (NEW,), {"n0": "new"}, Phase.CANARY),
    "the canary is a healthy node": ("old! old? . old+ old+", (OLD, NEW), {"n3": "new"}, Phase.CANARY),
    "one that tries another unproven revision is the canary": (
        "old+ odd+",
        (OLD, RevisionState("odd", LONG_AGO), NEW),
        {"n1": "new"},
        Phase.CANARY,
    ),
    "an offline canary is replaced": ("~new+ old+ old+", (OLD, NEW), {"n1": "new"}, Phase.CANARY),
    "an offline canary is not waited for": ("~new? new+ old+", (OLD, NEW), {"n2": "new"}, Phase.ROLLING_OUT),
    "while the canary starts the others wait": ("new? old+ old+", (OLD, NEW), {}, Phase.CANARY),
    "a node that joins meanwhile gets what is approved": ("new? old+ .", (OLD, NEW), {"n2": "old"}, Phase.CANARY),
    "a proven revision goes on within the budget": (
        "new+ old+ old+ old+",
        (OLD, PROVEN),
        {"n1": "new", "n2": "new"},
        Phase.ROLLING_OUT,
    ),
    "nodes on their way take their place": ("new? old+ old+ old+", (OLD, PROVEN), {"n1": "new"}, Phase.ROLLING_OUT),
    "offline nodes take none": (
        "new+ ~new? ~old+ old+ old+",
        (OLD, PROVEN),
        {"n3": "new", "n4": "new"},
        Phase.ROLLING_OUT,
    ),
    "who serves nothing goes first": (
        "new+ old+ old+ . .",
        (OLD, PROVEN),
        {"n3": "new", "n4": "new"},
        Phase.ROLLING_OUT,
    ),
    "who is on its way already costs nothing more": (
        "new+ old? old? old+",
        (OLD, PROVEN),
        {"n1": "new", "n2": "new"},
        Phase.ROLLING_OUT,
    ),
    "a failed canary sends its nodes back and nobody else": (
        "new! old+ old+",
        (OLD, NEW),
        {"n0": "old"},
        Phase.ROLLING_BACK,
    ),
    "with none before it the label goes": ("new! . .", (NEW,), {"n0": None}, Phase.ROLLING_BACK),
    "a rollback knows no budget and no link": (
        "new+ new+ new+ new! ~new+ old+",
        (OLD, PROVEN),
        {"n0": "old", "n1": "old", "n2": "old", "n3": "old", "n4": "old"},
        Phase.ROLLING_BACK,
    ),
    "a proven revision with none before it stays where it serves": (
        "new+ new! .",
        (PROVEN,),
        {"n2": "new"},
        Phase.ROLLING_OUT,
    ),
    "once complete, a failure is a broken node": ("new+ new!", (OLD, COMPLETED), {}, Phase.DEGRADED),
    "a node that failed before goes last": ("new+ old! old? ", (OLD, PROVEN), {"n2": "new"}, Phase.ROLLING_OUT),
    "and then it goes": ("new+ old! new+", (OLD, PROVEN), {"n1": "new"}, Phase.ROLLING_OUT),
    "failures on it stop those who serve": ("new! new! new+ old+", (OLD, COMPLETED), {}, Phase.DEGRADED),
    "but not those with nothing to lose": ("new! new! new+ .", (OLD, COMPLETED), {"n3": "new"}, Phase.ROLLING_OUT),
    "a foreign label goes": ("what. ~what.", (NEW,), {"n0": "new", "n1": None}, Phase.CANARY),
    "a withdrawn one is not tried again": (
        "old+ old+",
        (OLD, RevisionState("new", NOW, withdrawn="n0 failed.")),
        {},
        Phase.ROLLED_BACK,
    ),
    "with it taken back, other experiments end too": (
        "odd+ old+",
        (OLD, RevisionState("odd", LONG_AGO), RevisionState("new", NOW, withdrawn="n0 failed.")),
        {"n0": "old"},
        Phase.ROLLING_BACK,
    ),
    "a revision that held before needs no canary": (
        "new+ new+ new+",
        (RevisionState("new", NOW, proven=NOW, completed=NOW), RevisionState("old", LONG_AGO, LONG_AGO, LONG_AGO)),
        {},
        Phase.COMPLETE,
    ),
    "all offline": ("~. ~.", (NEW,), {}, Phase.WAITING),
    "nobody there": ("", (NEW,), {}, Phase.NO_NODES),
}


@pytest.mark.parametrize("case", STEPS)
def test_one_step(case: str) -> None:
    text, revisions, expected, phase = STEPS[case]
    course = step(text, *revisions)
    assert (moves(course), course.phase) == (expected, phase)


def test_a_canary_bakes_and_says_when_to_look_again() -> None:
    nodes = fleet("new+ old+", serving_for=10)
    course = plan_rollout([Variant("p", "new", (OLD, NEW), nodes)], RULES, NOW)[0]
    assert (course.moves, course.look_again) == ((), 20.0)
    assert course.holds == (Hold("n1", "It waits until revision new has held on its canary."),)
    course = plan_rollout([Variant("p", "new", (OLD, NEW), nodes)], RULES, NOW + timedelta(seconds=20))[0]
    assert course.target
    assert course.target.proven == NOW + timedelta(seconds=20)


def test_two_canaries_must_both_hold() -> None:
    rules = Rules(canary_nodes=2, bake=timedelta(0), budget=5)
    assert step("new+ old+ old+", OLD, NEW, rules=rules).phase is Phase.CANARY
    assert step("new+ new? old+", OLD, NEW, rules=rules).phase is Phase.CANARY
    assert step("new+ new+ old+", OLD, NEW, rules=rules).phase is Phase.ROLLING_OUT
    assert step("new+", OLD, NEW, rules=rules).phase is Phase.COMPLETE


def test_completion_is_noted_when_every_reachable_node_serves_it() -> None:
    def completed(text: str) -> datetime | None:
        target = step(text, OLD, PROVEN).target
        return target.completed if target else None

    assert completed("new+ new+ ~old+") == NOW
    assert completed("new+ new?") is None
    assert completed("new+ old+") is None
    assert completed("~new+") is None


def test_without_a_target_nodes_keep_what_they_have() -> None:
    course = step("new+ old+ .", OLD, PROVEN, target=None)
    assert moves(course) == {"n2": "new"}
    assert course.phase is Phase.WAITING


def test_without_a_target_a_failing_canary_is_still_taken_back() -> None:
    assert moves(step("new! old+", OLD, NEW, target=None)) == {"n0": "old"}


def test_a_superseded_revision_that_fails_is_taken_back_to_the_target() -> None:
    course = step("new+ odd!", OLD, RevisionState("odd", LONG_AGO, proven=LONG_AGO), PROVEN)
    assert moves(course) == {"n1": "new"}


def test_variants_share_the_budget_and_nothing_else() -> None:
    one = Variant("p", "new", (OLD, PROVEN), fleet("new+ old+ old+ old+"))
    other = Variant("q", "new", (OLD, PROVEN), tuple(fleet("new+ old+ old+")))
    first, second = plan_rollout([one, other], RULES, NOW)
    assert (len(first.moves), len(second.moves)) == (2, 0)
    assert "spec.rollout.maxUnavailable allows (2)" in second.holds[0].reason
    broken = Variant("p", "new", (OLD, COMPLETED), fleet("new! new! new!"))
    assert len(plan_rollout([broken, other], RULES, NOW)[1].moves) == 2


def test_nodes_on_their_way_back_take_their_place_in_the_budget_of_others() -> None:
    failing = Variant("p", "new", (OLD, NEW), fleet("new! old+"))
    other = Variant("q", "new", (OLD, PROVEN), fleet("new+ old+ old+ old+"))
    back, onward = plan_rollout([failing, other], RULES, NOW)
    assert (len(back.moves), len(onward.moves)) == (1, 1)


def test_every_hold_is_a_sentence() -> None:
    course = step("new+ old+ old+ old+ old! ~old+", OLD, PROVEN)
    assert {hold.node: hold.reason for hold in course.holds} == {
        "n3": "As many nodes as spec.rollout.maxUnavailable allows (2) are without a ready server.",
        "n4": "It failed on revision old, so it is moved last.",
        "n5": "It is offline and will be caught up when it returns.",
    }


def test_a_node_that_waits_for_another_variants_share_of_the_budget_is_not_in_trouble() -> None:
    one = Variant("a", "new", (NEW,), fleet("new?"))
    two = Variant("b", "new", (OLD, PROVEN), fleet("new+ old+"))
    _, waits = plan_rollout([one, two], Rules(canary_nodes=1, bake=timedelta(seconds=30), budget=1), NOW)
    assert (moves(waits), waits.phase) == ({}, Phase.ROLLING_OUT)
