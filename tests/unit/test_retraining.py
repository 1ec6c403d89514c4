"""What an episode of drift starts: once, wherever the operator is killed, and with no more rights than it is given."""

from __future__ import annotations

import json
import random
import re
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from functools import cache
from ipaddress import IPv6Address
from typing import Any

import pytest
from addresses import ADDRESSES, NO_ADDRESSES
from clusters import Cluster, publish, three_nodes
from expansion import expanded
from pydantic import ValidationError
from snapshots import NOW, SETTINGS

from edgesmith.api.names import BUCKET_CA_ANNOTATION
from edgesmith.api.retraining import ADDRESS_PATTERN, RetrainingEvent
from edgesmith.cli import plan as planning
from edgesmith.cluster import parse_drift
from edgesmith.cluster.kinds import JOB
from edgesmith.cluster.objects import Objects
from edgesmith.decide import decide
from edgesmith.decide.drift import DriftVerdict
from edgesmith.decide.plan import Plan
from edgesmith.resources import retraining_job

EVENT = {"uri": "https://hooks.example/drift", "secretRef": {"name": "hook"}}
TRAINING = {
    "image": "registry.example/train@sha256:" + "5" * 64,
    "args": ["--epochs", "3"],
    "env": {"MODE": "full", "EDGESMITH_EPISODE": "mine"},
    "secretRefs": [{"name": "bucket"}],
    "serviceAccount": "trainer",
    "deadline": "90m",
}
STEADY = DriftVerdict("Steady", NOW)


def drifted(minutes: int = 0) -> DriftVerdict:
    return DriftVerdict("Drifted", NOW - timedelta(minutes=minutes), (("x[0]", 0.4, 0.1),))


def feedback(**retraining: Any) -> dict[str, Any]:
    return {
        "privacy": "Samples",
        "bucket": {"uri": "s3://samples/parts", "secretRef": {"name": "uplink"}},
        "retraining": retraining or {"event": EVENT, "job": TRAINING},
    }


@cache
def _rolled_out(retraining: str) -> Cluster:
    cluster = three_nodes()
    publish(cluster, "a", generation=2, feedback=feedback(**json.loads(retraining)))
    cluster.run(30)
    return cluster


def rolled_out(**retraining: Any) -> Cluster:
    """Three nodes that run a model; made once."""
    return deepcopy(_rolled_out(json.dumps(retraining)))


def drift_on(cluster: Cluster, *numbers: int) -> None:
    for number, name in enumerate(sorted(cluster.nodes)):
        cluster.verdicts[name] = drifted(number) if number in numbers else STEADY


