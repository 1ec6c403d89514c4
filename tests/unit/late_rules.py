"""Nodes that come and go: which of them the others wait for no longer, by what is kept of them in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesmith.api.units import parse_duration
from edgesmith.decide.placement import placement
from edgesmith.decide.plan import Plan
from edgesmith.decide.record import parse_record

if TYPE_CHECKING:
    from rollout_world import World


def wavering(world: World, plan: Plan) -> set[str]:
    """Nodes that went first `progressDeadline` ago or longer since they got what they have, after a pass."""
    return _wavering(world, plan) - {move.node for move in plan.moves}


def _wavering(world: World, plan: Plan) -> set[str]:
    """The same with those that are given something else in this pass."""
    deadline = parse_duration(world.edge_model.spec.rollout.progress_deadline)
    told = {name: one.records.get(world.label) for name, one in world.nodes.items()}
    told |= {one.node: one.record for one in plan.records}
    found = set()
    for name, text in told.items():
        record = parse_record(text, world.now) if text and '"unsteady"' in text else None
        given = placement(world.nodes[name], world.label).label
        if record and record.revision == given and record.unsteady and world.now - record.unsteady >= deadline:
            found.add(name)
    return found


def late(world: World, plan: Plan) -> set[str]:
    """Those of them that do not serve what they were given, or are away."""
    return _not_serving(world, wavering(world, plan))


def late_before(world: World, plan: Plan) -> set[str]:
    """The same before a pass: one that is given something else in it has a place again from then on."""
    return _not_serving(world, _wavering(world, plan))


def _not_serving(world: World, names: set[str]) -> set[str]:
    return {name for name in names if not (world.reachable(name) and _serves(world, name))}


def _serves(world: World, name: str) -> bool:
    placed = placement(world.nodes[name], world.label)
    pod = world.pods.get(name) if placed.beside is None else world.next_pods.get(name)
    return pod is not None and pod.ready and not pod.staging and pod.revision == placed.label
