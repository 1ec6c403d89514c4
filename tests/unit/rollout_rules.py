"""What must hold of every plan of a simulated rollout, counted from the machines and not from the planner's table."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from absent_rules import check_waits, counted_lost, died_of_it
from budget_rules import limit_of, only_held, parts_of
from ending_rules import check_endings
from late_rules import late, late_before
from listings import shuffled
from partition_rules import check_partitions
from room_rules import lacks_room
from shared_node_rules import check_shared_nodes
from step_rules import check_steps
from trial_rules import begins_to_pull, check_trials, gives_up, pulls_to_try
from wall_clock import open_by_the_clock

from edgesmith.api.names import daemon_set_name, holding_name, parse_next
from edgesmith.api.units import parse_share
from edgesmith.decide import decide
from edgesmith.decide.placement import placement
from edgesmith.decide.plan import Plan

if TYPE_CHECKING:
    from rollout_world import World

PLANNED_TWICE = 10
"""Every how many passes the plan is made a second time: where it were made for each, half the time went there."""


def check(world: World, plan: Plan) -> None:
    """What must hold of every plan, whatever it is for; counted from the machines, not from the planner's table."""
    if world.passes % PLANNED_TWICE == 0:
        again = shuffled(world.snapshot(), random.Random(world.passes))  # noqa: S311 -- an order that can be made again
        assert decide(again, world.now) == plan, (
            "the same snapshot gives the same plan, in whatever order it was listed"
        )
    assert len({move.node for move in plan.moves}) == len(plan.moves), "a node is moved once"
    rolled_back = {one.name for one in plan.status.revisions if one.rolled_back}
    wanted = {one.revision for one in plan.revisions}
    for move in plan.moves:
        found = world.nodes[move.node].labels
        label = found.get(world.label)
        given = placement(world.nodes[move.node], world.label).label
        assert move.reason
        assert (move.label, move.next) != (label, found.get(world.next_label)), "a move changes something"
        assert move.revision not in rolled_back or move.revision == label, "never to a revision that was rolled back"
        known = all(daemon_set_name(world.name, one or "") in world.revisions for one in (label, given))
        left = label in rolled_back or given in rolled_back or not known
        assert world.reachable(move.node) or left, "a NotReady node is left alone"
        untouched = left or move.revision is None or move.label == label
        over = _takes_over(world, move.node, move.label)
        assert untouched or over or world.takes_pods(move.node), "a node that takes no new pod is left alone"
        assert not move.staging or move.revision in wanted or move.revision in world.staging
    check_trials(world, plan)
    _check_servers(world, plan, rolled_back)
    _check_staged(world, plan, rolled_back)
    _check_complete(world, plan)
    _check_held(world, plan, rolled_back)
    _check_marks(world, plan, wanted)
    _check_hold(world, plan)
    _check_pulling(world, plan)
    check_endings(
        world, plan, limit_of(world, plan.status.nodes.desired, {move.node: move.label for move in plan.moves})
    )
    check_steps(world, plan)
    check_partitions(world, plan)
    check_shared_nodes(world, plan)
    check_waits(world, plan)


def _check_hold(world: World, plan: Plan) -> None:
    """While paused, and outside of windows, nodes go back or get their first revision, and nothing else happens.

    Where rollbackTo is met, all of them get what it puts in the place of another one.
    """
    rollout = world.edge_model.spec.rollout
    closed = bool(rollout.windows) and not open_by_the_clock(rollout.windows, world.now)
    if not (rollout.paused or closed):
        return
    free = set(rollout.override) if not rollout.paused else set()
    left = {entry.from_ for entry in rollout.rollback_to}
    marks = {one.name: one for one in plan.status.revisions}
    asked = {one.revision for one in plan.revisions} | {entry.revision for entry in rollout.rollback_to}
    met = {one.request for one in plan.status.requests if one.state in ("InEffect", "Done")}
    instead = {entry.revision for entry in rollout.rollback_to if f"rollbackTo[{entry.from_}]" in met}
    for move in plan.moves:
        label = world.nodes[move.node].labels.get(world.label)
        known = daemon_set_name(world.name, label or "") in world.revisions
        if not known:
            placed = placement(world.nodes[move.node], world.label)
            # What was on its way to a node that runs nothing arrives, or is left for want of room, and no server ends.
            arrives = placed.beside == "" and move.revision in (None, placed.label)
            approved = move.revision and marks[move.revision].completed_time
            assert arrives or move.revision in free & asked or approved, (move, "it is held, and goes forward")
            continue
        given = placement(world.nodes[move.node], world.label).label
        back = any(marks.get(one or "") and marks[one or ""].rolled_back for one in (label, given)) or label in left
        failed = not _works(world, move.node) or _failed_there(world, move.node)
        untouched = move.label == label and move.next is None
        arrives = move.label == given and move.next is None and _takes_over(world, move.node, given)
        goes_on = back or failed or untouched or arrives or move.revision in free & asked or move.revision in instead
        assert goes_on, (move, rollout, "it is held, and goes forward")


