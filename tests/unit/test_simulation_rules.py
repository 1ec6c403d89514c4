"""The rules of the simulation notice planners that break them: each of these is one in one place."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
import test_absent_simulation
import test_return_simulation
from fleet_life import ROLLOUT, crash
from fleets import fleet
from test_partition_simulation import by_partitions
from test_rollout_simulation import live
from test_shared_nodes_simulation import together, trying
from test_small_profiles_simulation import of_small_profiles
from test_trial_simulation import of_two_profiles, tried

from edgesmith.decide import absent, back, budget, choose, judge, partitions, rollout, view
from edgesmith.decide.budget import Budget
from edgesmith.decide.neighbours import Neighbours
from edgesmith.decide.record import Record
from edgesmith.decide.strategy import Strategy
from edgesmith.decide.trial_nodes import Fleet

decided = import_module("edgesmith.decide.decide")
"""The module, which has the name of its function."""

_progress, _measured, _choose, _advance = judge._progress, judge._measured, choose.choose, partitions.advance
_look, _kept, _recorded = Neighbours.__init__, decided._kept, decided._recorded
_moved_to = Record.moved_to


def in_steps(seed: int) -> None:
    live((seed,), "30s")


def more_nodes(case: Any) -> Any:
    target, step, missing = _progress(case)
    return target, step, missing + 5 if step else missing


def no_later_step(case: Any) -> Any:
    target, step, missing = _progress(case)
    if target.steps and not target.proven and case.own:
        return replace(target, proven=case.after), None, 0
    return target, step, missing


def all_promoted(case: Any, *others: Any) -> Any:
    return _measured(replace(case, variant=replace(case.variant, promoted=99)), *others)


def all_served(case: Any) -> Any:
    return replace(case.target, completed=case.now) if case.target.proven else case.target


def without_a_bake(parts: Any, *others: Any) -> Any:
    return _advance(replace(parts, bake=timedelta(0)), *others)


def again(judged: Any, *others: Any) -> Any:
    chosen = _choose(judged, *others)
    for node in judged.variant.nodes:
        for name in sorted(judged.rolled_back):
            if node.serving and node.beside is None and node.movable and node.name not in chosen.moves:
                chosen.move(node, name, "It is tried again.")
    return chosen


def all_at_once(self: Any, snapshot: Any, now: Any) -> None:
    _look(self, replace(snapshot, claimed=frozenset()), now)


class _Nobody:
    """No other EdgeModel."""

    def keep(self, _: str) -> str:
        return ""

    at_work = keep


def alone(profile_of: Any, servers: Any, label_key: str, _: Any) -> Fleet:
    return Fleet(profile_of, servers, label_key, _Nobody())


def as_listed(seen: Any, moved: Any) -> Any:
    order = [one.name for one in seen.snapshot.nodes]
    return tuple(sorted(_kept(seen, moved), key=lambda one: order.index(one.node)))


def forgotten(seen: Any, move: Any) -> Any:
    made = _recorded(seen, move)
    return made if made.revision else replace(made, record=None)


def nowhere_from(record: Any, revision: str, label: str | None, *others: Any) -> Any:
    return replace(_moved_to(record, revision, label, *others), previous=None)


def crashing(seed: int) -> None:
    """A rollout with Replace in a fleet whose servers are often started anew."""
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    world = fleet(12, ROLLOUT | {"maxUnavailable": 2, "strategy": "Replace"}, seed=seed)
    world.publish("b")
    for _ in range(120):
        crash(world, rng)
        world.pass_()
        world.tick(5)


def lending(seed: int) -> None:
    """Trials on devices that servers hold."""
    world = tried(3, ROLLOUT, profiles=("amd64",), seed=seed)
    world.publish("b")
    for _ in range(60):
        world.pass_()
        world.tick(10)
    assert world.ways_back == 1, "a node was given the winner, or what it ran"


def with_trials(seed: int) -> None:
    trying(seed, (0, 5, 10))


def returning(_: int) -> None:
    test_return_simulation.test_a_site_that_returns_after_a_rollback_goes_back_within_max_unavailable("Surge")


def pulling(_: int) -> None:
    test_absent_simulation.test_nodes_that_go_while_they_pull_hold_the_others_up_for_the_deadline("Surge", "power")


def dying(_: int) -> None:
    test_absent_simulation.test_machines_that_died_of_what_was_replaced_since_keep_nobody_from_what_mends_it()


def every(lives: Callable[[int], None], seeds: Iterable[int]) -> None:
    for seed in seeds:
        lives(seed)


PLANNERS: dict[str, tuple[Any, str, Callable[..., Any], Callable[[int], None], int, str]] = {
    "five nodes too many in each step": (judge, "_progress", more_nodes, in_steps, 0, "try it at once"),
    "no bake": (judge._Case, "steady", lambda _, node, __: node.serving, in_steps, 0, "held"),
    "no later step": (judge, "_progress", no_later_step, in_steps, 5, "proven before it held them"),
    "everything promoted": (judge, "_measured", all_promoted, in_steps, 0, "held by too few|nobody promoted it"),
    "never too many failures": (judge, "failed_on", lambda *_: [], by_partitions, 3, "failed, and it stays"),
    "no jitter": (choose, "waits_until", lambda *_: None, by_partitions, 0, "before its turn"),
    "a place for ever": (absent, "_is_awaited", lambda *_: True, pulling, 0, "wait for nodes that are away"),
    "what may have died has none": (absent, "_is_harmless", lambda _: True, dying, 0, "too many are down or begin"),
    "servers end, however many are down": (
        Budget,
        "switch",
        lambda *_, **__: True,
        crashing,
        0,
        "too many servers end",
    ),
    "no part of the budget": (rollout, "budget_within", lambda *given: given[-1], of_small_profiles, 0, "too many"),
    "a place for everybody who pulls": (budget, "_pulls", lambda _: False, of_two_profiles, 0, "too many pull"),
    "a place for every trial": (view, "within", lambda one, *_: one, of_two_profiles, 0, "too many pull"),
    "no partition is waited for": (partitions, "_lacks", lambda *_: False, by_partitions, 0, "has not served it yet"),
    "no partition bakes": (judge, "advance", without_a_bake, by_partitions, 0, "is baking"),
    "neither pauses nor windows": (choose, "hold_of", lambda *_, **__: None, in_steps, 0, "held, and goes forward"),
    "several at work on a node": (Neighbours, "_making_ready", lambda *_: None, together, 0, "is at work there"),
    "passes that do not look at each other": (Neighbours, "__init__", all_at_once, together, 0, "another pass"),
    "no priority": (Neighbours, "_awaited", lambda *_: None, together, 0, "has a higher priority"),
    "a trial keeps nobody": (Neighbours, "_tries", lambda *_: None, with_trials, 0, "tries candidates there"),
    "a trial waits for nobody": (view, "Fleet", alone, with_trials, 0, "at work there|candidates there"),
    "what a trial ended is not written down": (decided, "_recorded", forgotten, lending, 0, "served .* is forgotten"),
    "from a trial no way leads back": (
        Record,
        "moved_to",
        nowhere_from,
        lending,
        0,
        "go back to .*, which is forgotten",
    ),
    "what was rolled back comes again": (rollout, "choose", again, in_steps, 0, "that was rolled back"),
    "Surge as Replace": (view, "strategy_of", lambda *_: Strategy("Replace"), in_steps, 0, "with Surge the server of"),
    "records as nodes were listed": (decided, "_kept", as_listed, in_steps, 0, "in whatever order it was listed"),
    "no image is held": (decided, "held", lambda *_: (), in_steps, 0, "other images are held"),
    "a few are enough": (judge, "_completed", all_served, in_steps, 0, "completed by too few"),
    "no server out of reach is kept": (back, "_keeps", lambda *_: False, returning, 0, "it was last heard of"),
}


@pytest.mark.parametrize("name", PLANNERS)
def test_a_planner_that_breaks_a_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, function, broken, lives, first, found = PLANNERS[name]
    monkeypatch.setattr(module, function, broken)
    with pytest.raises(AssertionError, match=found):
        every(lives, range(first, first + 8))


def test_a_node_that_gave_up_its_server_is_given_another_one() -> None:
    lending(0)
