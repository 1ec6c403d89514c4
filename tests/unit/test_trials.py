"""Trials in a simulated cluster: one node tries a build's finalists before any node runs one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from clusters import Cluster, labels, publish
from snapshots import SETTINGS, model, node, profile, said, sentence

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.status import EdgeModelStatus
from edgesmith.api.trial_status import FinalistStatus
from edgesmith.decide import decide
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import Ended, SelfTest
from edgesmith.decide.trial_case import _names

DAY = timedelta(days=1)


def cluster(*names: str, latencies: Mapping[str, float] | None = None, of: EdgeModel | None = None) -> Cluster:
    """Nodes that serve nothing, and builds with two finalists, of which the second is faster."""
    found = Cluster(nodes={name: node(name) for name in names or ("e1", "e2", "e3")})
    found.latencies = dict(latencies or {"int8": 9.0, "fp32": 3.0})
    found.edge_model = of or model()
    return found


def trial(of: Cluster) -> Any:
    return of.edge_model.status["trials"][0]


def images(of: Cluster) -> list[str]:
    return sorted(one.image.rpartition(":")[2][:2] for one in of.revisions.values())


def ask_again(of: Cluster, word: str) -> None:
    metadata = of.edge_model.metadata.model_copy(update={"annotations": {"edgesmith.dev/retry": word}})
    of.edge_model = of.edge_model.model_copy(update={"metadata": metadata})


def until(of: Cluster, state: str, passes: int = 60) -> Plan:
    for _ in range(passes):
        plan = of.run(1)
        if plan.status.variants[0].state == state:
            return plan
    raise AssertionError(f"{state} was never reached; {plan.status.variants[0]}")


def test_the_faster_one_is_rolled_out_though_it_is_second_in_the_ladder() -> None:
    here = cluster()
    plan = until(here, "Trial")
    assert said(plan)["BuildsReady"] == ("True", "Succeeded")
    assert said(plan)["Reconciling"] == ("True", "Trial")
    assert sentence(plan, "RolloutComplete") == "Node e1 tries int8 and fp32 for amd64."
    assert here.revisions == {}, "nothing runs before it is known what"
    assert (trial(here)["node"], list(here.trial_pods)) == ("e1", list(here.trying))
    plan = until(here, "Complete")
    assert images(here) == ["1f"], "the image of fp32"
    assert (trial(here)["winner"], plan.status.variants[0].precision) == ("fp32", "fp32")
    assert [one["verdict"] for one in trial(here)["finalists"]] == [
        "fp32 is faster: p95 3.000ms where it has 9.000ms.",
        "It was chosen by latency.",
    ]
    assert trial(here)["device"] == {"cores": "4", "processor": "A72"}
    assert here.trial_pods == {}, "swept"
    assert here.started == 1, "one pod"


def test_a_build_with_one_finalist_is_rolled_out_at_once() -> None:
    here = cluster(latencies={"int8": 1.0})
    until(here, "Complete")
    assert here.trying == {}
    assert here.edge_model.status["trials"] == []


@pytest.mark.parametrize("killed_after", range(1, 12))
def test_an_operator_that_is_killed_at_any_call_goes_on_where_it_was(killed_after: int) -> None:
    here = cluster()
    for _ in range(killed_after):
        plan = decide(here.snapshot(), here.now)
        here.apply(plan, calls=1)
        here.tick(5)
    until(here, "Complete")
    assert images(here) == ["1f"]
    assert here.started == 1


def test_one_that_is_killed_on_the_device_is_out_and_the_others_go_on() -> None:
    here = cluster(latencies={"int8": 1.0, "fp16": 4.0, "fp32": 9.0})
    here.deadly = {"int8"}
    until(here, "Complete")
    assert list(here.trying.values()) == [["int8", "fp16", "fp32"], ["fp16", "fp32"]]
    first, second, _ = trial(here)["finalists"]
    assert (first["reason"], second["reason"]) == ("Died", "Passed")
    assert first["verdict"] == "Its self-test ended without a finding on this device: OOMKilled, exit code 137."
    assert trial(here)["winner"] == "fp16"


def test_where_all_are_out_the_variant_fails_and_nodes_keep_what_they_run() -> None:
    here = cluster()
    until(here, "Complete")
    before = labels(here)
    here.deadly = {"int8", "fp32"}
    publish(here, "b")
    plan = until(here, "TrialFailed")
    assert said(plan)["Stalled"] == ("True", "TrialFailed")
    assert "int8: Its self-test ended without a finding" in sentence(plan, "Stalled")
    here.run(5)
    assert labels(here) == before
    assert here.trial_pods == {}
    began = here.started
    ask_again(here, "again")
    here.run(12)
    assert here.started == began + 2, "once: a pod for both, and one for what the first death left"
    here.deadly = set()
    ask_again(here, "and again")
    until(here, "Complete")
    assert trial(here)["winner"] == "fp32"


def test_another_gate_or_objective_judges_the_same_measurements() -> None:
    here = cluster()
    until(here, "Complete")
    here.edge_model = model(optimize={"objective": "Size"}, generation=2).model_copy(
        update={"status": here.edge_model.status}
    )
    until(here, "Canary")
    until(here, "Complete")
    assert trial(here)["winner"] == "int8"
    here.edge_model = model(gates={"maxLatency": "1ms"}, generation=3).model_copy(
        update={"status": here.edge_model.status}
    )
    plan = until(here, "TrialFailed")
    assert "Its p95 latency is 9.000ms; gates.maxLatency allows 1ms." in sentence(plan, "Stalled")
    assert here.started == 1, "nothing was tried anew"


def test_a_build_that_comes_back_is_not_tried_again() -> None:
    here = cluster()
    until(here, "Complete")
    publish(here, "b")
    until(here, "Trial")
    until(here, "Complete")
    assert len(here.edge_model.status["trials"]) == 2
    publish(here, "a", generation=3)
    until(here, "Complete")
    assert here.started == 2


def test_a_node_that_does_not_finish_is_replaced_twice_and_then_the_ladder_decides() -> None:
    here = cluster()
    until(here, "Trial")
    for _ in range(200):
        on = [pod.node for pod in here.trial_pods.values()]
        here.nodes = {name: replace(one, ready=name not in on) for name, one in here.nodes.items()}
        plan = here.run(1, seconds=60)
        if here.revisions:
            break
    assert trial(here)["lost"] == ["e1", "e2", "e3"]
    assert images(here) != ["1f"], "the first of the ladder"
    assert "no trial was finished on e1, e2 and e3" in plan.status.variants[0].warnings[-1]
    here.nodes = {name: replace(one, ready=True) for name, one in here.nodes.items()}
    until(here, "Complete")
    assert here.trial_pods == {}


def test_where_the_hubs_clock_was_set_back_a_node_that_is_gone_is_not_waited_for_until_it_is_there_again() -> None:
    here = cluster("e1", "e2")
    here.now += DAY
    until(here, "Trial")
    here.now -= DAY
    here.nodes["e1"] = replace(here.nodes["e1"], ready=False)
    here.run(20, seconds=60)
    assert (trial(here)["node"], trial(here)["lost"], trial(here)["winner"]) == ("e2", ["e1"], "fp32")


def test_nor_is_a_device_that_changes_overlooked_until_then() -> None:
    here = cluster("e1")
    here.now += DAY
    until(here, "Complete")
    here.now -= DAY
    here.run(2)
    changed = SelfTest(True, "Passed", "", device={"processor": "A76", "cores": 4})
    here.pods["e1"] = replace(here.pods["e1"], selftest=changed, created=here.now)
    here.run(1)
    assert here.started == 2


def test_a_server_from_before_the_clock_was_set_back_says_nothing_of_its_device_again_and_again() -> None:
    here = cluster("e1")
    until(here, "Complete")
    other = SelfTest(True, "Passed", "", device={"processor": "A76", "cores": 4})
    here.pods["e1"] = replace(here.pods["e1"], selftest=other, created=here.now + 400 * DAY)
    here.run(10)
    assert here.started == 1


def test_a_node_that_is_deleted_or_evicts_the_pod_is_replaced_at_once() -> None:
    here = cluster()
    until(here, "Trial")
    del here.nodes["e1"]
    here.run(1, seconds=1)
    assert (trial(here)["node"], trial(here)["lost"]) == ("e2", ["e1"])
    (name,) = here.trial_pods
    here.trial_pods[name] = replace(here.trial_pods[name], over=True, ended={})
    here.run(1, seconds=1)
    assert (trial(here)["node"], trial(here)["lost"]) == ("e3", ["e1", "e2"])


def test_measurements_of_two_nodes_are_not_compared() -> None:
    here = cluster()
    until(here, "Trial")
    here.apply(decide(here.snapshot(), here.now))
    assert [one.get("reason") for one in trial(here)["finalists"]] == ["Passed", None]
    del here.nodes["e1"]
    plan = decide(here.snapshot(), here.now)
    assert [one.reason for one in plan.status.trials[0].finalists] == [None, None]
    assert list(plan.trials[0].images) == ["int8", "fp32"]


def test_a_single_node_is_asked_again() -> None:
    here = cluster("e1")
    until(here, "Trial")
    (name,) = here.trial_pods
    here.trial_pods[name] = replace(here.trial_pods[name], over=True, ended={})
    until(here, "Complete")
    assert (trial(here)["lost"], trial(here)["winner"]) == (["e1"], "fp32")


def test_without_a_node_that_is_ready_the_trial_waits_and_without_any_there_is_nothing_to_try() -> None:
    here = cluster()
    here.nodes = {"e1": replace(node("e1"), ready=False)}
    plan = until(here, "Trial")
    assert sentence(plan, "RolloutComplete") == "The trial of int8 and fp32 for amd64 waits for a node."
    here.nodes = {}
    plan = until(here, "NoNodes")
    assert plan.status.variants[0].reason == "NoNodes"
    here.nodes = {"e1": node("e1")}
    until(here, "Complete")
    assert images(here) == ["1f"]


def test_only_nodes_of_the_first_step_are_asked_where_it_picks_some() -> None:
    steps = [{"nodes": 1, "bake": "30s", "nodeSelector": {"site": "lab"}}]
    rollout = {"steps": steps, "maxUnavailable": 1, "progressDeadline": "5m"}
    here = cluster(of=model(rollout=rollout))
    here.nodes["e2"] = node("e2", site="lab")
    until(here, "Trial")
    assert trial(here)["node"] == "e2"


def test_a_device_that_changes_is_tried_anew_while_its_server_stays() -> None:
    here = cluster()
    until(here, "Complete")
    here.device = {"processor": "A76", "cores": 4}
    here.latencies = {"int8": 2.0, "fp32": 8.0}
    here.pods["e2"] = replace(here.pods["e2"], selftest=None, ready=False)
    here.run(2)
    assert here.started == 1, "another node's device says nothing of the one that was measured"
    on = here.pods["e1"]
    here.pods["e1"] = replace(on, selftest=SelfTest(True, "Passed", "", device=here.device), created=here.now - DAY)
    here.run(1)
    assert here.started == 1, "what a server said before the trial is older"
    here.pods["e1"] = replace(on, selftest=None, ready=False, created=here.now + timedelta(seconds=1))
    before = labels(here)
    plan = here.run(2)
    assert here.started == 2
    assert [one.image[-64:-62] for one in plan.revisions] == ["1f"], "fp32 is what the spec asks for meanwhile"
    assert labels(here) == before, "it serves until another has won"
    for _ in range(30):
        here.run(1)
    assert (trial(here)["winner"], here.started) == ("int8", 2)
    assert until(here, "Complete").status.variants[0].precision == "int8"


def test_two_profiles_have_a_trial_each_and_one_holds_up_no_other() -> None:
    here = cluster("e1")
    here.profiles = (profile(), profile("other"))
    here.edge_model = model(deviceProfiles={"names": ["amd64", "other"]})
    here.nodes["o1"] = node("o1", "other", ready=False)
    for _ in range(20):
        plan = here.run(1)
    assert [one.state for one in plan.status.variants] == ["Complete", "Trial"]
    assert {one["profile"] for one in here.edge_model.status["trials"]} == {"amd64", "other"}


def test_while_the_registry_does_not_answer_the_record_says_what_to_run() -> None:
    from edgesmith.decide.snapshot import RegistryProblem  # noqa: PLC0415 - one user

    here = cluster()
    until(here, "Complete")
    here.registry = {key: RegistryProblem("it does not answer", forbidden=False) for key in here.registry}
    plan = here.run(1)
    assert plan.status.variants[0].state == "Complete"
    assert plan.status.variants[0].precision == "fp32"
    assert plan.deletes == ()
    assert SETTINGS.repository in (plan.revisions[0].built or "")


def test_what_a_device_says_at_length_fits_into_the_status() -> None:
    here = cluster()
    until(here, "Trial")
    (name,) = here.trial_pods
    ended = {
        "int8": Ended(None, "x" * 5000),
        "fp32": Ended(SelfTest(False, "GoldenMismatch", "y" * 5000), "Completed, exit code 0"),
    }
    here.trial_pods[name] = replace(here.trial_pods[name], ended=ended, over=True)
    plan = until(here, "TrialFailed", passes=1)
    EdgeModelStatus.model_validate(plan.status.model_dump())


def test_of_many_finalists_a_few_are_named() -> None:
    """The CRD takes 2048 characters, and a pod that waits says up to 1000 of them."""
    many = [FinalistStatus(alternative=f"{n:x}" * 63, precision="int8", image=f"r@{n}", size=1) for n in range(16)]
    said = _names(many)
    assert said.endswith("and 12 more")
    assert len(said) < 320
    assert _names(many[:2]) == f"{'0' * 63}/int8 and {'1' * 63}/int8"