def _check_pulling(world: World, plan: Plan) -> None:
    """No more nodes pull at once than `maxPulling` says, but for those that go back."""
    allowed = world.edge_model.spec.rollout.max_pulling
    if allowed is None:
        return
    begins, pulling, comes_and_goes = begins_to_pull(world, plan), [*pulls_to_try(world, plan)], late(world, plan)
    rolled_back = {one.name for one in plan.status.revisions if one.rolled_back}
    moves = {move.node: move for move in plan.moves}
    own = {one.metadata.name for one in world.profiles}
    for name, node in world.nodes.items():
        placed, move = placement(node, world.label), moves.get(name)
        forward = move and not move.urgent and not {placed.label, placed.beside} & rolled_back
        if move and forward and move.revision not in (None, placed.label, placed.beside):
            begins.append(name)
        there = node.labels["device"] in own and world.reachable(name) and world.takes_pods(name)
        known = daemon_set_name(world.name, placed.label or "") in world.revisions
        pods = [pod for pod in (world.pods.get(name), world.next_pods.get(name)) if pod]
        shown = any(pod.revision == placed.label and (pod.pulled or pod.ready) for pod in pods)
        if name in comes_and_goes:
            continue
        if there and known and not shown and not (move and move.revision != placed.label):
            pulling.append(name)
    desired = plan.status.nodes.desired
    limit = parse_share(allowed, max(desired, 1))
    assert not begins or len({*begins, *pulling}) <= limit, (begins, pulling, limit, "too many pull")


def _check_servers(world: World, plan: Plan, rolled_back: set[str]) -> None:
    """Servers that work end only within the budget, and only where another one takes their place."""
    desired = plan.status.nodes.desired
    moved = {move.node: move.label for move in plan.moves}
    profiles = {name: one.labels["device"] for name, one in world.nodes.items()}
    served = {one.metadata.name for one in world.profiles}
    ends = [
        name
        for name, label in moved.items()
        if _works(world, name)
        and label != world.nodes[name].labels.get(world.label)
        and not _takes_over(world, name, label)
    ]
    for name in ends:
        nothing = moved[name] is None and profiles[name] in served
        assert not nothing or gives_up(world, plan, name), f"{name} serves and gets nothing instead"
        assert moved[name] is None or not _surges(world, profiles[name]), f"with Surge the server of {name} ends"
    down, comes_and_goes = _counted(world, plan, moved), late(world, plan)
    forward = [name for name in ends if not _leaves(world, name, rolled_back)]
    # Off a revision that was rolled back, or failed there, what it broke must not keep the rest on it: nodes on their
    # way count, and one that waits for its device, or for its taint to go, is not.
    there = [name for name in down if world.reachable(name) and world.takes_pods(name)]
    awaited = [name for name in there if name not in comes_and_goes]
    starting = [name for name in awaited if name in moved or not _tested(world, name)]
    for part, limit in parts_of(world, limit_of(world, desired, moved)):
        excused = _excused(world, part(down))
        taken = len(part(down)) - excused + len(part(ends))
        assert not part(forward) or taken <= limit, (down, excused, ends, limit, "too many servers end")
        assert not part(ends) or len(part(starting)) + len(part(ends)) <= limit, (starting, ends, limit)


def _counted(world: World, plan: Plan, moved: Mapping[str, str | None]) -> list[str]:
    """Nodes that count as unavailable, but for those that are left out since their devices are broken."""
    down = [name for name in world.nodes if _down(world, name) and moved.get(name, name)]
    # It serves nothing, so it is moved whatever else is down, and no server that ended before that did so for it.
    comes_and_goes = late_before(world, plan)
    lost = [name for name in down if not world.reachable(name) or name in comes_and_goes]
    return [name for name in down if name not in {*lost} - counted_lost(world, plan, lost)]


def _leaves(world: World, name: str, rolled_back: set[str]) -> bool:
    """Whether a node is to leave what it runs: that was rolled back, or failed there."""
    return world.nodes[name].labels.get(world.label) in rolled_back or _failed_there(world, name)


def _excused(world: World, down: Iterable[str]) -> int:
    """Broken devices that are left out: of each variant as many as `maxFailed` says."""
    broken = [name for name in down if _broken(world, name)]
    allowed = world.edge_model.spec.rollout.max_failed
    found = 0
    for profile in {world.nodes[name].labels["device"] for name in broken}:
        own = sum(one.labels["device"] == profile for one in world.nodes.values())
        found += min(
            sum(world.nodes[name].labels["device"] == profile for name in broken), max(parse_share(allowed, own), 1)
        )
    return found


