"""The bytes that a revision moves to its nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from clusters import Cluster, publish
from rollout_words import BAD, NEW, OLD, OLDEST, PROVEN, step
from snapshots import key_of, model, node

from edgesmith.decide import decide
from edgesmith.decide.transfer import Transfer, transfer_of

BASE, MODEL, NEXT_MODEL, OTHER_BASE = {"base": 70_000}, {"m1": 4_000}, {"m2": 5_000}, {"other": 90_000}
IMAGES = {"oldest": "r/m@0", "old": "r/m@1", "new": "r/m@2"}
LAYERS = {"r/m@0": OTHER_BASE | MODEL, "r/m@1": BASE | MODEL, "r/m@2": BASE | NEXT_MODEL}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("old+ old+ new+", Transfer(5_000, 2, 10_000)),
        ("old+ old+ oldest+", Transfer(5_000, 3, 10_000 + 75_000)),
        ("old+ . what.", Transfer(5_000, 3, 5_000 + 2 * 75_000)),
        ("~old+ #old+", Transfer(5_000, 2, 10_000)),
        ("new+ new?", Transfer(5_000, 0, 0)),
    ],
)
def test_what_a_node_lacks_is_moved_to_it(nodes: str, expected: Transfer) -> None:
    assert transfer_of(step(nodes, OLDEST, OLD, PROVEN), IMAGES, LAYERS) == expected


def test_the_first_revision_moves_its_whole_image() -> None:
    assert transfer_of(step(". . .", NEW), IMAGES, LAYERS) == Transfer(75_000, 3, 225_000)


def test_another_base_counts_with_the_model() -> None:
    layers = LAYERS | {"r/m@2": OTHER_BASE | NEXT_MODEL}
    assert transfer_of(step("old+ oldest+", OLDEST, OLD, PROVEN), IMAGES, layers) == Transfer(95_000, 2, 100_000)


def test_what_is_not_known_is_not_guessed() -> None:
    found = step("old+ oldest+", OLDEST, OLD, PROVEN)
    without = {name: one for name, one in LAYERS.items() if name != "r/m@0"}
    assert transfer_of(found, IMAGES, without) == Transfer(5_000, 2, None)
    for name in ("r/m@1", "r/m@2"):
        assert transfer_of(found, IMAGES, {key: one for key, one in LAYERS.items() if key != name}) is None
    assert transfer_of(step("old+", OLD, BAD), IMAGES, LAYERS) is None, "nothing is moved of what was rolled back"


def test_the_status_says_it_until_all_nodes_were_given_the_revision() -> None:
    rollout = {"steps": [{"nodes": 1, "bake": "0s"}], "maxUnavailable": 3}
    cluster = Cluster(edge_model=model(rollout=rollout), nodes={name: node(name) for name in ("e1", "e2", "e3")})
    layers = {}
    seen = []
    for digit in "ab":
        if digit == "b":
            publish(cluster, "b", rollout=rollout)
        key = key_of(cluster.edge_model)
        layers[f"registry:5000/models/plant/models@sha256:{key * 2}"] = BASE | {digit: 1_000}
        for _ in range(16):
            plan = decide(replace(cluster.snapshot(), layers=layers), cluster.now)
            found = plan.status.variants[0].transfer
            if found and (told := (found.each, found.nodes, found.total)) not in seen:
                seen.append(told)
            cluster.apply(plan)
            cluster.tick(10)
        assert plan.status.variants[0].state == "Complete"
        assert plan.status.variants[0].transfer is None
    assert seen == [(71_000, 3, 213_000), (71_000, 2, 142_000), (1_000, 3, 3_000), (1_000, 2, 2_000)]
