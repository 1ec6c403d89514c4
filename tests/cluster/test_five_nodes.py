"""Five nodes of one kind: a model that takes machines down, nodes that return, another profile, a broken device."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import numpy as np
import onnx
import pytest
from device_class import device_class
from faults import BadStorage, OperatorKilled, PoisonPill, Watched, registry_down
from namespaces import keep_evidence, namespace_of
from onnx import numpy_helper

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground, cluster
from edgesmith_stage.pulls import Pulls
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

NAME = "line"
LABEL = "edgesmith-test/line"
FIRST, SECOND = "line-fp32", "line-int8"
ROLLOUT = {
    "steps": [{"nodes": 1, "bake": "2s"}, {"nodes": "100%", "bake": "0s"}],
    "maxUnavailable": 4,
    "maxFailed": 1,
    "progressDeadline": "3m",
}


@pytest.fixture(scope="module")
def shared(ground: Ground) -> Iterator[Fleet]:
    """One EdgeModel that serves on all five nodes; the tests go on from whatever revision it serves."""
    kube = ground.kube
    kube("label", "nodes", *ground.edges, f"{LABEL}=five")
    for name, rung in ((FIRST, "fp32"), (SECOND, "int8")):
        toolchain = {"name": "ONNXRuntime", "precisions": [rung]}
        kube.apply(device_class(name, {LABEL: "five"}, toolchain=toolchain))
    with namespace_of(ground, "five-nodes") as fleet:
        manifest = fleet.manifest(NAME, _version(fleet), deviceProfiles={"names": [FIRST]}, rollout=ROLLOUT)
        for field in ("evaluation", "gates"):
            del manifest["spec"][field]
        fleet.apply(manifest)
        yield fleet
        kube("delete", "edgemodel", NAME, "-n", fleet.namespace)
    kube("label", "nodes", *ground.edges, f"{LABEL}-")
    kube("delete", "deviceprofile", FIRST, SECOND)


@pytest.fixture
def line(shared: Fleet, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """The five nodes at rest, each with a ready server of one revision."""
    shared.heal_everybody()
    if shared.condition(NAME, "Stalled") and not _one_revision(shared):
        shared.patch(NAME, {"source": _version(shared), "rollout": ROLLOUT})
        shared.wait_settled(NAME)
    until(
        lambda: _one_revision(shared), seconds=120, what="one revision on all five nodes", detail=lambda: _say(shared)
    )
    yield shared
    keep_evidence(request, shared)


def test_nodes_that_return_are_no_rollout_and_are_updated(line: Fleet) -> None:
    early, late = "edge-4", "edge-5"
    if line.condition(NAME, "Stalled"):
        line.patch(NAME, {"source": _version(line), "rollout": ROLLOUT})
    line.wait_settled(NAME)
    pods, ready = line.pods(NAME), line.condition(NAME, "Ready")
    with Watched(lambda: str((line.condition(NAME, "Ready") or {}).get("status"))) as watched:
        for node in (early, late):
            line.cut(node)
        until(lambda: line.not_ready() == {early, late}, seconds=60, what=f"{early} and {late} to be NotReady")
        line.heal(early)
        until(lambda: line.not_ready() == {late}, seconds=60, what=f"{early} to be Ready")
        until(
            lambda: _nodes(line)["notReady"] == 1,
            seconds=30,
            what="the status to count one node",
            detail=lambda: _say(line),
        )
        until(lambda: _nodes(line)["ready"] == 4, seconds=30, what="four nodes to serve", detail=lambda: _say(line))
    assert watched.seen == ["True"]
    assert (line.condition(NAME, "Ready") or {})["lastTransitionTime"] == (ready or {})["lastTransitionTime"]
    assert line.pods(NAME) == pods

    # Another port is another revision of the same image: nothing is built.
    port = line.model(NAME)["spec"]["serving"]["port"]
    line.patch(NAME, {"serving": {"port": port + 10}, "rollout": ROLLOUT})
    line.wait_settled(NAME)
    assert _nodes(line) == {
        "desired": 5,
        "updated": 4,
        "ready": 4,
        "notReady": 1,
        "tainted": 0,
        "deviceMissing": 0,
        "failed": 0,
    }
    assert [(one["name"], one["reason"]) for one in line.model(NAME)["status"]["pending"]] == [(late, "NotReady")]
    line.heal(late)
    until(lambda: _nodes(line)["updated"] == 5 and _one_revision(line), seconds=60, what=f"{late} to be updated")


def test_another_profile_takes_over_node_by_node_with_the_operator_killed_throughout(line: Fleet) -> None:
    pods = line.pods(NAME)
    others = {SECOND: FIRST, FIRST: SECOND}
    profile = others[line.model(NAME)["spec"]["deviceProfiles"]["names"][0]]
    with OperatorKilled(line) as killed, Watched(lambda: f"{_serving(line)} serve") as watched:
        line.patch(NAME, {"deviceProfiles": {"names": [profile]}, "rollout": {**ROLLOUT, "maxUnavailable": 2}})
        line.wait(NAME, "Reconciling", reason="Building", seconds=60)
        assert line.pods(NAME) == pods, "nothing is touched before there is a build to take over"
        until(
            lambda: _profiles(line) == {profile},
            seconds=150,
            what=f"{profile} on every node",
            detail=lambda: _say(line),
        )
    assert killed.kills >= 2
    assert min(watched.seen) >= "3 serve", watched.seen
    line.wait_settled(NAME)
    assert _one_revision(line)


def test_a_model_that_takes_its_machine_down_reaches_two_of_five(line: Fleet) -> None:
    servers, pods = line.servers(NAME), line.pods(NAME)
    rollout = {"steps": [{"nodes": 1, "bake": "15s"}, {"nodes": "100%", "bake": "0s"}], "progressDeadline": "20s"}
    with PoisonPill(line) as pill:
        line.patch(NAME, {"source": _version(line), "rollout": rollout})
        stalled = line.wait(NAME, "Stalled", reason="RolledBack", seconds=150)
        assert len(pill.lost) == 2
        for word in ("CanaryLost", *pill.lost):
            assert word in stalled["message"]
        # They come back to the revision before: another start of this one would take them down again.
        line.on(*pill.lost)
        until(
            lambda: {node: s.revision for node, s in line.servers(NAME).items() if s.ready} == _revisions(servers),
            seconds=60,
            what="the revision before to serve on all five nodes",
            detail=lambda: _say(line),
        )
        assert len(pill.lost) == 2
    untouched = {name for name, server in servers.items() if name not in pill.lost and server.pod in line.pods(NAME)}
    assert len(untouched) == 3
    assert all(line.pods(NAME)[servers[node].pod] == pods[servers[node].pod] for node in untouched)


def test_a_broken_device_goes_back_alone_and_does_not_stop_the_next_rollout(line: Fleet) -> None:
    broken = "edge-3"
    before = line.servers(NAME)
    with BadStorage(line, broken) as storage:
        for _ in range(2):
            line.patch(NAME, {"source": _version(line), "rollout": ROLLOUT})
            stalled = line.wait(NAME, "Stalled", reason="NodesFailed")
            assert broken in stalled["message"]
            until(lambda: _serving(line) == 5, seconds=60, what="all five to serve", detail=lambda: _say(line))
            after = line.servers(NAME)
            assert after[broken].revision == before[broken].revision
            (revision,) = {server.revision for node, server in after.items() if node != broken}
            assert revision == line.variants(NAME)[_profile_of(line)]["revision"]
            assert [one["name"] for one in line.model(NAME)["status"]["pending"]] == [broken]
        assert len(storage.spoilt) == 2


def test_a_wave_waits_for_the_registry_and_a_revert_goes_back_while_the_api_server_restarts(line: Fleet) -> None:
    before, jobs = line.servers(NAME), _jobs(line)
    source = line.model(NAME)["spec"]["source"]
    slow = {**ROLLOUT, "steps": [{"nodes": 1, "bake": "4s"}, {"nodes": "100%", "bake": "0s"}]}
    old = set(_revisions(before).values())
    with Watched(lambda: f"{len({node for node, _ in _ready(line)})} serve") as serving:
        line.patch(NAME, {"source": _version(line), "rollout": slow})
        until(lambda: _moved(line, old) == 1, seconds=120, what="the canary to serve", detail=lambda: _say(line))
        with registry_down(line):
            until(
                lambda: _not_pulled(line) == 4, seconds=60, what="four nodes to fail to pull", detail=lambda: _say(line)
            )
            assert _moved(line, old) == 1
            assert not line.condition(NAME, "Stalled"), "a registry that is away is no fault of the revision"
        until(
            lambda: _moved(line, old) == 5 and _one_revision(line),
            seconds=120,
            what="the wave to go on",
            detail=lambda: _say(line),
        )
    assert serving.seen == ["5 serve"]
    built = _jobs(line)
    assert len(built - jobs) == 1

    new, pulls = set(_revisions(line.servers(NAME)).values()), Pulls(line.ground)
    line.patch(NAME, {"source": source, "rollout": slow})
    until(lambda: _moved(line, new) >= 1, seconds=60, what="the first node to go back", detail=lambda: _say(line))
    addresses = _addresses(line, new)
    cluster("off", "control-plane", "--name", line.ground.name)
    assert set(addresses) == set(line.ground.edges)
    assert all(map(_answers, addresses.values())), "servers go on without an API server"
    cluster("on", "control-plane", "--name", line.ground.name)
    line.wait_settled(NAME, 120)
    assert _revisions(line.servers(NAME)) == _revisions(before)
    assert _jobs(line) == built, "what was built before is not built again"
    assert sum(pulls.bytes_by_node().get(node, 0) for node in line.ground.edges) < MANIFESTS


MANIFESTS = 16 * 1024
"""Bytes of manifests that five nodes may ask for; a layer of the model has more."""

_NUMBERS = itertools.count(1)


def _version(fleet: Fleet) -> dict[str, Any]:
    """Publish the example's model with one weight a little different, so that it is a build of its own."""
    model = onnx.load(surface.FOLDER / "model.onnx")
    tensor = next(tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    values = numpy_helper.to_array(tensor).copy()
    number = next(_NUMBERS)
    values.flat[0] += np.float32(number * 1e-3)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return fleet.publish_bytes(str(number), model.SerializeToString())


def _revisions(servers: dict[str, Any]) -> dict[str, str]:
    return {node: server.revision for node, server in servers.items()}


def _one_revision(fleet: Fleet) -> bool:
    servers = fleet.servers(NAME)
    all_ready = len(servers) == len(fleet.ground.edges) and all(server.ready for server in servers.values())
    ended = len(fleet.pods(NAME)) == len(servers)  # pods of the revision before, those that still end among them
    return all_ready and ended and len(set(_revisions(servers).values())) == 1


def _serving(fleet: Fleet) -> int:
    """How many nodes have a ready server."""
    return sum(server.ready for server in fleet.servers(NAME).values())


def _ready(fleet: Fleet) -> set[tuple[str, str]]:
    """The node and the revision of every ready server; while one is about to take over, a node may have two."""
    pods = fleet.ground.kube.list("pods", fleet.namespace, {"edgesmith.dev/model": NAME})
    found = [(pod, pod["metadata"]["labels"].get("edgesmith.dev/revision")) for pod in pods]
    return {
        (pod["spec"].get("nodeName", ""), revision)
        for pod, revision in found
        for condition in pod["status"].get("conditions", [])
        if revision and (condition["type"], condition["status"]) == ("Ready", "True")
    }


def _moved(fleet: Fleet, before: set[str]) -> int:
    """How many nodes have a ready server of another revision."""
    return len({node for node, revision in _ready(fleet) if revision not in before})


def _not_pulled(fleet: Fleet) -> int:
    """How many pods wait for an image that could not be pulled."""
    pods = fleet.ground.kube.list("pods", fleet.namespace, {"edgesmith.dev/model": NAME})
    return sum("ImagePull" in json.dumps(pod["status"].get("initContainerStatuses", [])) for pod in pods)


def _addresses(fleet: Fleet, before: set[str]) -> dict[str, str]:
    """Node to where its ready server listens, as HOST:PORT; of two servers, the one that takes over.

    The host that the nodes are on has a route to every pod.
    """
    pods = fleet.ground.kube.list("pods", fleet.namespace, {"edgesmith.dev/model": NAME})
    ready = [
        pod for pod in pods if all(one["ready"] for one in pod["status"].get("containerStatuses", [{"ready": False}]))
    ]
    ready.sort(key=lambda pod: pod["metadata"]["labels"].get("edgesmith.dev/revision") not in before)
    return {
        pod["spec"]["nodeName"]: f"{pod['status']['podIP']}:{port['containerPort']}"
        for pod in ready
        for port in pod["spec"]["containers"][0].get("ports", [])
        if port["name"] == "http"
    }


def _answers(address: str) -> bool:
    """Whether a server says that it is ready."""
    with urlopen(f"http://{address}/v2/health/ready", timeout=5) as answer:
        return bool(answer.status == 200)


def _jobs(fleet: Fleet) -> set[str]:
    return {job["metadata"]["uid"] for job in fleet.ground.kube.list("jobs", fleet.namespace)}


def _profiles(fleet: Fleet) -> set[str]:
    """The profiles whose servers are ready, on all five nodes; empty where one of them is not."""
    pods = fleet.ground.kube.list("pods", fleet.namespace, {"edgesmith.dev/model": NAME})
    found = [
        pod["metadata"]["labels"].get("edgesmith.dev/profile", "")
        for pod in pods
        if "edgesmith.dev/revision" in pod["metadata"]["labels"]
    ]
    return set(found) if len(found) == len(fleet.ground.edges) and _serving(fleet) == len(found) else set()


def _profile_of(fleet: Fleet) -> str:
    return str(fleet.model(NAME)["spec"]["deviceProfiles"]["names"][0])


def _nodes(fleet: Fleet) -> dict[str, int]:
    found: dict[str, int] = fleet.model(NAME)["status"]["nodes"]
    return found


def _say(fleet: Fleet) -> str:
    return json.dumps(fleet.model(NAME).get("status"))
