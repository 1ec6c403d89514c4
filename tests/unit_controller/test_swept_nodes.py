"""Labels of an EdgeModel that is gone, and a node that keeps its own."""

from __future__ import annotations

from typing import cast

from played_hub import Hub
from snapshots import LABEL, NOW, SETTINGS

from edgesmith.cluster.build_slots import BuildSlots
from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import AdmissionDenied, Unreachable
from edgesmith.cluster.gather import Gatherer
from edgesmith.cluster.images import Images
from edgesmith.cluster.kinds import EDGE_MODEL
from edgesmith.cluster.node_turns import NodeTurns
from edgesmith.controller import metrics
from edgesmith.controller.metrics import Numbers
from edgesmith.controller.passes import STALLED_SECONDS, Passes
from edgesmith.controller.queue import Outcome

KEY = ("plant", "parts")


def passes_of(hub: Hub, numbers: Numbers) -> Passes:
    """Passes over a hub whose EdgeModel has just been deleted."""
    hub.objects.remove(EDGE_MODEL, hub.client.objects["EdgeModel", "parts"])
    hub.objects.completed(EDGE_MODEL)
    client, images = cast("Client", hub.client), cast("Images", None)
    return Passes(
        Gatherer(hub.objects, images, SETTINGS, client),
        hub.applier,
        numbers,
        client=client,
        slots=BuildSlots(hub.objects, 1),
        turns=NodeTurns(),
        ask=lambda _: None,
        rest=lambda _: None,
        clock=lambda: 0.0,
        now=lambda: NOW,
    )


async def test_a_node_that_refuses_keeps_no_other_ones_label() -> None:
    hub, numbers = Hub(nodes=4), Numbers()
    passes = passes_of(hub, numbers)
    hub.client.refuse["mark n0"] = AdmissionDenied("A webhook says no.")
    hub.client.refuse["mark n2"] = Unreachable("No answer.")
    assert await passes.run(KEY) == Outcome(again=STALLED_SECONDS), "the first that was refused says when"
    assert hub.asked() == ["mark n0", "mark n1", "mark n2", "mark n3"]
    assert [one.name for one in hub.objects.nodes.all() if one.labels.get(LABEL)] == ["n0", "n2"]
    hub.client.refuse.clear()
    assert await passes.run(KEY) == Outcome()
    assert hub.asked() == ["mark n0", "mark n2"], "those that went are not asked again"
    assert not any(one.labels.get(LABEL) for one in hub.objects.nodes.all())
    assert f"{metrics.SWEPT.name} 4" in numbers.render()
