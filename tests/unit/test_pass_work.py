"""A pass is linear in the nodes: counted in steps and calls, so that it says the same on any machine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
from clusters import Cluster, publish
from snapshots import model, node, profile

from edgesmith.decide import decide
from edgesmith.decide.taints import Taint

ROLLOUT = {
    "steps": [{"nodes": "10%", "bake": "30s"}, {"nodes": "20%", "bake": "30s"}],
    "maxUnavailable": "100%",
    "maxFailed": "20%",
    "progressDeadline": "5m",
}
CORAL = "squat.ai/edgetpu"
CALLS_A_NODE = 90
"""Most calls of functions and methods, Python's own among them, that one node of a settled fleet may cost."""


def calls(work: Callable[[], object]) -> int:
    """How many functions and methods are called, Python's own among them."""
    count = 0

    def counted(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    gc.disable()
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


class Name(str):
    """A node's name that is compared in Python, so that a search through a list of names is counted."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)


def steps(work: Callable[[], object]) -> int:
    """How many instructions are run: those of a loop within a function, a comprehension or a generator, too."""
    count = 0

    def traced(frame: FrameType, event: str, _argument: Any) -> Callable[..., Any]:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return traced

    before = sys.gettrace()
    gc.disable()
    sys.settrace(traced)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def settled(size: int, **more: Any) -> Cluster:
    """A fleet that serves its first revision."""
    cluster = Cluster(edge_model=model(rollout=ROLLOUT), profiles=(profile(**more),))
    for at in range(size):
        name = Name(f"n{at:04}")
        cluster.nodes[name] = replace(node(name), offers={CORAL: 1})
    for _ in range(30):
        if cluster.run(1).status.variants[0].state == "Complete":
            break
    cluster.run(1)
    return cluster


def trying(size: int) -> Cluster:
    """A fleet whose first step is lost in part: a tenth of all nodes went away."""
    cluster = settled(size)
    publish(cluster, "b", rollout=ROLLOUT)
    cluster.run(3)
    for name in sorted(cluster.nodes)[::10]:
        cluster.nodes[name] = replace(cluster.nodes[name], ready=False)
    cluster.run(1)
    return cluster


def rolling(size: int) -> Cluster:
    """A fleet in the second step, with nodes that failed, are tainted, left the profile, or are away."""
    cluster = settled(size)
    names = sorted(cluster.nodes)
    publish(cluster, "b", rollout=ROLLOUT)
    for _ in range(30):
        if cluster.run(1).status.variants[0].state == "RollingOut":
            break
    for at, name in enumerate(names[size // 2 :]):
        one = cluster.nodes[name]
        if at % 10 == 0:
            cluster.nodes[name] = replace(one, labels={**one.labels, "device": "other"})
        elif at % 10 == 1:
            cluster.nodes[name] = replace(one, taints=(Taint("maintenance", "", "NoSchedule"),))
        elif at % 10 == 2:
            cluster.nodes[name] = replace(one, ready=False)
        elif at % 10 == 3:
            cluster.pods[name] = replace(cluster.pods[name], ready=False, restarts=5, waiting="CrashLoopBackOff")
    return cluster


SCANS: dict[str, Callable[[list[Name]], object]] = {
    "generator": lambda names: [sum(1 for other in names if other is one) for one in names],
    "comprehension": lambda names: [[other for other in names if other is one] for one in names],
    "membership": lambda names: [Name(one) in names for one in names],
}


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
def test_a_scan_of_all_for_each_is_seen(scan: Callable[[list[Name]], object]) -> None:
    few, many = ([Name(f"n{at}") for at in range(size)] for size in (50, 100))
    assert steps(lambda: scan(many)) > 3 * steps(lambda: scan(few))


@pytest.mark.parametrize("fleet", [settled, trying, rolling])
def test_twice_the_nodes_are_twice_the_work(fleet: Callable[[int], Cluster]) -> None:
    counted = []
    for size in (250, 500):
        cluster = fleet(size)
        seen = cluster.snapshot()
        decide(seen, cluster.now)
        counted.append(steps(lambda seen=seen, cluster=cluster: decide(seen, cluster.now)))  # type: ignore[misc]
    assert counted[1] <= 2.3 * counted[0]


def test_a_node_of_a_settled_fleet_costs_little() -> None:
    cluster = settled(500)
    seen = cluster.snapshot()
    decide(seen, cluster.now)
    assert calls(lambda: decide(seen, cluster.now)) <= CALLS_A_NODE * 500


def test_a_device_costs_a_few_calls_more_where_it_is_asked_for() -> None:
    counted = []
    for more in ({}, {"runtime": {"resources": {"limits": {CORAL: 1}}}}):
        cluster = settled(500, **more)
        seen = cluster.snapshot()
        decide(seen, cluster.now)
        counted.append(calls(lambda seen=seen, cluster=cluster: decide(seen, cluster.now)))  # type: ignore[misc]
    assert counted[1] - counted[0] <= 5 * 500


@pytest.mark.parametrize(("strategy", "expected"), [("Surge", 2), ("Replace", 3)])
def test_a_node_costs_few_writes_for_each_revision(strategy: str, expected: int) -> None:
    """Surge: staged, and switched with what was seen. Replace: the same, and once more when it serves."""
    rollout = {**ROLLOUT, "steps": [{"nodes": 1, "bake": "0s"}], "strategy": strategy}
    cluster = Cluster(edge_model=model(rollout=rollout), profiles=(profile(),))
    for at in range(20):
        cluster.nodes[f"n{at:04}"] = replace(node(f"n{at:04}"), boot="first")
    cluster.run(12)
    publish(cluster, "b", rollout=rollout)
    writes = dict.fromkeys(cluster.nodes, 0)
    for _ in range(20):
        plan = cluster.run(1)
        for name in [move.node for move in plan.moves] + [kept.node for kept in plan.records]:
            writes[name] += 1
    assert plan.status.variants[0].state == "Complete"
    assert set(writes.values()) == {expected}