def episode(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.edge_model.status["drift"]["episode"]
    return found


def test_an_episode_starts_each_thing_once_and_the_next_one_again() -> None:
    cluster = rolled_out()
    assert cluster.fired == []
    drift_on(cluster, 0)
    cluster.run(3)
    first = episode(cluster)
    assert cluster.fired == [f"parts-event-{first['id']}", f"parts-job-{first['id']}"]
    assert first["fired"] == ["event", "job"]
    drift_on(cluster, 0, 1, 2)
    cluster.run(20)
    assert len(cluster.fired) == 2
    drift_on(cluster)
    cluster.run(2)
    assert episode(cluster)["ended"]
    cluster.verdicts = {name: drifted(-5) for name in cluster.nodes}
    cluster.run(3)
    assert len(cluster.fired) == 4
    assert episode(cluster)["id"] != first["id"]


def test_a_job_that_somebody_deletes_is_not_made_again() -> None:
    cluster = rolled_out()
    drift_on(cluster, 0)
    cluster.run(3)
    cluster.retraining.clear()
    cluster.run(5)
    assert len(cluster.fired) == 2


def test_too_few_nodes_start_nothing() -> None:
    cluster = rolled_out(minNodes=2, job=TRAINING)
    drift_on(cluster, 0)
    cluster.run(3)
    assert cluster.fired == []
    drift_on(cluster, 0, 1)
    cluster.run(3)
    assert [name.split("-")[1] for name in cluster.fired] == ["job"]


def test_a_new_source_ends_the_episode_and_its_own_drift_is_another() -> None:
    cluster = rolled_out()
    drift_on(cluster, 0)
    cluster.run(3)
    first = episode(cluster)["id"]
    publish(cluster, "b", generation=3, feedback=feedback())
    cluster.verdicts = {}
    cluster.run(60)
    assert episode(cluster)["ended"]
    assert len(cluster.fired) == 2
    drift_on(cluster, 0)
    cluster.run(3)
    assert episode(cluster)["id"] != first
    assert len(cluster.fired) == 4


def test_a_job_that_failed_is_said_as_long_as_its_episode_lasts() -> None:
    cluster = rolled_out()
    drift_on(cluster, 0)
    cluster.run(3)
    (name,) = (name for name in cluster.fired if name.startswith("parts-job-"))
    assert "failed" not in drifted_says(cluster)
    cluster.retraining[name] = replace(cluster.retraining[name], finished=True, failure="BackoffLimitExceeded")
    cluster.run(1)
    assert f"The Job {name} that was started for it failed (BackoffLimitExceeded)" in drifted_says(cluster)
    assert len(cluster.fired) == 2
    drift_on(cluster)
    cluster.run(2)
    assert "failed" not in drifted_says(cluster)


def drifted_says(cluster: Cluster) -> str:
    (found,) = (one for one in cluster.edge_model.status["conditions"] if one["type"] == "Drifted")
    return str(found["message"])


def test_where_no_jobs_are_made_the_condition_says_so() -> None:
    cluster = rolled_out()
    drift_on(cluster, 0)
    snapshot = cluster.snapshot()
    plan = decide(replace(snapshot, settings=replace(SETTINGS, builds=False)), cluster.now)
    assert plan.retraining == ()
    (found,) = [one for one in plan.status.conditions if one.type == "Drifted"]
    assert "builder.enabled is false" in found.message


@pytest.mark.parametrize("seed", range(12))
def test_killed_anywhere_each_thing_is_started_exactly_once_in_an_episode(seed: int) -> None:
    """The operator dies after any number of calls, and nodes drift, fall silent and recover meanwhile."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    cluster = rolled_out()
    begun = 0
    for turn in range(3):
        drift_on(cluster, *chance.sample(range(3), chance.randint(1, 3)))
        cluster.verdicts = {
            name: DriftVerdict(one.state, NOW + timedelta(hours=turn), one.features)
            for name, one in cluster.verdicts.items()
        }
        begun += 1
        for _ in range(chance.randint(4, 8)):
            if chance.random() < 0.3:
                cluster.verdicts.pop(chance.choice(sorted(cluster.nodes)), None)
            plan = decide(cluster.snapshot(), cluster.now)
            calls = len(cluster.calls(plan))
            cluster.apply(plan, calls=chance.randint(0, calls) if chance.random() < 0.6 else None)
            cluster.tick(10)
        drift_on(cluster, 0)
        cluster.verdicts = {name: drifted(-60 * turn) for name in cluster.nodes}
        cluster.run(3)
        found = episode(cluster)
        assert sorted(name for name in cluster.fired if found["id"] in name) == [
            f"parts-event-{found['id']}",
            f"parts-job-{found['id']}",
        ]
        drift_on(cluster)
        cluster.run(2)
        assert episode(cluster)["ended"]
    assert len(cluster.fired) == len(set(cluster.fired)) == 2 * begun


def started(**retraining: Any) -> tuple[Cluster, Plan]:
    cluster = rolled_out(**retraining)
    drift_on(cluster, 0)
    return cluster, decide(cluster.snapshot(), cluster.now)


def jobs_of(**retraining: Any) -> dict[str, Any]:
    cluster, plan = started(**retraining)
    return {one.what: retraining_job(cluster.edge_model, one, SETTINGS) for one in plan.retraining}


def test_a_training_job_is_restricted_and_is_told_where_samples_are() -> None:
    job = jobs_of()["job"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("trainer", True)
    assert container["envFrom"] == [{"secretRef": {"name": "bucket"}}]
    told = {one["name"]: one["value"] for one in container["env"]}
    assert told["MODE"] == "full"
    assert told["EDGESMITH_EPISODE"] != "mine"
    assert told["EDGESMITH_SAMPLES"] == "s3://samples/parts"
    assert told["EDGESMITH_SOURCE_SHA256"] == "a" * 64
    assert json.loads(told["EDGESMITH_DRIFT"])["features"] == [{"name": "x[0]", "nodes": 1}]
    assert (job["spec"]["activeDeadlineSeconds"], job["spec"]["backoffLimit"]) == (5400, 2)
    assert job["metadata"]["ownerReferences"][0]["name"] == "parts"


def test_a_training_job_without_an_account_gets_no_token() -> None:
    pod = jobs_of(job={"image": "train"})["job"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod


def test_an_event_that_is_refused_for_good_is_sent_by_no_other_pod() -> None:
    found = jobs_of(event=EVENT, job={"image": "train"})
    (container,) = found["event"]["spec"]["template"]["spec"]["containers"]
    drained, final, again = found["event"]["spec"]["podFailurePolicy"]["rules"]
    assert (drained["action"], drained["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    for rule, action, status in ((final, "FailJob", 1), (again, "Count", 2)):
        exits = {"containerName": container["name"], "operator": "In", "values": [status]}
        assert rule == {"action": action, "onExitCodes": exits}
    assert "podFailurePolicy" not in found["job"]["spec"], "what a training's status says is its own"


def test_an_event_is_a_cloud_event_and_its_secret_is_read_by_the_job_alone() -> None:
    job = jobs_of()["event"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one for one in container["env"]}
    event = json.loads(told["EDGESMITH_EVENT"]["value"])
    assert event["specversion"] == "1.0"
    assert event["type"] == "dev.edgesmith.drift.began"
    assert event["source"] == "/apis/edgesmith.dev/v1alpha1/namespaces/plant/edgemodels/parts"
    assert event["id"] == event["data"]["episode"]
    assert event["data"]["samples"] == "s3://samples/parts"
    assert told["EDGESMITH_EVENT_SECRET"]["valueFrom"] == {"secretKeyRef": {"name": "hook", "key": "secret"}}
    assert container["image"] == SETTINGS.builder_image
    assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_an_event_trusts_the_authorities_of_the_chart_as_build_jobs_do() -> None:
    cluster, plan = started()
    pems = replace(SETTINGS, bucket_ca="-----BEGIN")
    jobs = {one.what: retraining_job(cluster.edge_model, one, pems) for one in plan.retraining}
    template = jobs["event"]["spec"]["template"]
    assert template["metadata"]["annotations"] == {BUCKET_CA_ANNOTATION: "-----BEGIN"}
    (container,) = template["spec"]["containers"]
    word, flag, path = container["args"]
    assert (word, flag) == ("notify", "--bucket-ca")
    (volume,) = (one for one in template["spec"]["volumes"] if "downwardAPI" in one)
    (item,) = volume["downwardAPI"]["items"]
    assert item["fieldRef"] == {"fieldPath": f"metadata.annotations['{BUCKET_CA_ANNOTATION}']"}
    (mount,) = (one for one in container["volumeMounts"] if one["name"] == volume["name"])
    assert (f"{mount['mountPath']}/{item['path']}", mount["readOnly"]) == (path, True)
    assert "/tmp" in [one["mountPath"] for one in container["volumeMounts"]]  # noqa: S108 -- the pod's own emptyDir
    assert jobs["job"] == jobs_of()["job"], "what trains is told nothing of it"
    assert "annotations" not in jobs_of()["event"]["spec"]["template"]["metadata"]


def test_a_plan_says_what_an_episode_starts_to_people_and_to_programs() -> None:
    cluster, plan = started()
    shown = [planning.Planned(cluster.snapshot(), plan, None)]
    (entry,) = json.loads(planning.as_json(shown))
    (first, second) = entry["retraining"]
    assert (first["what"], second["what"]) == ("event", "job")
    assert first["episode"] == second["episode"] == plan.retraining[0].drift.episode.id  # type: ignore[union-attr]  # began
    text = planning.as_text(shown)
    for one in entry["retraining"]:
        assert f"  retrain   {one['what']} for the episode of drift {one['episode']}" in text


@pytest.mark.parametrize("text", ["$(A)", "$$(A)", "$$$(A)", "a$$b", "$", "a$", "$$", "$(", "$a$(A)$", "no sign"])
def test_what_is_said_arrives_as_it_was_said(text: str) -> None:
    assert expanded("$$$(A)") == "$the value of A"
    uri = f"https://hooks.example/drift?of={text.replace(' ', '')}"
    cluster, plan = started(event={"uri": uri})
    (start,) = plan.retraining
    start = replace(start, uri=f"s3://models/{text}")
    (container,) = retraining_job(cluster.edge_model, start, SETTINGS)["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: expanded(one["value"]) for one in container["env"]}
    assert told["EDGESMITH_EVENT_URI"] == uri
    assert json.loads(told["EDGESMITH_EVENT"])["data"]["source"]["uri"] == start.uri


@pytest.mark.parametrize("uri", ADDRESSES)
def test_where_an_event_can_be_sent_may_be_asked_for(uri: str) -> None:
    assert RetrainingEvent(uri=uri).uri == uri


@pytest.mark.parametrize("uri", [*NO_ADDRESSES, "https://h/#part", "https://h:65536/", "https://-h/"], ids=repr)
def test_where_none_can_be_sent_is_refused_at_once(uri: str) -> None:
    with pytest.raises(ValidationError, match="uri"):
        RetrainingEvent(uri=uri)


def is_address(text: str) -> bool:
    """Whether Python takes it as an IPv6 address."""
    try:
        return bool(IPv6Address(text))
    except ValueError:
        return False


def test_what_stands_in_brackets_is_what_python_takes_as_an_ipv6_address() -> None:
    chance = random.Random(6)  # noqa: S311 - no secret
    taken = 0
    for _ in range(20_000):
        parts = chance.choices(
            ["0", "a1", "FFFF", "", "12345", "10.0.0.7"], [6, 6, 4, 3, 0.1, 0.5], k=chance.randint(2, 9)
        )
        text = ":".join(parts)
        text = chance.choice([text, f"{text}:", f":{text}"]) if "" in parts else text
        taken += is_address(text)
        assert bool(re.search(ADDRESS_PATTERN, f"https://[{text}]/")) == is_address(text), text
    assert taken > 1000


def test_what_nodes_say_is_no_reference_to_a_variable() -> None:
    cluster = rolled_out()
    cluster.verdicts = {name: DriftVerdict("Drifted", NOW, (("$(SECRET)", 1.0, 0.1),)) for name in cluster.nodes}
    plan = decide(cluster.snapshot(), cluster.now)
    for one in plan.retraining:
        (container,) = retraining_job(cluster.edge_model, one, SETTINGS)["spec"]["template"]["spec"]["containers"]
        values = [entry.get("value", "") for entry in container["env"]]
        assert any("$(SECRET)" in expanded(value) for value in values)


def test_objects_know_the_jobs_of_episodes_apart_from_builds() -> None:
    objects = Objects()
    for number, job in enumerate(jobs_of().values()):
        job["metadata"] |= {"uid": str(number), "resourceVersion": str(number + 1)}
        objects.put(JOB, job)
    assert len(objects.jobs) == 0
    assert sorted(one.what for one in objects.retraining_jobs.all()) == ["event", "job"]


@pytest.mark.parametrize(
    ("conditions", "finished", "failure"),
    [
        ([], False, ""),
        ([{"type": "Suspended", "status": "True"}, {"type": "Failed", "status": "False", "reason": "X"}], False, ""),
        ([{"type": "Complete", "status": "True", "reason": "CompletionsReached"}], True, ""),
        ([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}], True, "DeadlineExceeded"),
        ([{"type": "Failed", "status": "True"}], True, "Failed"),
    ],
)
def test_how_a_job_ended_is_read_of_its_conditions(
    conditions: list[dict[str, str]], *, finished: bool, failure: str
) -> None:
    job = jobs_of()["job"] | {"status": {"conditions": conditions}}
    found = parse_drift.retraining_job(job)
    assert (found.finished, found.failure, found.what) == (finished, failure, "job")
