"""When a node's turn begins: each at its own time within `spec.rollout.jitter`, so that not all pull at once.

The time is made of the node's name and the revision. It is the same in every pass, and another one for the next
revision, so that no node is always the last.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from edgesmith.api.names import short_hash
from edgesmith.decide.fleet import NodeState, Rules
from edgesmith.decide.judge import Judgement
from edgesmith.decide.window import ANY_TIME

SLOTS = 64
"""At how many times turns begin: for each of them a pass looks again."""


def waits_until(judged: Judgement, node: NodeState, rules: Rules, now: datetime) -> datetime | None:
    """When the turn of a node begins that is to follow to the target; None where it has begun.

    It counts from when the target was proven, its newest partition opened or the window did, whichever was last. Turns
    begin within the jitter, and within the window where that is shorter. Windows do not count for what overrides them.

    Nobody waits for what was completed once, or takes the place of what is left.
    """
    target = judged.target
    if target is None or not rules.jitter or target.proven is None or target.completed or judged.variant.left:
        return None
    window = ANY_TIME if judged.variant.overridden else rules.opening
    times = (target.proven, target.opened if rules.partitions else None, window.since)
    within = min(rules.jitter, window.edge - window.since) if window.edge and window.since else rules.jitter
    turn = max(time for time in times if time) + turn_of(node.name, target.revision, within)
    return turn if turn > now else None


def turn_of(node: str, revision: str, jitter: timedelta) -> timedelta:
    """How long after the beginning a node's turn is: less than the whole jitter."""
    return jitter * (int(short_hash(f"{node} {revision}", 8), 16) % SLOTS) / SLOTS
