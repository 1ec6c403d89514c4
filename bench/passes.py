"""One pass of the planner over a large fleet: the processor's time, without the calls that a plan is made of.

Python collects cycles as seldom as in the operator.
"""

from __future__ import annotations

import gc
import time

from clusters import Cluster, publish
from row import Row
from snapshots import model, node

from edgesmith.controller.start import COLLECT
from edgesmith.decide import decide

NODES = 5000
MILLISECONDS = 60.0
"""The aim."""
_TIMES = 9
_ROLLOUT = {
    "steps": [{"nodes": 1, "bake": "30s"}, {"nodes": "10%", "bake": "30s"}],
    "maxUnavailable": "10%",
    "progressDeadline": "5m",
}


def measure_passes() -> list[Row]:
    """Plan for a fleet that is settled, and for one that is half way to its next revision."""
    cluster = _settled()
    settled = _milliseconds(cluster)
    _roll_out(cluster)
    rolling = _milliseconds(cluster)
    return [
        Row(
            f"pass over {NODES:,} nodes, {name}",
            value,
            "ms",
            f"{MILLISECONDS:g} ms, the aim",
            value / MILLISECONDS,
            most=1.0,
        )
        for name, value in (("settled", settled), ("half way to the next revision", rolling))
    ]


def _settled() -> Cluster:
    """A fleet that serves its first revision everywhere."""
    fast = {**_ROLLOUT, "maxUnavailable": "100%"}
    cluster = Cluster(edge_model=model(rollout=fast), nodes={f"n{at:05}": node(f"n{at:05}") for at in range(NODES)})
    while cluster.run(1).status.variants[0].state != "Complete":
        pass
    cluster.run(2)
    return cluster


def _roll_out(cluster: Cluster) -> None:
    """Publish another source and go on until half of the nodes have it."""
    before = cluster.run(1).status.variants[0].revision
    publish(cluster, "b", rollout=_ROLLOUT)
    # Until the new source is built, the nodes with the revision before it count as updated.
    while (status := cluster.run(1).status).variants[0].revision == before or status.nodes.updated < NODES / 2:
        pass


def _milliseconds(cluster: Cluster) -> float:
    """The median of some passes over the same snapshot."""
    seen = cluster.snapshot()
    found = []
    usual = gc.get_threshold()
    gc.set_threshold(*COLLECT)
    try:
        for _ in range(_TIMES):
            start = time.process_time()
            decide(seen, cluster.now)
            found.append((time.process_time() - start) * 1000)
    finally:
        gc.set_threshold(*usual)
    return sorted(found)[_TIMES // 2]
