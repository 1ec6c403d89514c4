"""One EdgeModel at a time changes a node, over passes that run at the same time."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from objects_of import model, node, profile

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.names import node_label
from edgesmith.api.status import EdgeModelStatus, PendingReason
from edgesmith.api.trial_status import TrialStatus
from edgesmith.cluster.apply import Applier
from edgesmith.cluster.build_slots import BuildSlots
from edgesmith.cluster.done import Done
from edgesmith.cluster.gather import Gatherer
from edgesmith.cluster.images import Images
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL, NODE
from edgesmith.cluster.node_turns import NodeTurns
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.provenance import Wanted
from edgesmith.controller.metrics import Numbers
from edgesmith.controller.passes import Passes
from edgesmith.controller.queue import Key
from edgesmith.decide.plan import Keep, Move, Pending, Plan, StartTrial
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import Image, Snapshot
from edgesmith_builder.contract import BuildReport, Candidate, Finalist

FINALISTS = (Finalist(precision="fp32", size=1),)
DIGEST = "sha256:" + "0" * 64
PROFILE = DeviceProfile.model_validate(profile("p"))
FIRST, SECOND, THIRD = ("ns", "m0"), ("ns", "m1"), ("ns", "m2")


def plan(*moved: str, waits: tuple[str, ...] = (), kept: tuple[str, ...] = (), why: str = "NodeBusy") -> Plan:
    pending = tuple(Pending(name, PendingReason(why), "") for name in waits)
    moves = tuple(Move(name, "r", "") for name in moved)
    records = tuple(Keep(name, None) for name in kept)
    return Plan((), EdgeModelStatus(), moves, records, (), (), (), False, (), pending, None)


def test_a_node_is_claimed_from_the_decision_until_the_plan_is_done_also_where_that_fails() -> None:
    turns = NodeTurns()
    with turns.held(FIRST, plan("n1", "n2")), turns.held(SECOND, plan("n3")):
        assert turns.claimed(FIRST) == {"n3"}
        assert turns.claimed(SECOND) == {"n1", "n2"}
        assert turns.claimed(THIRD) == {"n1", "n2", "n3"}
    assert turns.claimed(THIRD) == frozenset()
    with suppress(RuntimeError), turns.held(FIRST, plan("n1")):
        _fail()
    assert turns.claimed(THIRD) == frozenset()


def _fail() -> None:
    raise RuntimeError


def test_so_is_one_that_a_plan_begins_a_trial_on() -> None:
    turns = NodeTurns()
    with turns.held(FIRST, replace(plan("n1"), trials=(StartTrial(PROFILE, "t", "n2", {}),))):
        assert turns.claimed(SECOND) == {"n1", "n2"}


def test_who_waits_for_a_trial_on_a_node_is_looked_at_once_something_else_is_known_of_it() -> None:
    turns = NodeTurns()
    with turns.held(FIRST, replace(plan(), awaited=frozenset({"n1"}))):
        pass
    begun, over = (
        replace(plan(), status=EdgeModelStatus(trials=(TrialStatus(profile="p", build_key="k", node="n1", **more),)))
        for more in ({}, {"winner": "int8"})
    )
    found = [turns.settle(SECOND, one) for one in (begun, begun, over, over, plan(), plan())]
    assert found == [[FIRST], [], [FIRST], [], [FIRST], []]
    assert turns.settle(SECOND, begun) == [FIRST]
    assert turns.settle(SECOND) == [FIRST]
    assert turns.settle(SECOND, begun) == [FIRST], "what was known of one that is gone is forgotten"


def test_who_waits_for_a_node_is_looked_at_once_another_pass_wrote_to_it() -> None:
    turns = NodeTurns()
    with turns.held(FIRST, plan(waits=("n1",))), turns.held(SECOND, plan(waits=("n2",), why="MaxUnavailable")):
        pass
    with turns.held(THIRD, plan("n2", "n3")):
        pass
    assert turns.settle(THIRD, plan("n2", "n3")) == []
    assert turns.settle(THIRD, plan("n1")) == [FIRST]
    assert turns.settle(THIRD, plan(kept=("n1",))) == [FIRST]
    assert turns.settle(FIRST, plan("n1")) == []
    assert turns.settle(THIRD) == [FIRST], "what it was doing is over"
    with turns.held(FIRST, plan()):
        pass
    assert turns.settle(THIRD, plan("n1")) == []


class PlayedApplier:
    """Writes the moves of plans to nodes, slowly."""

    def __init__(self, objects: Objects, raw: dict[str, dict[str, Any]]) -> None:
        self.objects, self.raw, self.version = objects, raw, 10

    async def apply(self, plan: Plan, snapshot: Snapshot, _now: datetime) -> Done:
        metadata, done = snapshot.model.metadata, Done()
        key = node_label(metadata.namespace, metadata.name)
        await asyncio.sleep(0)
        for move in plan.moves:
            await asyncio.sleep(0)
            found = copy.deepcopy(self.raw[move.node])
            self.version += 1
            found["metadata"]["resourceVersion"] = str(self.version)
            found["metadata"]["labels"] |= {key: move.label}
            found["metadata"].setdefault("annotations", {})[key] = move.record
            self.raw[move.node] = found
            self.objects.put(NODE, found)
            done.moves += 1
        return done


class EveryImage:
    """A registry that holds every build."""

    async def layers(self, _references: object) -> dict[str, dict[str, int]]:
        return {}

    async def look_up(self, _repository: str, builds: list[Wanted], _fresh: object) -> dict[str, Image]:
        await asyncio.sleep(0)
        report = BuildReport(precision="fp32", size=1, candidates=(Candidate(precision="fp32"),), finalists=FINALISTS)
        return {one.build.key: Image(f"r:5000/m@sha256:{one.build.key * 2}", report) for one in builds}


async def test_passes_at_the_same_time_never_take_the_same_node() -> None:
    objects, asked = Objects(), list[Key]()
    raw = {name: node(name, {"device": "p"}) for name in ("n1", "n2", "n3")}
    for one in raw.values():
        objects.put(NODE, one)
    rollout = {"steps": [{"nodes": 2, "bake": "1h"}], "maxUnavailable": 3}
    for _, name in (FIRST, SECOND):
        objects.put(EDGE_MODEL, model(name, rollout=rollout))
    objects.put(DEVICE_PROFILE, profile("p"))
    objects.completed(EDGE_MODEL)
    settings = Settings(
        runtime_images={"onnxruntime": f"r:5000/runtime@{DIGEST}"},
        builder_image=f"r:5000/builder@{DIGEST}",
        repository="r:5000/models",
    )
    client: Any = None
    passes = Passes(
        Gatherer(objects, cast("Images", EveryImage()), settings, client),
        cast("Applier", PlayedApplier(objects, raw)),
        Numbers(),
        client=client,
        slots=BuildSlots(objects, 1),
        turns=NodeTurns(),
        ask=asked.append,
        rest=lambda _: None,
        clock=lambda: 0.0,
        now=lambda: datetime.now(UTC),
    )
    outcomes = await asyncio.gather(passes.run(FIRST), passes.run(SECOND))
    labelled = {
        name: sorted(key.rpartition("/")[2] for key in one["metadata"]["labels"] if "edgesmith" in key)
        for name, one in raw.items()
    }
    assert sorted(labelled.values()) == [["m0"], ["m0"], ["m1"]]
    assert outcomes[1].again is not None
    assert outcomes[1].again <= 1, "what waits for a pass that runs is looked at again soon"
    assert asked in ([], [SECOND])
