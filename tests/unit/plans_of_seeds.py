"""Prints a digest of each plan of some simulated fleets, in order: what is the same in every process."""

from __future__ import annotations

import hashlib
import random
import sys
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from fleet_life import grow_old
from fleets import fleet_of
from pydantic import BaseModel
from rollout_world import World
from shared_fleet import grow_old_together, profiles_of, shared_of
from simulated_kubelets import DEADLY
from test_combined_simulation import combined, zoned

from edgesmith.decide import decide
from edgesmith.decide.plan import Plan

SEEDS = range(1)
CANARIES = {"steps": [{"nodes": 4, "bake": "2m"}], "maxUnavailable": "100%", "progressDeadline": "5m"}


def plain(value: Any) -> Any:
    """A value without objects: sets, whose order says nothing, are sorted; the order of all else counts."""
    if isinstance(value, BaseModel):
        return plain(dict(value))
    if is_dataclass(value):
        return [(one.name, plain(getattr(value, one.name))) for one in fields(value)]
    if isinstance(value, dict):
        return [(plain(key), plain(one)) for key, one in value.items()]
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=repr)
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


@dataclass
class Printed(World):
    """A fleet whose plans are printed."""

    def note_end(self, name: str) -> None:
        """Nothing is held against the rules here."""

    def decided(self) -> Plan:
        """What one pass decides."""
        # The rules are checked elsewhere, and take longer than the plan.
        plan = decide(self.snapshot(), self.now)
        self.passes += 1
        digest = hashlib.sha256(repr(plain(plan)).encode()).hexdigest()
        sys.stdout.write(f"{self.name} {self.passes} {digest}\n")
        return plan


def lose_canaries() -> None:
    """Several canaries leave, and the others die at once: the plan names them."""
    world = fleet_of(Printed, 12, CANARIES)
    world.publish("b", DEADLY)
    for _ in range(20):
        world.pass_()
        if len(world.nodes) == 12:
            for name in sorted(world.labelled("b"))[:2]:
                world.remove(name)
        world.tick(20)


def main() -> None:
    """The lives of some fleets of one EdgeModel and of several."""
    lose_canaries()
    for seed in SEEDS:
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        world = fleet_of(Printed, 12, combined(rng), profiles=("amd64", "arm64"), seed=seed)
        grow_old(world, rng, zoned)
        names = ("parts", "anomaly")
        rollouts = {name: combined(rng) for name in names}
        worlds = shared_of(Printed, 6, rollouts, seed=seed, profiles=profiles_of(rng, names))
        grow_old_together(worlds, rng, zoned)


if __name__ == "__main__":
    main()
