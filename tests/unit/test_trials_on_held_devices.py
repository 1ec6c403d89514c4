"""Trials where servers hold the device that a trial needs: one node pulls, gives up its server, tries and serves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from clusters import Cluster, labels, publish
from snapshots import LABEL, model, node, profile, said
from test_trials import cluster, images, trial, until

from edgesmith.decide import decide
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import SelfTest

DEVICE = "example.com/tpu"
ROLLOUT = {"steps": [{"nodes": 1, "bake": "30s"}], "maxUnavailable": 1, "progressDeadline": "5m"}


def held(*names: str, **rollout: Any) -> Cluster:
    """Nodes whose servers hold a device each, after the first build had its trial on the first of them."""
    here = cluster(*names or ("e1", "e2", "e3"), of=model(rollout=ROLLOUT | rollout))
    here.profiles = (profile(runtime={"resources": {"limits": {DEVICE: 1}}}),)
    for name, one in here.nodes.items():
        here.nodes[name] = replace(one, offers={DEVICE: 1})
    until(here, "Complete")
    assert (here.started, trial(here)["node"], images(here)) == (1, next(iter(here.nodes)), ["1f"])
    return here


def newest(of: Cluster) -> Any:
    """The trial of the build that the spec asks for."""
    key = of.edge_model.status["variants"][0]["buildKey"]
    return next(one for one in of.edge_model.status["trials"] if one["buildKey"] == key)


def without_server(of: Cluster) -> set[str]:
    return {name for name in of.nodes if name not in of.pods or not of.pods[name].ready}


def pending(plan: Plan) -> dict[str, tuple[str, str]]:
    return {one.node: (one.reason, one.message) for one in plan.pending}


def one_more(of: Cluster, digit: str = "b", generation: int = 2, **spec: Any) -> None:
    """Another source, of which fp32 is the slower one."""
    of.latencies = {"int8": 2.0, "fp32": 8.0}
    of.digests = digit * 63
    publish(of, digit, generation=generation, **({"rollout": ROLLOUT} | spec))


def until_tried(of: Cluster) -> None:
    """Until the second trial has its pod, on a node that has given up its server."""
    for _ in range(20):
        of.run(1, seconds=2)
        if of.started == 2:
            return
    raise AssertionError(newest(of))


def test_a_node_pulls_what_it_is_to_try_then_gives_up_its_server_and_is_the_canary() -> None:
    here = held()
    one_more(here)
    story: list[str] = []
    for _ in range(60):
        plan = here.run(1)
        found = newest(here) if here.edge_model.status["variants"][0]["state"] == "Trial" else None
        if found and (not story or story[-1] != found["message"]):
            story.append(found["message"])
        assert len(without_server(here)) <= 1, "as many as maxUnavailable says"
        if plan.status.variants[0].state == "Complete" and here.started == 2:
            break
    assert story == [
        "Node e1 pulls int8 and fp32 for amd64, to try them.",
        "Node e1 is to give up its server, so that int8 and fp32 can be tried on its device.",
        "Node e1 tries int8 and fp32 for amd64.",
    ]
    assert (newest(here)["winner"], plan.status.variants[0].precision) == ("int8", "int8")
    assert plan.status.variants[0].warnings == ()
    assert "lent" not in newest(here), "it runs a revision again"
    assert here.trial_pods == {}, "swept, with the pod that pulled"
    assert here.started == 2


def test_while_it_tries_it_is_pending_and_no_other_server_ends() -> None:
    here = held()
    one_more(here)
    for _ in range(20):
        plan = here.run(1, seconds=0)
        here.tick(5)
        if here.nodes["e1"].labels.get(LABEL) is None and here.started == 2:
            break
    assert pending(plan)["e1"] == (
        "Trial",
        "It has no server while it tries the candidates of a build.",
    )
    assert newest(here)["lent"] == ["e1"]
    assert {pod.node for pod in here.trial_pods.values()} == {"e1"}
    assert len(here.trial_pods) == 2, "what pulled keeps the images until the trial has ended"
    assert said(plan)["Reconciling"] == ("True", "Trial")


@pytest.mark.parametrize(
    ("rollout", "reason"),
    [({"paused": True}, "Paused"), ({"windows": [{"start": "01:00", "end": "02:00"}]}, "WindowClosed")],
)
def test_no_server_ends_while_the_rollout_is_held(rollout: dict[str, Any], reason: str) -> None:
    here = held()
    one_more(here, rollout=ROLLOUT | rollout)
    for _ in range(80):
        plan = here.run(1)
        assert without_server(here) == set()
    assert pending(plan)["e1"][0] == reason
    assert here.started == 1
    one_more(here, generation=3)
    until(here, "Complete")
    assert (here.started, newest(here)["winner"]) == (2, "int8")
    assert (newest(here)["node"], newest(here).get("lost")) == ("e1", None), "its time began when it gave up its server"


@pytest.mark.parametrize("named", [True, False])
def test_an_override_of_the_build_opens_windows_for_its_trial_as_well(named: bool) -> None:  # noqa: FBT001 - a row
    here = held()
    one_more(here)
    key = here.run(1).status.variants[0].build_key
    assert key
    here = held()
    closed = {"windows": [{"start": "01:00", "end": "02:00"}]}
    one_more(here, rollout=ROLLOUT | closed | {"override": [key if named else "f" * 32]})
    said = set()
    for _ in range(80):
        plan = here.run(1)
        said |= {(one.state, one.message) for one in plan.status.requests}
    assert here.started == (2 if named else 1)
    in_effect = ("InEffect", "Windows do not hold up the trial on node e1.")
    assert (in_effect in said) is named
    if named:
        assert newest(here)["winner"] == "int8"
        assert plan.status.variants[0].state == "Complete"


def test_a_server_ends_only_while_as_many_others_serve_as_max_unavailable_wants() -> None:
    here = held()
    down = {
        name: replace(here.pods[name], ready=False, selftest=SelfTest(False, "GoldenMismatch", "No."))
        for name in ("e2", "e3")
    }
    here.pods |= down
    one_more(here)
    for _ in range(10):
        plan = here.run(1)
        here.pods |= down
        assert here.nodes["e1"].labels.get(LABEL), "it serves on"
    assert pending(plan)["e1"][0] == "MaxUnavailable"
    assert here.started == 1


@pytest.mark.parametrize("killed_after", range(1, 26))
def test_an_operator_that_is_killed_at_any_call_goes_on_where_it_was(killed_after: int) -> None:
    here = held()
    one_more(here)
    for _ in range(killed_after):
        here.apply(decide(here.snapshot(), here.now), calls=1)
        here.tick(5)
        assert len(without_server(here)) <= 1
    for _ in range(60):
        plan = here.run(1)
        assert len(without_server(here)) <= 1
    assert (plan.status.variants[0].state, newest(here)["winner"], here.started) == ("Complete", "int8", 2)


def test_one_node_alone_gives_up_its_server_too() -> None:
    here = held("e1")
    one_more(here)
    until(here, "Complete")
    for _ in range(30):
        plan = here.run(1)
    assert (newest(here)["winner"], plan.status.variants[0].precision) == ("int8", "int8")


def test_where_no_candidate_passes_it_serves_again_what_it_did() -> None:
    here = held()
    before = labels(here)
    here.deadly = {"int8", "fp32"}
    one_more(here)
    until(here, "TrialFailed")
    here.run(5)
    assert labels(here) == before
    assert without_server(here) == set()


def way_back(of: Cluster) -> str | None:
    """What the node that gives up its server goes back to, by its record."""
    found: str | None = json.loads(of.nodes["e1"].records[LABEL]).get("previous")
    return found


def test_what_it_gave_up_is_its_way_back_from_what_it_gets() -> None:
    here = held()
    gave_up = labels(here)["e1"]
    one_more(here)
    until_tried(here)
    for _ in range(60):
        here.run(1, seconds=2)
        if labels(here)["e1"]:
            break
    assert labels(here)["e1"] not in {None, gave_up}, "it is the canary of the winner"
    assert way_back(here) == gave_up


def test_one_that_gets_it_back_has_the_way_back_that_it_had() -> None:
    here = held()
    first = labels(here)["e1"]
    publish(here, "b", generation=2, rollout=ROLLOUT, optimize={"trial": "Never"})
    for _ in range(60):
        here.run(1)
    before = labels(here)["e1"]
    assert (first != before, way_back(here)) == (True, first)
    here.deadly = {"int8", "fp32"}
    one_more(here, "c", generation=3)
    until(here, "TrialFailed")
    here.run(5)
    assert here.started > 1
    assert (labels(here)["e1"], way_back(here)) == (before, first)


def test_what_it_gave_up_is_not_deleted_while_it_tries() -> None:
    here = held("e1")
    gave_up = labels(here)["e1"]
    one_more(here)
    until_tried(here)
    there = here.revisions[f"parts-{gave_up}"]
    others = {f"parts-{name}": replace(there, name=f"parts-{name}", revision=name) for name in ("x1", "x2", "x3", "x4")}
    later = {name: replace(one, created=here.now) for name, one in others.items()}
    seen = here.snapshot()
    status = {**here.edge_model.status, "revisions": []}
    known = replace(seen, revisions=(there, *later.values()), model=seen.model.model_copy(update={"status": status}))
    deleted = {one.name for one in decide(known, here.now).deletes}
    assert there.name not in deleted
    assert deleted & later.keys()


def test_a_node_that_serves_nothing_tries_before_one_that_serves() -> None:
    here = held()
    built = len(here.registry)
    one_more(here)
    while len(here.registry) == built:
        here.run(1)
    here.nodes["e9"] = replace(node("e9"), offers={DEVICE: 1})
    here.nodes["a0"] = node("a0")
    here.run(1)
    assert newest(here)["node"] == "e9", "and a0 offers no device"
    for _ in range(20):
        here.run(1)
        if here.started == 2 and newest(here).get("winner") is None:
            assert "e9" not in here.pods, "its device is free for the trial"
    assert newest(here)["winner"] == "int8"


def test_with_partitions_it_is_a_node_of_the_first_one() -> None:
    here = held(partitions={"label": "zone", "order": ["lab", "line"]})
    for name, zone in {"e1": "line", "e2": "line", "e3": "lab"}.items():
        here.nodes[name] = replace(here.nodes[name], labels={**here.nodes[name].labels, "zone": zone})
    one_more(here, rollout=ROLLOUT | {"partitions": {"label": "zone", "order": ["lab", "line"]}})
    until(here, "Trial")
    assert newest(here)["node"] == "e3"


def test_a_device_that_changed_is_tried_anew() -> None:
    """A JetPack that was updated, say: the driver that it reports is another one."""
    here = held()
    here.device = {"processor": "A72", "cores": 4, "driver": "36.4"}
    here.edge_model.status["trials"][0]["device"]["driver"] = "35.1"
    here.latencies = {"int8": 2.0, "fp32": 8.0}
    here.pods["e1"] = replace(here.pods["e1"], selftest=None, ready=False, created=here.now + timedelta(seconds=1))
    for _ in range(60):
        plan = here.run(1)
        assert len(without_server(here) - {"e1"}) <= 1
    assert here.started == 2
    assert (trial(here)["winner"], plan.status.variants[0].precision) == ("int8", "int8")
    assert trial(here)["device"]["driver"] == "36.4"


def test_a_node_that_goes_while_it_waits_for_its_turn_is_not_waited_for() -> None:
    here = held()
    one_more(here, rollout=ROLLOUT | {"paused": True})
    here.run(10)
    assert newest(here)["lent"] == ["e1"]
    here.nodes["e1"] = replace(here.nodes["e1"], ready=False)
    one_more(here, generation=3)
    here.run(1)
    assert newest(here)["node"] == "e2"
    here.run(30)
    assert newest(here)["winner"] == "int8"
    assert "lost" not in newest(here), "nothing was tried on it"


def test_one_that_goes_while_it_tries_is_given_up_and_serves_when_it_returns() -> None:
    here = held()
    one_more(here)
    until_tried(here)
    here.nodes["e1"] = replace(here.nodes["e1"], ready=False)
    for _ in range(80):
        here.run(1)
        assert len(without_server(here) - {"e1"}) <= 1
    assert newest(here)["lost"] == ["e1"]
    assert (newest(here)["node"], newest(here)["winner"]) == ("e2", "int8")
    here.nodes["e1"] = replace(here.nodes["e1"], ready=True)
    for _ in range(30):
        plan = here.run(1)
    assert plan.status.variants[0].state == "Complete"
    assert without_server(here) == set()


def test_another_source_in_the_middle_of_it_begins_another_trial_on_the_same_node() -> None:
    here = held()
    one_more(here)
    until_tried(here)
    one_more(here, "c", generation=3)
    here.run(1, seconds=0)
    assert ["e1"] in [one.get("lent") for one in here.edge_model.status["trials"]], "it still lacks a server"
    for _ in range(60):
        plan = here.run(1)
        assert len(without_server(here)) <= 1
    assert (plan.status.variants[0].state, newest(here)["node"], newest(here)["winner"]) == ("Complete", "e1", "int8")


def test_trial_never_lets_no_server_end() -> None:
    here = held()
    one_more(here, optimize={"trial": "Never"})
    until(here, "Complete")
    for _ in range(30):
        plan = here.run(1)
    assert here.started == 1
    assert plan.status.variants[0].precision == "int8", "the first of the ladder"


def test_a_node_that_gave_up_its_server_is_known_where_the_trial_begins_anew() -> None:
    here = held()
    one_more(here)
    until_tried(here)
    for one in newest(here)["finalists"]:
        one["image"] = one["image"][:-64] + "e" * 64
    here.run(1, seconds=0)
    assert newest(here)["lent"] == ["e1"]
