"""The rules of the simulation notice planners that break them: each of these is one in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import test_absent_simulation
import test_return_simulation
from test_partition_simulation import by_partitions
from test_rollout_simulation import live

from edgesmith.decide import absent, back, choose, judge

_progress, _measured = judge._progress, judge._measured


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
    "no server out of reach is kept": (back, "_keeps", lambda *_: False, returning, 0, "it was last heard of"),
}


@pytest.mark.parametrize("name", PLANNERS)
def test_a_planner_that_breaks_a_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, function, broken, lives, first, found = PLANNERS[name]
    monkeypatch.setattr(module, function, broken)
    with pytest.raises(AssertionError, match=found):
        every(lives, range(first, first + 8))