def _tested(world: World, name: str) -> bool:
    """Whether the self-test of what a node runs has ended; one that was just moved has no pod yet."""
    pod = world.pods.get(name)
    return pod is not None and pod.selftest is not None


def _surges(world: World, name: str) -> bool:
    """Whether the nodes of a profile can have two servers and are to have them."""
    asking = any(one.spec.runtime.resources for one in world.profiles if one.metadata.name == name)
    return world.edge_model.spec.rollout.strategy == "Surge" and not asking


def _takes_over(world: World, name: str, label: str | None) -> bool:
    """Whether a server that is ready beside the old one is that of a revision."""
    pod = world.next_pods.get(name)
    return pod is not None and pod.ready and not pod.staging and not pod.terminating and pod.revision == label


def _check_staged(world: World, plan: Plan, rolled_back: set[str]) -> None:
    """No more nodes get something beside their server than `maxUnavailable` says, and nobody keeps it in vain."""
    moved = {move.node: move for move in plan.moves}
    after = {
        name: moved[name].next if name in moved else one.labels.get(world.next_label)
        for name, one in world.nodes.items()
    }
    fresh = [name for name, value in after.items() if value and not world.nodes[name].labels.get(world.next_label)]
    # One whose server is starting anew has a place already, so it costs none.
    fresh = [name for name in fresh if not _starts_anew(world, name)]
    own, comes_and_goes = {one.metadata.name for one in world.profiles}, late(world, plan)
    on_their_way = [
        name
        for name, value in after.items()
        if value and world.reachable(name) and world.takes_pods(name) and world.nodes[name].labels["device"] in own
        if name not in comes_and_goes and (name in moved or not (_works(world, name) and only_held(world, name)))
    ]
    labels = {name: one.label for name, one in moved.items()}
    forward = [name for name in fresh if _works(world, name) and not _leaves(world, name, rolled_back)]
    down = _counted(world, plan, labels)
    taken = {*down, *on_their_way}
    for part, limit in parts_of(world, limit_of(world, plan.status.nodes.desired, labels)):
        assert not part(fresh) or len(part(on_their_way)) <= limit, (
            fresh,
            on_their_way,
            limit,
            "too many make it ready",
        )
        left = len(part(taken)) - _excused(world, part(down))
        assert not part(forward) or left <= limit, (forward, taken, left, limit, "too many are down or begin")
    for name, value in after.items():
        assert parse_next(value)[0] not in rolled_back, f"{name} keeps what was rolled back"


def _starts_anew(world: World, name: str) -> bool:
    """Whether a machine that can be reached starts what it was given before, and that does not fail there."""
    label, pod = world.nodes[name].labels.get(world.label, ""), world.pods.get(name)
    shown = pod is not None and pod.revision == label == world.servers[name].runs and not pod.ready
    return shown and world.reachable(name) and not world.fails(name, label)


def _check_complete(world: World, plan: Plan) -> None:
    """Complete, and with it Ready, is said only while no node that is there makes something ready beside its server."""
    for one in plan.status.variants:
        own = [name for name, found in world.nodes.items() if found.labels["device"] == one.profile]
        staged = [name for name in own if {world.label, world.next_label} <= world.nodes[name].labels.keys()]
        there = [name for name in staged if world.reachable(name) and world.takes_pods(name)]
        there = [name for name in there if not lacks_room(world, name, placement(world.nodes[name], world.label).label)]
        assert one.state != "Complete" or not there, f"{there} are staged"


def _check_held(world: World, plan: Plan, rolled_back: set[str]) -> None:
    """Wherever a node runs or makes ready something newer than what was proven before it, the image of that is held.

    So is what is gone back to, until every node of it runs that. Nothing else is: what was rolled back, or has no
    DaemonSet any more, nobody goes back to. With `holdPrevious: false` nothing is.
    """
    holding = world.edge_model.spec.rollout.hold_previous
    there = {one.revision: one for one in world.revisions.values()}
    asked = {one.profile.metadata.name: one.revision for one in plan.revisions}
    images = {name: one.image for name, one in there.items()}
    images |= {one.revision: one.image for one in plan.revisions}
    deleted = {delete.name for delete in plan.deletes}
    for profile, target in asked.items():
        proven = {
            one.name: one.proven_time
            for one in plan.status.revisions
            if one.profile == profile and one.proven_time and one.name not in {target, *rolled_back}
        }
        back = max(proven, key=lambda name: (proven[name] or "", name), default=None)
        holds = [one for one in plan.holds if one.profile.metadata.name == profile]
        own = {one.revision for one in there.values() if one.profile == profile} | {target}
        run = {found.labels.get(world.label, "") for found in world.nodes.values() if found.labels["device"] == profile}
        late = {one for one in run & own if images[one] != images[target]}
        expected = [back] if back and back in there else []
        expected += [target] if target in world.holding and late and target not in rolled_back else []
        expected = expected if holding else []
        others = {one: {other for other in own if images[other] != images[one]} for one in expected}
        found = [(hold.revision, hold.image, set(hold.others)) for hold in holds]
        right = [(one, images[one], others[one]) for one in expected if others[one]]
        assert found == right, (found, right, "other images are held")
        assert not {daemon_set_name(world.name, one) for one in expected if one in there} & deleted
    for name, one in world.holding.items():
        wanted = any(hold.revision == name for hold in plan.holds)
        gone = holding_name(daemon_set_name(world.name, name)) in deleted
        assert wanted is not gone or one.profile.metadata.name not in asked


