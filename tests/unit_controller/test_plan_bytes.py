"""What `edgesmith plan` and `edgesmith status` say of the bytes that a revision moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from clusters import Cluster, publish, three_nodes
from snapshots import key_of

from edgesmith.api.status import TransferStatus
from edgesmith.cli import plan as planning
from edgesmith.cli import status as showing
from edgesmith.decide import decide

STEPS = {"steps": [{"nodes": 3, "bake": "5m"}], "maxUnavailable": 3}


def image_of(cluster: Cluster) -> str:
    return f"registry:5000/models/plant/models@sha256:{key_of(cluster.edge_model) * 2}"


def given() -> tuple[Cluster, dict[str, dict[str, int]]]:
    """Three nodes that were all given a second revision and start it; the layers of both images."""
    cluster, layers = three_nodes(), {}
    publish(cluster, "a", rollout=STEPS)
    cluster.run(60)
    layers[image_of(cluster)] = {"base": 70_000, "a": 1_000}
    publish(cluster, "b", generation=3, rollout=STEPS)
    layers[image_of(cluster)] = {"base": 70_000, "b": 1_000}
    cluster.run(2)
    return cluster, layers


def bytes_line(cluster: Cluster, layers: dict[str, dict[str, int]]) -> str:
    seen = replace(cluster.snapshot(), layers=layers)
    text = planning.as_text([planning.Planned(seen, decide(seen, cluster.now), None)])
    (line,) = [line for line in text.splitlines() if line.startswith("  bytes ")]
    return line.removeprefix("  bytes     amd64: ")


def test_nodes_that_start_it_were_given_it() -> None:
    """They are not counted as updated yet, and the registry shows every image."""
    cluster, layers = given()
    assert cluster.edge_model.status["variants"][0]["state"] == "Canary"
    assert cluster.edge_model.status["nodes"]["updated"] < 3
    assert bytes_line(cluster, layers) == "nothing, all nodes were given it"


def test_an_image_that_the_registry_does_not_show_is_not_nothing() -> None:
    cluster, layers = given()
    for image in list(layers):
        some = {one: layers[one] for one in layers if one != image}
        assert bytes_line(cluster, some) == "not known, the registry does not show the layers of every image"


@pytest.mark.parametrize(
    ("transfer", "plan", "status"),
    [
        ((0, 2, 0), "nothing, the nodes have every layer of it", None),
        ((0, 2, 5_000), "0 B for each node, 5.0 kB in all for 2 nodes", "pulls 0 B at the most; 5.0 kB in all"),
        ((1_000, 1, None), "1.0 kB for each node, not known in all for 1 node", "pulls 1.0 kB at the most."),
    ],
)
def test_what_is_left_to_move_is_said_where_there_is_any(
    transfer: tuple[int, int, int | None], plan: str, status: str | None
) -> None:
    cluster, _ = given()
    each, nodes, total = transfer
    variant = decide(cluster.snapshot(), cluster.now).status.variants[0]
    variant = variant.model_copy(update={"transfer": TransferStatus(each=each, nodes=nodes, total=total)})
    assert planning._moved(variant, cluster.snapshot()) == plan
    told = " ".join(showing._sentences(variant))
    assert status in told if status else "pulls" not in told
