"""Nodes that the API server refuses writes to: they keep no others out, and are not tried again at once for ever."""

from __future__ import annotations

import pytest
from played_hub import R1, Hub, plan
from snapshots import LABEL

from edgesmith.cluster.apply import MOVES_PER_PASS, RECORDS_PER_PASS
from edgesmith.cluster.done import Done
from edgesmith.cluster.errors import AdmissionDenied, ClusterError, Unreachable
from edgesmith.decide.plan import Keep, Move


def missing(hub: Hub, what: str) -> list[str]:
    """Nodes without what is to be written, in their order."""
    nodes = hub.objects.nodes.all()
    done = {one.name for one in nodes if (one.labels if what == "move" else one.records).get(LABEL) == R1}
    return [f"n{number}" for number in range(len(nodes)) if f"n{number}" not in done]


async def write(hub: Hub, what: str) -> Done:
    """A pass that writes to every node that is not as it should be."""
    nodes = missing(hub, what)
    moves = [Move(node, R1, "Because.", record=R1) for node in nodes if what == "move"]
    records = [Keep(node, R1) for node in nodes if what == "record"]
    return await hub.apply(plan(revisions=["amd64"], moves=moves, records=records))


@pytest.mark.parametrize("kind", [AdmissionDenied, Unreachable])
@pytest.mark.parametrize(("what", "most"), [("move", MOVES_PER_PASS), ("record", RECORDS_PER_PASS)])
@pytest.mark.parametrize("times", [1, 3])
async def test_nodes_that_refuse_keep_no_others_out(what: str, most: int, kind: type[ClusterError], times: int) -> None:
    hub = Hub(nodes=(times + 1) * most)
    bad = [f"n{number}" for number in range(times * most)]
    hub.client.refuse = {f"mark {node}": kind(f"Node {node} says no.") for node in bad}
    await hub.apply(plan(revisions=["amd64"]))
    for _ in range(times):
        done = await write(hub, what)
        assert (done.moves, done.records, done.left, len(done.refusals)) == (0, 0, False, most)
    done = await write(hub, what)
    assert (done.left, len(done.refusals)) == (True, 0)
    assert missing(hub, what) == bad
    written = len(hub.client.statuses)
    assert ("Stalled" in hub.said) == (kind is AdmissionDenied), "of nodes that are not tried in this pass, too"
    hub.asked()
    tried = set()
    for _ in range(times):
        done = await write(hub, what)
        assert not done, "it is tried again when it is its time"
        tried.update(hub.asked())
    assert tried == {f"mark {node}" for node in bad}, "each of them in its turn"
    assert len(hub.client.statuses) == written, "whichever are tried"
    hub.client.refuse.clear()
    for _ in range(times):
        await write(hub, what)
    assert (missing(hub, what), "Stalled" in hub.said) == ([], False)


async def test_a_node_that_refuses_no_more_is_moved_in_its_turn() -> None:
    hub = Hub(nodes=MOVES_PER_PASS + 2)
    hub.client.refuse = {"mark n0": Unreachable("No answer."), "mark n1": Unreachable("No answer.")}
    assert not (await write(hub, "record")).left
    hub.client.refuse.clear()
    done = await write(hub, "move")
    assert (done.moves, done.left) == (MOVES_PER_PASS, True)
    assert missing(hub, "move") == ["n0", "n1"]
    done = await write(hub, "move")
    assert (done.moves, done.left) == (2, False)


@pytest.mark.parametrize("forgotten", [True, False])
async def test_a_node_that_is_not_written_to_any_more_is_forgotten(*, forgotten: bool) -> None:
    hub = Hub(nodes=MOVES_PER_PASS + 1)
    hub.client.refuse = {"mark n0": AdmissionDenied("It is refused.")}
    await hub.refused(plan(revisions=["amd64"], moves=[Move("n0", R1, "Because.", record=R1)]))
    assert "Stalled" in hub.said
    hub.client.refuse.clear()
    if forgotten:
        hub.applier.forget("plant", "parts")
    else:
        await hub.apply(plan(revisions=["amd64"]))
        assert "Stalled" not in hub.said
    await write(hub, "move")
    assert missing(hub, "move") == [f"n{MOVES_PER_PASS}"], "it comes in its own place"


async def test_the_status_is_the_same_whichever_node_is_answered_first() -> None:
    hub = Hub(nodes=4)
    hub.client.refuse = {f"mark n{number}": AdmissionDenied(f"Node n{number} says no.") for number in range(4)}
    await write(hub, "move")
    hub.client._begun.clear()
    hub.client.slow["mark n0"] = "mark n3"
    written = len(hub.client.statuses)
    assert not await write(hub, "move")
    assert len(hub.client.statuses) == written
