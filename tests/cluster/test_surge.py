"""Requests through the Service of every node while it goes from one revision to the next."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from device_class import device_class
from device_plugin import FRESH, RESOURCE, DevicePlugin, Holders

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.load import Load, answer_on
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.lent, pytest.mark.long]

_LOG = logging.getLogger(__name__)
NAME = "steady-parts"
ROLLOUT: dict[str, Any] = {"steps": [{"nodes": 1, "bake": "1s"}, {"nodes": "100%", "bake": "0s"}], "maxUnavailable": 2}
LONGEST_PAUSE = 1.0
"""Seconds for which a node may be without an answer with Replace; docs/rollout.md has what was measured."""
ATTEMPTS = 5
LONGEST_START = 30.0
"""Seconds for which it may be where the old server has to go first; docs/rollout.md as well."""
PROFILE, LABEL, NODE = "one-at-a-time", "edgesmith-test/one-at-a-time", "edge-1"
"""A class of one node's own, which cannot hold two servers."""
LIMIT = 512
"""MiB that a server of it may use."""


def test_no_request_is_lost_with_surge_and_how_long_a_node_pauses_with_replace(fleet: Fleet, tmp_path: Path) -> None:
    fleet.apply(fleet.manifest(NAME, fleet.publish("1"), rollout=ROLLOUT))
    fleet.wait_settled(NAME, 300)
    nodes = sorted(fleet.servers(NAME))
    assert set(nodes) == set(surface.EDGES)

    for node in nodes:
        until(partial(answer_on, fleet, NAME, node), seconds=60, what=f"an answer on {node}")

    lost: list[str] = []
    for memory in ("300Mi", "310Mi", "330Mi"):
        pods = fleet.pods(NAME)
        with Load(fleet, NAME, nodes, tmp_path / f"surge-{memory}") as load:
            _answered(load)
            _another_revision(fleet, "Surge", pods, memory=memory)
            _answered(load)
        lost = [f"{node}: {said}" for node, one in load.answers().items() for said in one.lost]
        if not all("timed out" in said for said in lost) or not lost:
            break
        # Others who have the cores make an answer late: that shows nothing, and it is asked again.
    assert not lost, lost[:3]

    # The servers that end have no port of the node yet: they would have to go before the next ones can come.
    on_host = {"type": "HostPort", "httpPort": 18600}
    found: list[float] = []
    for attempt in range(ATTEMPTS):
        pods = fleet.pods(NAME)
        with Load(fleet, NAME, nodes, tmp_path / f"replace-{attempt}") as load:
            _answered(load)
            _another_revision(fleet, "Replace", pods, memory="320Mi", expose=on_host)
            _answered(load)
        found.append(_paused(load))
        if found[-1] < LONGEST_PAUSE:
            break
        # Others who have the cores make a pause longer: that shows nothing, and it is measured again.
        _another_revision(fleet, "Replace", fleet.pods(NAME), memory="300Mi", expose=None)
    assert found[-1] < LONGEST_PAUSE, f"seconds without an answer in one rollout after the other: {found}"

    pods = fleet.pods(NAME)
    with Load(fleet, NAME, nodes, tmp_path / "host-port") as load:
        _answered(load)
        _another_revision(fleet, "Replace", pods, memory="300Mi")
        _answered(load)
    assert _paused(load) < LONGEST_START


@pytest.fixture
def one_at_a_time(fleet: Fleet) -> Iterator[dict[str, Any]]:
    """The class, which the test has still to apply."""
    kube = fleet.ground.kube
    kube("label", "node", NODE, f"{LABEL}=yes")
    toolchain = {"name": "ONNXRuntime", "precisions": ["fp32"]}
    yield device_class(PROFILE, {LABEL: "yes"}, toolchain=toolchain, memory=LIMIT)
    kube("delete", "edgemodel", NAME, "-n", fleet.namespace)
    kube("label", "node", NODE, f"{LABEL}-")
    kube("delete", "deviceprofile", PROFILE)


def test_how_long_a_node_pauses_whose_device_the_old_server_holds(
    fleet: Fleet, one_at_a_time: dict[str, Any], tmp_path: Path
) -> None:
    one_at_a_time["spec"]["runtime"]["resources"]["limits"][RESOURCE] = 1
    with ExitStack() as plugged:
        plugged.enter_context(DevicePlugin(fleet.ground.name, NODE, FRESH))
        held = plugged.enter_context(Holders())
        assert _goes_first(fleet, one_at_a_time, tmp_path) < LONGEST_START
    assert held.shared == []
    assert len(held.seen[f"{NODE}/{FRESH}"]) == 2, "the old server and then the new one"


def test_how_long_a_node_pauses_whose_memory_does_not_hold_two_servers(
    fleet: Fleet, one_at_a_time: dict[str, Any], tmp_path: Path
) -> None:
    one_at_a_time["spec"]["hardware"] = {"memory": f"{LIMIT}Mi"}
    assert _goes_first(fleet, one_at_a_time, tmp_path) < LONGEST_START


def _goes_first(fleet: Fleet, profile: dict[str, Any], folder: Path) -> float:
    """The longest time without an answer on the node of a class while it goes to another revision."""
    fleet.ground.kube.apply(profile)
    names = {"deviceProfiles": {"names": [PROFILE]}}
    fleet.apply(fleet.manifest(NAME, fleet.publish("1"), rollout=ROLLOUT, **names))
    fleet.wait_settled(NAME)
    (variant,) = fleet.variants(NAME).values()
    assert variant["strategy"] == "Replace", "though the spec asks for Surge"
    with Load(fleet, NAME, [NODE], folder / "load") as load:
        _answered(load)
        _another_revision(fleet, "Replace", fleet.pods(NAME), memory=f"{LIMIT - 2}Mi")
        _answered(load)
    return _paused(load)


def _paused(load: Load) -> float:
    """The longest time without an answer on a node, which is logged."""
    longest = {node: answers.longest for node, answers in load.answers().items()}
    _LOG.info("seconds without an answer: %s", {node: round(seconds, 2) for node, seconds in longest.items()})
    return max(longest.values())


def _another_revision(fleet: Fleet, strategy: str, before: dict[str, str], *, memory: str, **serving: Any) -> None:
    """Another limit or another port is another revision of the same image: nothing is built."""
    serving = {"resources": {"limits": {"memory": memory}}, **serving}
    fleet.patch(NAME, {"serving": serving, "rollout": {**ROLLOUT, "strategy": strategy}})
    fleet.wait_settled(NAME)
    assert {variant["strategy"] for variant in fleet.variants(NAME).values()} == {strategy}
    until(
        lambda: not set(before) & set(fleet.pods(NAME)),
        seconds=60,
        what="every old server to have ended",
        detail=lambda: str(fleet.model(NAME).get("status")),
    )


def _answered(load: Load) -> None:
    """Wait until every node has had twenty answers more."""
    before = {node: one.asked - len(one.lost) for node, one in load.answers().items()}
    until(
        lambda: all(one.asked - len(one.lost) >= before[node] + 20 for node, one in load.answers().items()),
        seconds=60,
        what="answers on every node",
        detail=lambda: str({node: one.lost[:1] for node, one in load.answers().items()}),
    )