def _broken(world: World, name: str) -> bool:
    """Whether a node is down for a reason of its device: it is broken, is gone, or fails what others have proven.

    What is proven and is still the target may be rolled back for it, so that counts only once it is completed.
    """
    label = world.nodes[name].labels.get(world.label, "")
    known = _completed(world, label) or (_proven(world, label) and label not in _targets(world))
    fails = known and world.reachable(name) and world.fails(name, label)
    return world.devices[name].broken or not world.offers(name) or fails


def _works(world: World, name: str) -> bool:
    """Whether a server is ready and the API server knows it, whatever was found against it."""
    return world.reachable(name) and world.serves(name) and not _down(world, name)


def _failed_there(world: World, name: str) -> bool:
    """Whether what a node runs is not completed, and its server was started anew twice or ended itself.

    Machines alone start servers anew here, and they take them for what they die of, be it so or not.
    """
    server = world.servers[name]
    return not _completed(world, server.runs) and (server.restarts > 1 or server.ended > 0)


def _completed(world: World, revision: str | None) -> bool:
    """Whether a revision is known to be completed."""
    known = world.edge_model.status["revisions"]
    return any(one["name"] == revision and one.get("completedTime") for one in known)


def _proven(world: World, revision: str) -> bool:
    """Whether a revision is known to have held its steps, and is not rolled back."""
    known = world.edge_model.status["revisions"]
    return any(one["name"] == revision and one.get("provenTime") and not one.get("rolledBack") for one in known)


def _targets(world: World) -> set[str | None]:
    """The revisions that the status named last as what the variants are to run."""
    return {one.get("revision") for one in world.edge_model.status["variants"]}


def _down(world: World, name: str) -> bool:
    """Whether a reachable node was given a revision and does not serve it, or its machine died of what it was given.

    A node that went, or whose device did, or that takes no new pods, while what it was given is completed is offline
    and does not count, whatever it went for: nobody on the hub can tell a machine that died from a link that is down,
    and edge nodes are away all the time. So docs/rollout.md counts NotReady nodes with a revision that is not completed
    alone; `counted_lost` has how long.
    """
    label = world.nodes[name].labels.get(world.label)
    if label is None and name in world.lent:
        # One that is of another profile since then is no node of this EdgeModel.
        ours = world.nodes[name].labels["device"] in {one.metadata.name for one in world.profiles}
        return ours and world.reachable(name) and world.takes_pods(name)
    if label is None or not world.revisions.get(daemon_set_name(world.name, label)):
        return False
    if world.reachable(name):
        pod = world.pods.get(name)
        away = _completed(world, label) and not world.takes_pods(name)
        serves = (pod and pod.revision == label and pod.ready) or _takes_over(world, name, label)
        return not away and not serves
    return died_of_it(world, name)


def _check_marks(world: World, plan: Plan, wanted: set[str]) -> None:
    """A revision is completed only where enough nodes serve it; what an earlier one is known for does not change."""
    before = {one["name"]: one for one in world.edge_model.status.get("revisions", [])}
    for one in plan.status.revisions:
        was = before.get(one.name, {})
        if one.completed_time and not was.get("completedTime"):
            own = [name for name, found in world.nodes.items() if found.labels.get(world.label) == one.name]
            serving = sum((pod := world.pods.get(name)) is not None and pod.ready for name in own)
            desired = sum(found.labels["device"] == one.profile for found in world.nodes.values())
            allowed = max(
                parse_share(world.edge_model.spec.rollout.max_unavailable, desired), parse_share("10%", desired)
            )
            assert serving >= max(1, desired - allowed), "completed by too few"
        if one.rolled_back and not was.get("rolledBack"):
            if one.reason == "RollbackRequested":
                assert any(one.name == entry.from_ for entry in world.edge_model.spec.rollout.rollback_to), (
                    "nobody asked"
                )
                continue
            assert one.name in wanted, "only what the spec asks for is rolled back"
            assert not one.completed_time, "never what was completed, but by request"
