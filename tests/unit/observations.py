"""One node in a few words, and what is seen and kept of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from snapshots import NOW, node, pod

from edgesmith.decide.allowance import Allowance, Terms
from edgesmith.decide.fleet import ServerState
from edgesmith.decide.observe import Observation, observe
from edgesmith.decide.placement import Placement
from edgesmith.decide.record import Record
from edgesmith.decide.snapshot import Pod
from edgesmith.decide.taints import Taint

DEADLINE, BAKE = timedelta(minutes=5), timedelta(minutes=1)
ALLOWED = Allowance(DEADLINE, unfinished=True)
BAKING = replace(ALLOWED, bake=BAKE)
COMPLETED = Allowance(DEADLINE, unfinished=False)
TAINTED = (Taint("maintenance", "", "NoSchedule"),)
NONE, STARTING, STAGED, SERVING, FAILED = ServerState


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def starting(**more: Any) -> Pod:
    return pod("n", "r", **({"ready": False} | more))


def record(state: ServerState = STARTING, ago: float = 10, **more: Any) -> Record:
    """What was kept of a node on revision r, in this state for so many seconds."""
    since = NOW - seconds(ago)
    return replace(Record("r", state, since, since, run=observed(pod("n", "r")).run), **more)


def see(*pods: Pod, kept: Record | None = None, after: float = 0, **more: Any) -> Observation:
    """What is seen of node n, whose label names r, so many seconds after NOW."""
    facts: dict[str, Any] = {"label": "r", "known": True, "allowed": ALLOWED, "now": NOW + seconds(after)} | more
    at = replace(node("n"), ready=facts.pop("ready", True), taints=facts.pop("taints", ()))
    at = replace(at, offers=facts.pop("offers", {}), unheard=facts.pop("unheard", None), boot=facts.pop("boot", ""))
    placed = facts.pop("placed", Placement(None))
    return observe(at, Terms(**facts), pods, kept, placed)


def observed(*pods: Pod, kept: Record | None = None, **more: Any) -> Record:
    """What is kept of it."""
    found = see(*pods, kept=kept, **more).record
    assert found is not None
    return found
