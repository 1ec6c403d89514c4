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
from test_combined_simulation import combined, zoned

from edgesmith.decide.plan import Plan

SEEDS = range(2)


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

    def decided(self) -> Plan:
        """What one pass decides."""
        plan = super().decided()
        digest = hashlib.sha256(repr(plain(plan)).encode()).hexdigest()
        sys.stdout.write(f"{self.name} {self.passes} {digest}\n")
        return plan


def main() -> None:
    """The lives of some fleets of one EdgeModel and of several."""
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
