"""Two rollouts at once on the same five nodes, one of them site by site: one EdgeModel at a time changes a node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from device_class import device_class
from faults import Watched

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(700), pytest.mark.long]

FIRST, SECOND = "turns-first", "turns-second"
PROFILE, LABEL, SITE = "turns", "edgesmith-test/turns", "edgesmith-test/site"
LAB = {"edge-2", "edge-4"}
ROLLOUT: dict[str, Any] = {"steps": [{"nodes": 1, "bake": "0s"}], "maxUnavailable": 5}
BY_SITE = {"label": SITE, "order": ["lab"], "bake": "3s"}


@pytest.fixture
def parted(fleet: Fleet) -> Iterator[Fleet]:
    """Five nodes of one kind: two in the lab, the others at the line."""
    kube, edges = fleet.ground.kube, fleet.ground.edges
    kube.apply(device_class(PROFILE, {LABEL: "five"}, toolchain={"name": "ONNXRuntime", "precisions": ["fp32"]}))
    for node in edges:
        kube("label", "nodes", node, f"{LABEL}=five", f"{SITE}={'lab' if node in LAB else 'line'}")
    yield fleet
    for name in (FIRST, SECOND):
        kube("delete", "edgemodel", name, "-n", fleet.namespace, "--ignore-not-found")
    kube("label", "nodes", *edges, f"{LABEL}-", f"{SITE}-")
    kube("delete", "deviceprofile", PROFILE)


def test_two_rollouts_at_once_take_turns_on_every_node_and_one_goes_site_by_site(parted: Fleet) -> None:
    source = parted.publish("1")
    for name in (FIRST, SECOND):
        manifest = parted.manifest(name, source, deviceProfiles={"names": [PROFILE]}, rollout=_rollout(name))
        for field in ("evaluation", "gates"):
            del manifest["spec"][field]
        parted.apply(manifest)
    for name in (FIRST, SECOND):
        parted.wait_settled(name, 200)
    before = {name: _given(parted, name) for name in (FIRST, SECOND)}

    with Watched(lambda: _look(parted, before[FIRST]), every=0.1) as watched:
        for name in (FIRST, SECOND):
            parted.patch(name, {"serving": {"resources": {"limits": {"memory": "300Mi"}}}})
        until(
            lambda: all(_updated(parted, name, before[name]) for name in (FIRST, SECOND)),
            seconds=300,
            what="both to be updated on every node",
            detail=lambda: str([parted.model(name).get("status") for name in (FIRST, SECOND)]),
        )
    wrong = [one for one in watched.seen if one.startswith("wrong")]
    assert not wrong, wrong
    assert len(watched.seen) > 5, "nothing was seen of it"
    assert any("line" in one for one in watched.seen)
    for name in (FIRST, SECOND):
        parted.wait_settled(name)


def _rollout(name: str) -> dict[str, Any]:
    return ROLLOUT | ({"priority": 10, "partitions": BY_SITE} if name == FIRST else {})


def _labels(fleet: Fleet) -> dict[str, dict[str, str]]:
    nodes = fleet.ground.kube.list("nodes", None)
    return {
        node["metadata"]["name"]: node["metadata"]["labels"] for node in nodes if LABEL in node["metadata"]["labels"]
    }


def _given(fleet: Fleet, name: str) -> set[str]:
    """The revisions of an EdgeModel that nodes run."""
    key = f"{fleet.namespace}.edgesmith.dev.node-restriction.kubernetes.io/{name}"
    return {labels[key] for labels in _labels(fleet).values()}


def _updated(fleet: Fleet, name: str, before: set[str]) -> bool:
    """Whether every node runs another revision of an EdgeModel, and makes none ready beside it."""
    upcoming = f"{fleet.namespace}.next.edgesmith.dev.node-restriction.kubernetes.io/{name}"
    waits = any(upcoming in labels for labels in _labels(fleet).values())
    return not waits and not _given(fleet, name) & before


def _look(fleet: Fleet, before: set[str]) -> str:
    """What the nodes are at; what must never be begins with `wrong`."""
    suffix = "edgesmith.dev.node-restriction.kubernetes.io"
    at_work, told, behind = [], [], False
    for node, labels in sorted(_labels(fleet).items()):
        both = [name for name in (FIRST, SECOND) if f"{fleet.namespace}.next.{suffix}/{name}" in labels]
        if len(both) == 2:
            return f"wrong: two EdgeModels make something ready on {node}: {labels}"
        at_work += [f"{name} on {node}" for name in both]
        own = labels.get(f"{fleet.namespace}.{suffix}/{FIRST}")
        begun = own not in before or FIRST in both
        behind = behind or (labels[SITE] == "lab" and (own in before or FIRST in both))
        told += [labels[SITE]] if begun else []
    if "line" in told and behind:
        return f"wrong: the line has begun, and the lab has not ended: {at_work}"
    return ", ".join([*sorted(set(told)), *at_work])
