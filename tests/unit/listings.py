"""What is listed comes in no order that anybody may rely on."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from typing import Any

from edgesmith.decide.snapshot import Snapshot


def shuffled(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """The same snapshot, with everything in it that was listed in another order."""
    listed: dict[str, Any] = {}
    for one in fields(snapshot):
        value = getattr(snapshot, one.name)
        if isinstance(value, tuple):
            listed[one.name] = tuple(rng.sample(value, len(value)))
        elif isinstance(value, dict):
            listed[one.name] = dict(rng.sample(sorted(value.items()), len(value)))
    return replace(snapshot, **listed)
