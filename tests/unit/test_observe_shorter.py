"""Nodes that serve as their records say are observed in a shorter way, with the same result."""

from __future__ import annotations

import random
from typing import Any

import pytest
from fleet_life import ROLLOUT, disturb
from fleets import fleet

from edgesmith.decide import observe, view


def test_the_shorter_way_sees_what_the_whole_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, shorter = observe.observe, observe._steady
    taken = []

    def both(*arguments: Any) -> observe.Observation:
        found = whole(*arguments)
        if shorter(*arguments) is None:
            return found
        monkeypatch.setattr(observe, "_steady", lambda *_: None)
        assert whole(*arguments) == found
        monkeypatch.setattr(observe, "_steady", shorter)
        taken.append(found)
        return found

    monkeypatch.setattr(view, "observe", both)
    for seed in range(6):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        world = fleet(10, ROLLOUT, seed=seed, asking=seed % 2 == 1)
        for serial in range(60):
            disturb(world, rng, serial)
            world.pass_()
            world.tick(20)
    assert len(taken) > 1000
